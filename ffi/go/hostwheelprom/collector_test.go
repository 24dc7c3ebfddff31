package hostwheelprom_test

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/hostwheelprom"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
)

var update = flag.Bool("update", false, "write the golden files anew")

// effort are the metrics that tell what the wheel's work costs, not what it means. They may change with any improvement.
var effort = map[string]bool{"hostwheel_observer_visits_total": true, "hostwheel_observer_wakeups_total": true}

// fixed is a wheel whose counters are given.
type fixed struct {
	stats hostwheel.Stats
	asked int
}

func (f *fixed) Stats() hostwheel.Stats {
	f.asked++
	return f.stats
}

func (f *fixed) Backend() hostwheel.Backend { return hostwheel.Pure }

// distinct gives every field of the counters another value.
func distinct() hostwheel.Stats {
	var s hostwheel.Stats
	fields := reflect.ValueOf(&s).Elem()
	for i := range fields.NumField() {
		switch f := fields.Field(i); {
		case f.Type() == reflect.TypeFor[time.Duration]():
			f.SetInt(int64(time.Duration(i+1) * time.Second))
		case f.Kind() == reflect.Uint64:
			f.SetUint(uint64(i + 1))
		}
	}
	s.Live, s.LeavesTTL = 1000, 500
	for i := range s.Lateness {
		s.Lateness[i] = uint64(400 + i)
	}
	return s
}

// exposition is what a scrape of one collector gives.
func exposition(t *testing.T, c prometheus.Collector, without map[string]bool) []byte {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, family := range families {
		if without[family.GetName()] {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	return text.Bytes()
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the exposition is not that of %s; got:\n%s", path, got)
	}
}

func TestEveryFieldHasItsMetric(t *testing.T) {
	compareGolden(t, "distinct.prom", exposition(t, hostwheelprom.NewCollector(&fixed{stats: distinct()}), nil))
}

// A field that is added to Stats must not be forgotten here.
func TestEveryFieldIsSeen(t *testing.T) {
	base := distinct()
	before := exposition(t, hostwheelprom.NewCollector(&fixed{stats: base}), nil)
	fields := reflect.TypeFor[hostwheel.Stats]()
	for i := range fields.NumField() {
		changed := base
		switch f := reflect.ValueOf(&changed).Elem().Field(i); f.Kind() {
		case reflect.Uint64:
			f.SetUint(f.Uint() + 1)
		case reflect.Int64:
			f.SetInt(f.Int() + int64(time.Millisecond))
		case reflect.Array:
			f.Index(0).SetUint(f.Index(0).Uint() - 1)
		default:
			t.Fatalf("Stats.%s is of a kind that is not known here: %v", fields.Field(i).Name, f.Kind())
		}
		after := exposition(t, hostwheelprom.NewCollector(&fixed{stats: changed}), nil)
		if bytes.Equal(before, after) {
			t.Errorf("Stats.%s changes no metric", fields.Field(i).Name)
		}
	}
}

func TestLint(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(hostwheelprom.NewCollector(&fixed{stats: distinct()}))
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestOneStatsPerScrape(t *testing.T) {
	wheel := &fixed{}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(hostwheelprom.NewCollector(wheel))
	if wheel.asked != 0 {
		t.Errorf("a registration asked %d times for the counters, want none", wheel.asked)
	}
	for range 3 {
		if _, err := registry.Gather(); err != nil {
			t.Fatal(err)
		}
	}
	if wheel.asked != 3 {
		t.Errorf("3 scrapes asked %d times for the counters", wheel.asked)
	}
}

func TestSeveralWheelsInOneRegistry(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, c := range []prometheus.Collector{
		hostwheelprom.NewCollector(&fixed{}, hostwheelprom.WithConstLabels(prometheus.Labels{"wheel": "hosts"})),
		hostwheelprom.NewCollector(&fixed{}, hostwheelprom.WithConstLabels(prometheus.Labels{"wheel": "peers"})),
		hostwheelprom.NewCollector(&fixed{}, hostwheelprom.WithNamespace("seeds")),
	} {
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"hostwheel_hosts": 4, "seeds_hosts": 2, "hostwheel_leave_lateness_seconds": 2} {
		if got, err := testutil.GatherAndCount(registry, name); err != nil || got != want {
			t.Errorf("%s has %d series (%v), want %d", name, got, err, want)
		}
	}
	err := registry.Register(hostwheelprom.NewCollector(&fixed{}, hostwheelprom.WithNamespace("seeds")))
	if err == nil {
		t.Error("two wheels of one name and no labels were registered")
	}
}

func TestForbiddenNamesAreReported(t *testing.T) {
	for name, c := range map[string]prometheus.Collector{
		"label": hostwheelprom.NewCollector(&fixed{}, hostwheelprom.WithConstLabels(prometheus.Labels{"reason": "x"})),
		"utf-8": hostwheelprom.NewCollector(&fixed{}, hostwheelprom.WithNamespace("\xff")),
	} {
		if err := prometheus.NewRegistry().Register(c); err == nil {
			t.Errorf("%s: registered", name)
		}
	}
}

func TestHistogram(t *testing.T) {
	torn := distinct()
	// As a backend could report that counts a lateness before the leave.
	torn.LeavesTTL, torn.LeavesHostTTL, torn.LeavesBackstop = 0, 0, 0
	for name, wheel := range map[string]hostwheelprom.Wheel{
		"empty":    &fixed{},
		"distinct": &fixed{stats: distinct()},
		"torn":     &fixed{stats: torn},
		"wheel":    busyWheel(t),
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(hostwheelprom.NewCollector(wheel))
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				if family.GetName() != "hostwheel_leave_lateness_seconds" {
					continue
				}
				h := family.GetMetric()[0].GetHistogram()
				bound, below := math.Inf(-1), uint64(0)
				for _, b := range h.GetBucket() {
					if b.GetUpperBound() <= bound || b.GetCumulativeCount() < below {
						t.Errorf("the bucket %v is not above the one before", b)
					}
					bound, below = b.GetUpperBound(), b.GetCumulativeCount()
				}
				if len(h.GetBucket()) != len(hostwheel.LatenessBounds) || below > h.GetSampleCount() {
					t.Errorf("%d buckets up to %d of %d", len(h.GetBucket()), below, h.GetSampleCount())
				}
				s := wheel.Stats()
				if want := s.LeavesTTL + s.LeavesHostTTL + s.LeavesBackstop; name != "torn" && h.GetSampleCount() != want {
					t.Errorf("%d leaves in the histogram, want %d", h.GetSampleCount(), want)
				}
				if h.GetSampleSum() != s.LatenessSum.Seconds() {
					t.Errorf("the sum is %v, want %v", h.GetSampleSum(), s.LatenessSum)
				}
				return
			}
			t.Error("there is no histogram")
		})
	}
}
