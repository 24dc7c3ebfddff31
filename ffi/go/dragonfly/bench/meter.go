//go:build linux

package main

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// processor is the processor time of this thread so far.
func processor() time.Duration {
	var now unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now))
	return time.Duration(now.Nano())
}

// reading is what a look at that clock adds to what it measures.
var reading time.Duration

func costOfReading() time.Duration {
	costs := make([]time.Duration, 10_001)
	for i := range costs {
		start := processor()
		costs[i] = processor() - start
	}
	slices.Sort(costs)
	return costs[len(costs)/2]
}

// since is the processor time of this thread since start, without the looks at the clock.
func since(start time.Duration) time.Duration { return max(processor()-start-reading, 0) }

// process is the processor time of all threads so far.
func process() time.Duration {
	var used unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// figure is the name of something that is measured once a round for each column.
type figure string

// results are the rounds of each figure, by column.
type results struct {
	columns []string
	rounds  map[figure]map[string][]float64
}

func newResults(columns []string) *results {
	return &results{columns, map[figure]map[string][]float64{}}
}

func (r *results) add(f figure, column string, value float64) {
	if r.rounds[f] == nil {
		r.rounds[f] = map[string][]float64{}
	}
	r.rounds[f][column] = append(r.rounds[f][column], value)
}

func (r *results) addMilliseconds(f figure, column string, took time.Duration) {
	r.add(f, column, float64(took)/float64(time.Millisecond))
}

func (r *results) addMicroseconds(f figure, column string, took time.Duration) {
	r.add(f, column, float64(took)/float64(time.Microsecond))
}

// sorted are the rounds from the least to the most; none if it was not measured.
func (r *results) sorted(f figure, column string) []float64 {
	return slices.Sorted(slices.Values(r.rounds[f][column]))
}

// median is 0 if it was not measured.
func (r *results) median(f figure, column string) float64 {
	if values := r.sorted(f, column); len(values) > 0 {
		return values[len(values)/2]
	}
	return 0
}

// most is 0 if it was not measured.
func (r *results) most(f figure, column string) float64 {
	if values := r.sorted(f, column); len(values) > 0 {
		return values[len(values)-1]
	}
	return 0
}
