//go:build linux

package main

import (
	"context"
	"runtime"
	"time"

	"go.uber.org/zap"
)

const (
	sweepTime   figure = "processor time of a pass over all hosts: Dragonfly's scan, or the back-stop instead"
	passTime    figure = "the way past the wheel, with a handler that does nothing"
	silentTime  figure = "the handler, log off"
	loggingTime figure = "the handler, log on"
)

// calls is how many calls a round measures; logs is how many if they log.
const (
	calls = 200_000
	logs  = 20_000
)

// round measures everything once for each subject, each time with another one first.
func (r *rig) round(results *results, number int) {
	now := time.Now()
	for _, host := range r.hosts {
		host.UpdatedAt.Store(now)
	}
	runtime.GC()
	each := func(measure func(s *subject)) {
		for i := range r.subjects {
			measure(r.subjects[(number+i)%len(r.subjects)])
		}
	}
	each(func(s *subject) {
		start := processor()
		must(s.manager.RunGC(context.Background()))
		results.addMilliseconds(sweepTime, s.name, since(start))
	})
	each(func(s *subject) { results.add(passTime, s.name, r.fleet.call(s.pass, calls)) })
	each(func(s *subject) { results.add(loggingTime, s.name, r.fleet.call(s.announce, logs)) })
	if !canSilence() {
		return
	}
	logFrom(zap.FatalLevel)
	defer logFrom(zap.InfoLevel)
	each(func(s *subject) { results.add(silentTime, s.name, r.fleet.call(s.announce, calls)) })
}
