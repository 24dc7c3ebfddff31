// Package hostwheelprom exports the counters of a hostwheel wheel to Prometheus.
//
//	wheel, err := hostwheel.New(config)
//	prometheus.MustRegister(hostwheelprom.NewCollector(wheel))
//
// A scrape calls Stats once, so all numbers of a scrape belong together. Nothing is added to the path of an announce.
//
// Several wheels fit into one registry: give each a label of its own with [WithConstLabels], or a name with
// [WithNamespace].
package hostwheelprom

import (
	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/prometheus/client_golang/prometheus"
)

// Wheel is what a collector reads. Every *hostwheel.Wheel[V] is one.
type Wheel interface {
	// Stats are the counters at this moment.
	Stats() hostwheel.Stats
	// Backend says which implementation works.
	Backend() hostwheel.Backend
}

// Option changes the names or the labels of a collector's metrics.
type Option func(*options)

type options struct {
	namespace string
	labels    prometheus.Labels
}

// WithNamespace replaces the first part of all names, "hostwheel".
func WithNamespace(namespace string) Option {
	return func(o *options) { o.namespace = namespace }
}

// WithConstLabels adds labels that are the same for all metrics of the collector. The names "state", "reason", "backend"
// and "le" are taken. Of several such options the last one counts.
func WithConstLabels(labels prometheus.Labels) Option {
	return func(o *options) { o.labels = labels }
}

type collector struct {
	wheel    Wheel
	samples  []sample
	backend  *prometheus.Desc
	lateness *prometheus.Desc
}

// NewCollector makes a collector of the wheel's counters. It works after the wheel was closed as well. Names and labels
// that Prometheus forbids are reported when it is registered.
func NewCollector(wheel Wheel, opts ...Option) prometheus.Collector {
	o := options{namespace: "hostwheel"}
	for _, opt := range opts {
		opt(&o)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(o.namespace, "", name), help, labels, o.labels)
	}
	c := &collector{
		wheel:    wheel,
		backend:  desc("backend_info", "Which implementation of the wheel works, as a label; always 1.", "backend"),
		lateness: desc("leave_lateness_seconds", latenessHelp),
	}
	for _, f := range families {
		var names []string
		if f.label != "" {
			names = []string{f.label}
		}
		d := desc(f.name, f.help, names...)
		for _, v := range f.values {
			s := sample{desc: d, kind: f.kind, read: v.read}
			if f.label != "" {
				s.labels = []string{v.label}
			}
			c.samples = append(c.samples, s)
		}
	}
	return c
}

// Describe sends all descriptions. It is part of [prometheus.Collector].
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.backend
	out <- c.lateness
	var last *prometheus.Desc
	for _, s := range c.samples {
		if s.desc != last {
			out <- s.desc
		}
		last = s.desc
	}
}

// Collect sends all metrics. It is part of [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.wheel.Stats()
	out <- prometheus.MustNewConstMetric(c.backend, prometheus.GaugeValue, 1, c.wheel.Backend().String())
	out <- lateness(c.lateness, &s)
	for _, m := range c.samples {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(&s), m.labels...)
	}
}

// sample is one time series.
type sample struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels []string
	read   func(*hostwheel.Stats) float64
}

func lateness(desc *prometheus.Desc, s *hostwheel.Stats) prometheus.Metric {
	buckets := make(map[float64]uint64, len(s.Lateness))
	for i, bound := range hostwheel.LatenessBounds {
		buckets[bound.Seconds()] = s.Lateness[i]
	}
	// Whatever order a backend reads its counters in, no bucket may be above the count.
	count := max(s.LeavesTTL+s.LeavesHostTTL+s.LeavesBackstop, s.Lateness[len(s.Lateness)-1])
	return prometheus.MustNewConstHistogram(desc, count, s.LatenessSum.Seconds(), buckets)
}
