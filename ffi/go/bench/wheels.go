package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	hostwheel "github.com/hostwheel/hostwheel/ffi/go"
)

// backends are those that were compiled in.
func backends() []hostwheel.Backend {
	if hasNative() {
		return []hostwheel.Backend{hostwheel.Native, hostwheel.Pure}
	}
	return []hostwheel.Backend{hostwheel.Pure}
}

// running is a wheel that runs, with all hosts of a fleet.
type running struct {
	wheel *hostwheel.Wheel[*today]
	// members in the order in which they announce themselves.
	members []*hostwheel.Member[*today]
	ended   chan error
}

func run(backend hostwheel.Backend, f *fleet) *running {
	wheel, err := hostwheel.New(hostwheel.Config[*today]{Backend: backend})
	must(err)
	r := &running{wheel: wheel, ended: make(chan error, 1)}
	go func() { r.ended <- wheel.Run(context.Background()) }()
	members := make([]*hostwheel.Member[*today], len(f.stored))
	for i, id := range f.stored {
		members[i], _, err = wheel.Announce(id, interval, &today{id: id})
		must(err)
	}
	// Until the wheel has looked at a new host, within half a second, each of its announces reports it.
	for _, m := range members {
		for status, err := m.Inspect(); !status.Looked; status, err = m.Inspect() {
			must(err)
			time.Sleep(time.Millisecond)
		}
	}
	for _, i := range f.order {
		r.members = append(r.members, members[i])
	}
	return r
}

func (r *running) end() {
	must(r.wheel.Close())
	must(<-r.ended)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// callsPerReading is for how many hosts one reading of the clock does: a batch of announces that came together.
const callsPerReading = 256

func wheelSubjects() []subject {
	var all []subject
	for _, backend := range backends() {
		on := func(name, what string, call func(r *running, f *fleet)) {
			all = append(all, subject{fmt.Sprint(backend, " ", name), fmt.Sprint("hostwheel, ", backend, ": ", what), false,
				func(f *fleet) (func(), func()) {
					r := run(backend, f)
					return func() { call(r, f) }, r.end
				}})
		}
		on("RenewAt", fmt.Sprintf("RenewAt, one time.Now() for %d", callsPerReading), func(r *running, _ *fleet) {
			now := time.Now()
			for i, m := range r.members {
				if i%callsPerReading == 0 {
					now = time.Now()
				}
				must(m.RenewAt(now))
			}
		})
		on("Renew", "Renew", func(r *running, _ *fleet) {
			for _, m := range r.members {
				must(m.Renew())
			}
		})
		on("Announce", "Announce by id", func(r *running, f *fleet) {
			for _, id := range f.ids {
				_, _, err := r.wheel.Announce(id, interval, nil)
				must(err)
			}
		})
	}
	return all
}

// live has hosts announce themselves evenly with an interval, and returns the processor time that the wheel's thread used in
// one such. That is the third: a host is first looked at when its TTL would end, which is two of them.
func live(hosts int, interval time.Duration) time.Duration {
	r := run(hostwheel.Native, newFleet(hosts))
	defer r.end()
	for _, m := range r.members {
		must(m.AnnounceAt(time.Now(), interval))
	}
	thread := wheelThread()
	var before time.Duration
	start := time.Now()
	for announced := 0; ; {
		elapsed := time.Since(start)
		switch {
		case elapsed > 3*interval:
			return processorTime(thread) - before
		case elapsed > 2*interval && before == 0:
			before = processorTime(thread)
		}
		// Each host once per interval.
		now := time.Now()
		for due := int(float64(elapsed) / float64(interval) * float64(hosts)); announced < due; announced++ {
			must(r.members[announced%hosts].RenewAt(now))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// wheelThread is the folder of the youngest thread of this process that is called as the wheel's are.
func wheelThread() string {
	tasks, err := filepath.Glob("/proc/self/task/*/comm")
	must(err)
	found := ""
	for _, task := range tasks {
		if name, err := os.ReadFile(task); err == nil && strings.HasPrefix(string(name), "hostwheel") {
			found = filepath.Dir(task)
		}
	}
	return found
}

// processorTime is what a thread has used.
func processorTime(thread string) time.Duration {
	text, err := os.ReadFile(filepath.Join(thread, "schedstat"))
	must(err)
	var ns int64
	_, err = fmt.Sscan(string(text), &ns)
	must(err)
	return time.Duration(ns)
}
