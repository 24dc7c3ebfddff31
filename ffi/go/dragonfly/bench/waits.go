//go:build linux

package main

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"d7y.io/dragonfly/v2/scheduler/resource/standard"
	"golang.org/x/sys/unix"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// waits is how long calls took by the wall clock, while something else went on.
type waits struct{ most, high figure }

func newWaits(of string) waits { return waits{figure(of + ", most"), figure(of + ", p99.9")} }

var (
	storesAlone, storesSweep, storesVisits       = newWaits("Store"), newWaits("Store, sweep"), newWaits("Store, visits")
	announceAlone, announceSweep, announceVisits = newWaits("announce"), newWaits("announce, sweep"), newWaits("announce, visits")
)

const (
	visitRate figure = "visits per second in the last"
	disturbed figure = "the longest call that was left out"
)

const (
	// watchFor is how long the waits are measured in a round, at least.
	watchFor = 500 * time.Millisecond
	// batchesPerStore is how many batches of announces there are for one new host, which leaves at once.
	batchesPerStore = 4
	newHosts        = 1000
)

// measured are the calls of one measurement. Batches in which the system gave the processor to another thread, of whatever
// program, though nothing was waited for, are left out but for their longest call: what they tell is how many processors
// the machine has.
type measured struct {
	stores, announces []time.Duration
	disturbed         time.Duration
}

func (r *results) addWaits(column string, m *measured, stores, announces waits) {
	for w, took := range map[waits][]time.Duration{stores: m.stores, announces: m.announces} {
		if len(took) > 0 {
			slices.Sort(took)
			r.addMicroseconds(w.most, column, took[len(took)-1])
			r.addMicroseconds(w.high, column, took[len(took)-1-len(took)/1000])
		}
	}
	r.addMicroseconds(disturbed, column, m.disturbed)
}

// measureWaits measures what a call waits for while nothing else goes on, which tells what the machine itself does to it,
// and while another goroutine passes over all hosts: Dragonfly's scan without a wheel, the back-stop with one.
func (r *rig) measureWaits(results *results) {
	for _, s := range r.subjects {
		m := r.waits(s, func(passed time.Duration) bool { return passed < watchFor })
		results.addWaits(s.name, m, storesAlone, announceAlone)
		var enough atomic.Bool
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for !enough.Load() {
				must(s.manager.RunGC(context.Background()))
			}
		}()
		m = r.waits(s, func(passed time.Duration) bool {
			enough.Store(passed >= watchFor)
			select {
			case <-ended:
				return false
			default:
				return true
			}
		})
		results.addWaits(s.name, m, storesSweep, announceSweep)
	}
}

// measureVisiting measures the waits while the wheel looks at very many hosts: their TTL is so short that it looks at each
// of them while it is measured. They came within a few seconds, so they are due within a few, too.
func measureVisiting(results *results, f *fleet, backend hostwheel.Backend) {
	every := max(time.Second, time.Duration(len(f.ids))*10*time.Microsecond)
	rig := newRig(f, every, nil, backend)
	defer rig.close()
	s, window := rig.subjects[1], every*5/2
	before := s.watched.Stats().Visits
	m := rig.waits(s, func(passed time.Duration) bool { return passed < window })
	results.add(visitRate, s.name, float64(s.watched.Stats().Visits-before)/window.Seconds())
	results.addWaits(s.name, m, storesVisits, announceVisits)
}

// waits has known hosts announce themselves without pause, and now and then a new one be stored, as long as it is told to.
// Without a wheel nothing is in the way of an announce, and none is measured.
func (r *rig) waits(s *subject, goOn func(passed time.Duration) bool) *measured {
	var fresh []*standard.Host
	for i := range newHosts {
		fresh = append(fresh, newHost(idOf("new", i), interval))
	}
	// As a server's goroutine. It yields between the batches, so that Go takes the processor from it outside of them.
	runtime.UnlockOSThread()
	defer runtime.LockOSThread()
	m := &measured{}
	began := time.Now()
	for batches := 0; goOn(time.Since(began)); batches++ {
		r.fleet.prepare()
		runtime.Gosched()
		stores, announces := len(m.stores), len(m.announces)
		before := switchesSoFar()
		for _, request := range r.fleet.requests {
			start := time.Now()
			_, err := s.pass(context.Background(), request)
			took := time.Since(start)
			must(err)
			if s.watched != nil {
				m.announces = append(m.announces, took)
			}
		}
		if batches%batchesPerStore == 0 {
			host := fresh[batches/batchesPerStore%newHosts]
			start := time.Now()
			s.manager.Store(host)
			m.stores = append(m.stores, time.Since(start))
			s.manager.Delete(host.ID)
		}
		if before.interrupted() {
			for _, took := range slices.Concat(m.announces[announces:], m.stores[stores:]) {
				m.disturbed = max(m.disturbed, took)
			}
			m.announces, m.stores = m.announces[:announces], m.stores[:stores]
		}
	}
	return m
}

// switches is how often a thread let go of its processor: because it waited for something, or because the system took it.
type switches struct {
	thread        int
	waited, taken int64
}

func switchesSoFar() switches {
	var used unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_THREAD, &used))
	return switches{unix.Gettid(), used.Nvcsw, used.Nivcsw}
}

// interrupted says whether the system took the processor, and nothing was waited for. Then it is the same thread as well.
func (s switches) interrupted() bool {
	now := switchesSoFar()
	return now.thread == s.thread && now.waited == s.waited && now.taken != s.taken
}
