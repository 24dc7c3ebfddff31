package cluster

import (
	"sync/atomic"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/prometheus/client_golang/prometheus"
)

// counters are what Report tells, beside what the wheel and the store count.
type counters struct {
	removed, others                                          [resources]atomic.Uint64
	peers, missing, heardElsewhere, superseded, early        atomic.Uint64
	learned, empty, unreadable, refused, regressions, passes atomic.Uint64
	failures                                                 atomic.Uint64
}

// Report says what a watch did up to now. Numbers never decrease, but for Up.
type Report struct {
	// Commands is what was sent to Redis, by purpose: "page" of ids, "read" of hosts found there, "ask" for suspects, "remove",
	// "heartbeat", "load" of the script.
	Commands map[string]uint64
	// Removed are the hosts that this scheduler deleted, RemovedByOthers those that another one deleted first, by resource. Peers
	// are the peers that were deleted with hosts.
	Removed, RemovedByOthers map[string]uint64
	Peers                    uint64
	// Missing are suspects that Redis did not know any more.
	Missing uint64
	// HeardElsewhere are hosts that others have heard and this scheduler has not.
	HeardElsewhere uint64
	// Superseded are hosts that came back while they were about to be deleted.
	Superseded uint64
	// Early are deletions that Redis's clock forbade.
	Early uint64
	// Learned are hosts that Redis told of. Empty are ids without a host.
	Learned, Empty uint64
	// Unreadable are records that make no sense. Refused are hosts that the wheel has no room for.
	Unreadable, Refused uint64
	// Regressions are hosts of which Redis has forgotten news.
	Regressions uint64
	// Passes are complete looks at all ids.
	Passes uint64
	// Failures are commands and heartbeats that failed. Outages are times in which Redis took no writes, or in which this scheduler
	// stood still; up: it does now.
	Failures, Outages uint64
	Up                bool
}

// Report says what the watch did up to now.
func (w *Watch) Report() Report {
	c := &w.counted
	w.link.mu.Lock()
	outages, failures := w.link.outageCount, w.link.failures
	w.link.mu.Unlock()
	r := Report{
		Removed: map[string]uint64{}, RemovedByOthers: map[string]uint64{}, Commands: map[string]uint64{},
		Peers: c.peers.Load(), Missing: c.missing.Load(), HeardElsewhere: c.heardElsewhere.Load(), Superseded: c.superseded.Load(),
		Early: c.early.Load(), Learned: c.learned.Load(), Empty: c.empty.Load(), Unreadable: c.unreadable.Load(),
		Refused: c.refused.Load(), Regressions: c.regressions.Load(), Passes: c.passes.Load(),
		Failures: c.failures.Load() + failures, Outages: outages, Up: w.link.up(),
	}
	for _, resource := range w.Resources {
		r.Removed[resource.String()] = c.removed[resource].Load()
		r.RemovedByOthers[resource.String()] = c.others[resource].Load()
	}
	if w.redis != nil {
		sent := &w.redis.sent
		for purpose, n := range map[string]*atomic.Uint64{"page": &sent.page, "read": &sent.read, "ask": &sent.ask, "remove": &sent.remove,
			"heartbeat": &sent.beat, "load": &sent.load} {
			r.Commands[purpose] = n.Load()
		}
	}
	return r
}

// Stats are the counters of the wheel. With Backend it is what hostwheelprom takes.
func (w *Watch) Stats() hostwheel.Stats { return w.wheel.Stats() }

// Backend says which implementation of the wheel works.
func (w *Watch) Backend() hostwheel.Backend { return w.wheel.Backend() }

// Release has the brake let those hosts go that wait for it now.
//
// Errors: hostwheel.ErrClosed after Run.
func (w *Watch) Release() error { return w.wheel.Release() }

// metric is one family of the collector's.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// by is its values, by label; the empty label if there is just one.
	by func(*Report) map[string]uint64
}

// NewCollector makes a Prometheus collector of a watch's Report. The wheel's own counters are hostwheelprom's.
func NewCollector(w *Watch) prometheus.Collector {
	c := &collector{watch: w}
	family := func(name, help, label string, kind prometheus.ValueType, by func(*Report) map[string]uint64) {
		var labels []string
		if label != "" {
			labels = []string{label}
		}
		c.metrics = append(c.metrics, metric{prometheus.NewDesc("hostwheel_cluster_"+name, help, labels, nil), kind, by})
	}
	family("commands_total", "Commands sent to Redis.", "purpose", prometheus.CounterValue, func(r *Report) map[string]uint64 { return r.Commands })
	family("removed_total", "Hosts that this scheduler deleted.", "resource", prometheus.CounterValue,
		func(r *Report) map[string]uint64 { return r.Removed })
	family("removed_by_others_total", "Hosts that another scheduler deleted first.", "resource", prometheus.CounterValue,
		func(r *Report) map[string]uint64 { return r.RemovedByOthers })
	for _, f := range []struct {
		name, help string
		value      func(*Report) uint64
	}{
		{"removed_peers_total", "Peers deleted with their hosts.", func(r *Report) uint64 { return r.Peers }},
		{"missing_total", "Suspects that Redis did not know any more.", func(r *Report) uint64 { return r.Missing }},
		{"heard_elsewhere_total", "Hosts that only other schedulers have heard.", func(r *Report) uint64 { return r.HeardElsewhere }},
		{"superseded_total", "Hosts that came back while they were about to be deleted.", func(r *Report) uint64 { return r.Superseded }},
		{"early_total", "Deletions that Redis's clock forbade.", func(r *Report) uint64 { return r.Early }},
		{"learned_total", "Hosts that Redis told of.", func(r *Report) uint64 { return r.Learned }},
		{"empty_total", "Ids without a host.", func(r *Report) uint64 { return r.Empty }},
		{"unreadable_total", "Records that make no sense.", func(r *Report) uint64 { return r.Unreadable }},
		{"refused_total", "Hosts that the wheel has no room for.", func(r *Report) uint64 { return r.Refused }},
		{"regressions_total", "Hosts of which Redis has forgotten news.", func(r *Report) uint64 { return r.Regressions }},
		{"passes_total", "Complete looks at all ids.", func(r *Report) uint64 { return r.Passes }},
		{"failures_total", "Commands and heartbeats that failed.", func(r *Report) uint64 { return r.Failures }},
		{"outages_total", "Times in which Redis took no writes.", func(r *Report) uint64 { return r.Outages }},
	} {
		family(f.name, f.help, "", prometheus.CounterValue, func(r *Report) map[string]uint64 { return map[string]uint64{"": f.value(r)} })
	}
	family("up", "Whether Redis takes writes.", "", prometheus.GaugeValue, func(r *Report) map[string]uint64 {
		if r.Up {
			return map[string]uint64{"": 1}
		}
		return map[string]uint64{"": 0}
	})
	return c
}

type collector struct {
	watch   *Watch
	metrics []metric
}

func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		descs <- m.desc
	}
}

func (c *collector) Collect(samples chan<- prometheus.Metric) {
	r := c.watch.Report()
	for _, m := range c.metrics {
		for label, value := range m.by(&r) {
			var labels []string
			if label != "" {
				labels = []string{label}
			}
			samples <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(value), labels...)
		}
	}
}
