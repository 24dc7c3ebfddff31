//go:build linux

// Command bench prints what the hosts of a Dragonfly scheduler cost it with a wheel, in both backends, and with its own scan.
//
//	go run .                           # the backend in Go
//	go run -tags hostwheel_native .    # both; see native.sh
//
// It works on a real resource of Dragonfly's and calls the real handler; there is no network. Alone on the machine; use the
// figures as ratios within one run. Processor time is that of the one thread that does the work, in the system too. Go's
// garbage collector is off while something is measured, so it is part of nothing, and the garbage that announces make is
// not paid for by anybody. A million hosts need 8 GB.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// interval is what hosts announce themselves with, and also what Dragonfly waits between scans.
const interval = 5 * time.Minute

// progress is where it says what it does: the standard error is Dragonfly's log.
var progress *os.File

func main() {
	sizes := flag.String("hosts", "10000,100000,1000000", "fleet sizes")
	rounds := flag.Int("rounds", 5, "rounds; each measures everything once")
	names := flag.String("backends", "pure,native", "backends; those that are not in the build are left out")
	life := flag.Duration("life", 0, "how long a wheel also lives in real time, with each size and backend; 5m is one interval")
	flag.Parse()
	progress = muteLog()
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	reading = costOfReading()
	backends := built(strings.Split(*names, ","))
	if len(backends) == 0 || *rounds < 1 {
		refuse("-backends names none that is built, or -rounds is below 1")
	}
	fmt.Printf("%s, %d processors; medians of %d rounds (least .. most)\n", runtime.Version(), runtime.GOMAXPROCS(0), *rounds)
	for _, text := range strings.Split(*sizes, ",") {
		hosts, err := strconv.Atoi(text)
		if err != nil || hosts < 1 {
			refuse("-hosts takes numbers: " + text)
		}
		measure(hosts, *rounds, backends, *life)
	}
}

// built are the backends of those names that this build has.
func built(names []string) []hostwheel.Backend {
	var backends []hostwheel.Backend
	for _, b := range []hostwheel.Backend{hostwheel.Pure, hostwheel.Native} {
		_, err := hostwheel.New(hostwheel.Config[int]{Backend: b})
		if slices.Contains(names, b.String()) && !errors.Is(err, hostwheel.ErrInvalid) {
			must(err)
			backends = append(backends, b)
		}
	}
	return backends
}

func measure(hosts, rounds int, backends []hostwheel.Backend, life time.Duration) {
	defer done()
	fleet := newFleet(hosts)
	columns := []string{alone}
	for _, b := range backends {
		columns = append(columns, b.String())
	}
	r := newResults(columns)
	for _, b := range backends {
		doing("%d hosts, %v: a wheel on a manual clock", hosts, b)
		observe(r, b, hosts, rounds)
	}
	doing("%d hosts: a resource", hosts)
	rig := newRig(fleet, interval, nil, backends...)
	for round := range rounds {
		doing("%d hosts: round %d of %d", hosts, round+1, rounds)
		rig.round(r, round)
	}
	for round := range rounds {
		doing("%d hosts: pauses, round %d of %d", hosts, round+1, rounds)
		rig.measureWaits(r)
	}
	rig.close()
	for _, b := range backends {
		doing("%d hosts, %v: pauses while it visits", hosts, b)
		measureVisiting(r, fleet, b)
	}
	done()
	report(r, hosts)
	if life > 0 {
		reportLife(r, fleet, backends, life)
	}
}

func doing(format string, args ...any) {
	fmt.Fprintf(progress, "\r%-79s", fmt.Sprintf(format, args...))
}

func done() { fmt.Fprintf(progress, "\r%79s\r", "") }

func refuse(why string) {
	fmt.Fprintln(progress, "bench:", why)
	os.Exit(2)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
