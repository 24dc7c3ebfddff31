//go:build linux

package main

import (
	"math/rand/v2"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

const (
	visitTime  figure = "the wheel's visits in one interval"
	stepsAlone figure = "the same steps of a wheel without hosts"
	visits     figure = "visits per host in one interval"

	longestSpread, visitsSpread, stepSpread       figure = "longest Advance, spread", "visits in it, spread", "its longest step, spread"
	longestTogether, visitsTogether, stepTogether figure = "longest Advance, together", "visits in it, together", "its longest step, together"
)

const (
	// step is by how much the manual clock is advanced at a time. A running wheel with the adapter's configuration sleeps no
	// longer than this, and seldom shorter while all is well: what is due in many minutes lies in one of few slots. A shorter
	// step would measure Advance, above all its calls through cgo, and change nothing about the visits.
	step = 500 * time.Millisecond
	// visitsPerStep is how many hosts a running wheel looks at before it frees its lock and reads the clock again. An
	// Advance does not stop there.
	visitsPerStep = 1024
	// settled is after how many intervals each interval is like the one before it.
	settled = 3
)

// life is a wheel as the adapter's on a manual clock, and its hosts in the order in which they announce themselves.
type life struct {
	wheel    *hostwheel.Wheel[*int]
	members  []*hostwheel.Member[*int]
	together bool
	now      time.Duration
}

// observed is what one interval of a wheel's life cost. step is the longest that so many visits took as a running wheel makes
// in a step: the whole Advance, or the mean of its steps if it made more. (A running wheel frees its lock after each.)
type observed struct {
	took, longest, step   time.Duration
	visits, longestVisits uint64
}

// observe measures the wheel's own work: the thread's or goroutine's, without what it costs to sleep and wake up.
func observe(r *results, backend hostwheel.Backend, hosts, rounds int) {
	column := backend.String()
	spread, together, empty := newLife(backend, hosts, false), newLife(backend, hosts, true), newLife(backend, 0, false)
	for range rounds {
		o := spread.interval()
		r.addMilliseconds(visitTime, column, o.took)
		r.add(visits, column, float64(o.visits)/float64(hosts))
		r.addMilliseconds(longestSpread, column, o.longest)
		r.add(visitsSpread, column, float64(o.longestVisits))
		r.addMilliseconds(stepSpread, column, o.step)
		o = together.interval()
		r.addMilliseconds(longestTogether, column, o.longest)
		r.add(visitsTogether, column, float64(o.longestVisits))
		r.addMilliseconds(stepTogether, column, o.step)
		r.addMilliseconds(stepsAlone, column, empty.interval().took)
	}
	for _, l := range []*life{spread, together, empty} {
		stats := l.wheel.Stats()
		if stats.Suspects > 0 || stats.Live != uint64(len(l.members)) {
			panic("hosts were lost that live")
		}
		must(l.wheel.Close())
	}
}

func newLife(backend hostwheel.Backend, hosts int, together bool) *life {
	wheel, err := hostwheel.New(hostwheel.Config[*int]{
		Backend: backend, Manual: true, Watchdog: hostwheel.Off,
		Leave:     func(*hostwheel.Event[*int]) hostwheel.Verdict { return hostwheel.Done },
		Suspect:   func(*hostwheel.Event[*int]) {},
		Recovered: func(*hostwheel.Event[*int]) {},
	})
	must(err)
	l := &life{wheel: wheel, together: together}
	for i := range hosts {
		member, _, err := wheel.Announce(idOf("host", i), interval, nil)
		must(err)
		l.members = append(l.members, member)
	}
	rand.New(rand.NewPCG(3350, 1)).Shuffle(hosts, func(i, j int) { l.members[i], l.members[j] = l.members[j], l.members[i] })
	for range settled {
		l.interval()
	}
	return l
}

// interval has each host announce itself once, evenly or all of them at once, and the wheel look every step.
func (l *life) interval() observed {
	var o observed
	steps, announced := int(interval/step), 0
	before := l.wheel.Stats().Visits
	first := before
	for i := range steps {
		due := len(l.members)
		if !l.together {
			due = due * (i + 1) / steps
		}
		for ; announced < due; announced++ {
			must(l.members[announced].Renew())
		}
		l.now += step
		start := processor()
		_, err := l.wheel.Advance(l.now)
		took := since(start)
		must(err)
		o.took += took
		now := l.wheel.Stats().Visits
		o.step = max(o.step, took*visitsPerStep/time.Duration(max(now-before, visitsPerStep)))
		if took > o.longest {
			o.longest, o.longestVisits = took, now-before
		}
		before = now
	}
	o.visits = before - first
	return o
}
