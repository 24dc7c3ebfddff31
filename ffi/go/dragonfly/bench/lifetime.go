//go:build linux

package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// reportLife has the fleet live with running wheels, one after the other, and first with a goroutine that wakes up as often
// as a wheel and does nothing: most of what Go's own threads do when they have little to do is for waking up.
func reportLife(r *results, f *fleet, backends []hostwheel.Backend, length time.Duration) {
	hosts := len(f.ids)
	used, visits, wakeUps := map[string]float64{}, map[string]float64{}, map[string]uint64{}
	doing("%d hosts: %v without a wheel", hosts, length)
	used[alone] = idle(length)
	for _, b := range backends {
		doing("%d hosts: %v with a running wheel, %v", hosts, length, b)
		rig, s := newLiving(f, b)
		before := s.watched.Stats()
		used[s.name] = live(f, s, length)
		after := s.watched.Stats()
		visits[s.name], wakeUps[s.name] = float64(after.Visits-before.Visits)/float64(hosts), after.WakeUps-before.WakeUps
		rig.close()
	}
	done()
	r.title("%d hosts: %v with a running wheel, processor time in ms", hosts, length)
	r.watched("all threads but the one that announces", func(column string) string { return number(used[column]) })
	r.unwatched("no wheel, a goroutine that wakes up twice a second", func(column string) string { return number(used[column]) })
	r.watched("visits per host", func(column string) string { return number(visits[column]) })
	r.watched("times woken up", func(column string) string { return fmt.Sprint(wakeUps[column]) })
	r.watched("scan / that of all threads, per interval", func(column string) string {
		return number(r.median(sweepTime, alone) / used[column] * length.Seconds() / interval.Seconds())
	})
}

// newLiving makes a wheel that is as one in the middle of its life, where it looks at each host about once in an interval.
// So each was heard one interval ago and a part of one when the wheel learns of it, and is heard again before it counts.
func newLiving(f *fleet, backend hostwheel.Backend) (*rig, *subject) {
	now := time.Now()
	rig := newRig(f, interval, func(host int) time.Time {
		return now.Add(-interval - time.Duration(float64(interval)*0.9*float64(host)/float64(len(f.ids))))
	}, backend)
	s := rig.subjects[1]
	f.call(s.pass, len(f.ids))
	return rig, s
}

// live has hosts announce themselves evenly for a while, and returns what other threads use of the processors, in ms.
func live(f *fleet, s *subject, length time.Duration) float64 {
	announced := 0
	return othersUse(length, func(passed time.Duration) {
		for due := int(passed.Seconds() / interval.Seconds() * float64(len(f.ids))); announced < due; announced += batch {
			f.call(s.pass, batch)
		}
	})
}

// idle has a goroutine do nothing as often as a wheel looks.
func idle(length time.Duration) float64 {
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		ticker := time.NewTicker(step)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-ended:
				return
			}
		}
	}()
	return othersUse(length, func(time.Duration) {})
}

// othersUse does something once a second for a while, and returns what all threads but this one use of the processors, in ms.
func othersUse(length time.Duration, each func(passed time.Duration)) float64 {
	all, own, start := process(), processor(), time.Now()
	for time.Since(start) < length {
		each(time.Since(start))
		// Not Go's own sleep, which is work for other threads.
		_ = unix.Nanosleep(&unix.Timespec{Sec: 1}, nil)
	}
	return float64(process()-all-(processor()-own)) / float64(time.Millisecond)
}
