// Command bench prints what an announce costs with hostwheel, in both backends, and what it costs a scheduler today.
//
//	go run .                           # the backend in Go
//	go run -tags hostwheel_native .    # both; see native.sh
//
// Nanoseconds and allocations per call, medians of several rounds, each in memory of its own; alone on the machine. Use the
// figures as ratios within one run.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	sizes := flag.String("hosts", "10000,100000,1000000", "fleet sizes")
	rounds := flag.Int("rounds", 5, "rounds; each measures every subject once")
	only := flag.String("only", "", "only subjects with this in their name")
	life := flag.Duration("life", 5*time.Minute, "announce interval of the native wheel of the largest fleet, which lives for three; 0: not at all")
	flag.Parse()
	subjects = slices.DeleteFunc(subjects, func(s subject) bool { return !strings.Contains(s.name, *only) })
	fmt.Printf("%s, %d processors\n", runtime.Version(), runtime.GOMAXPROCS(0))
	largest := 0
	var scan float64
	for _, text := range strings.Split(*sizes, ",") {
		hosts, err := strconv.Atoi(text)
		if err != nil || hosts < 1 {
			fmt.Fprintln(os.Stderr, "bench: -hosts takes numbers:", text)
			os.Exit(2)
		}
		results := measureAll(hosts, *rounds)
		report(hosts, results)
		if hosts > largest {
			largest, scan = hosts, 0
			if scans := results["scan"]; len(scans) > 0 {
				scan = scans.median(ofTime) * float64(hosts)
			}
		}
	}
	if *life > 0 {
		reportLife(largest, *life, time.Duration(scan))
	}
}

// sample is one round of one subject: nanoseconds and allocations per call.
type sample struct{ ns, allocations float64 }

type samples []sample

func ofTime(s sample) float64        { return s.ns }
func ofAllocations(s sample) float64 { return s.allocations }

func (s samples) sorted(of func(sample) float64) []float64 {
	var values []float64
	for _, sample := range s {
		values = append(values, of(sample))
	}
	slices.Sort(values)
	return values
}

func (s samples) median(of func(sample) float64) float64 {
	values := s.sorted(of)
	return values[len(values)/2]
}

func measureAll(hosts, rounds int) map[string]samples {
	fleet := newFleet(hosts)
	results := map[string]samples{}
	for round := range rounds {
		for _, s := range subjects {
			fmt.Fprintf(os.Stderr, "\r%d hosts, round %d of %d: %-40s", hosts, round+1, rounds, s.what)
			results[s.name] = append(results[s.name], measure(fleet, s))
		}
	}
	fmt.Fprintf(os.Stderr, "\r%80s\r", "")
	return results
}

const (
	// callsAtLeast is how many calls a sample has, so that small fleets are measured as long as large ones.
	callsAtLeast = 1_000_000
	// collections is how often the garbage of a sample is collected before it ends, if its calls make any: that is part of
	// what they cost.
	collections = 2
)

func measure(fleet *fleet, s subject) sample {
	call, end := s.open(fleet)
	defer end()
	call() // once before it counts
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var took time.Duration
	calls := 0
	for calls == 0 || !s.once && !enough(calls, &before, &after) {
		start := time.Now()
		for pass := 0; pass == 0 || !s.once && pass*len(fleet.ids) < callsAtLeast; pass++ {
			call()
			calls += len(fleet.ids)
		}
		took += time.Since(start)
		runtime.ReadMemStats(&after)
	}
	return sample{float64(took) / float64(calls), float64(after.Mallocs-before.Mallocs) / float64(calls)}
}

func enough(calls int, before, after *runtime.MemStats) bool {
	garbage := after.Mallocs-before.Mallocs > uint64(calls)/2
	return !garbage || after.NumGC-before.NumGC >= collections
}

func report(hosts int, results map[string]samples) {
	fmt.Printf("\n%-58s %8s %20s %8s\n", fmt.Sprintf("%d hosts", hosts), "ns/call", "min .. max", "allocs")
	for _, s := range subjects {
		times := results[s.name].sorted(ofTime)
		fmt.Printf("  %-56s %8.1f %9.1f .. %7.1f %8.2f\n", s.what, results[s.name].median(ofTime), times[0], times[len(times)-1],
			results[s.name].median(ofAllocations))
	}
	for _, r := range ratios {
		if len(results[r.of]) == 0 || len(results[r.to]) == 0 {
			continue
		}
		ratio := results[r.of].median(ofTime) / results[r.to].median(ofTime)
		fmt.Printf("  %-56s %8.2f   at most %.2f, goal %.2f\n", r.what, ratio, r.most, r.goal)
	}
}

func reportLife(hosts int, life, scan time.Duration) {
	if !hasNative() {
		return
	}
	fmt.Fprintf(os.Stderr, "%d hosts live for %v ...", hosts, 3*life)
	used := live(hosts, life)
	fmt.Fprintf(os.Stderr, "\r%80s\r", "")
	fmt.Printf("\n%v of healthy life, one interval, of %d hosts: the native wheel's thread used %v of processor time; one scan takes %v\n", life,
		hosts, used.Round(time.Millisecond), scan.Round(time.Millisecond))
	fmt.Printf("  ratio %.3f, at most 0.1, goal 0.05\n", float64(used)/float64(scan))
}
