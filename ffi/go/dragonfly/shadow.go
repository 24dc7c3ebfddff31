package dragonfly

import (
	"slices"
	"sync"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// doubt is what is known of a host that is past its TTL.
type doubt struct {
	// since is when its TTL ended, in wheel time.
	since    time.Duration
	interval time.Duration
	// noted is when this was noted, and late how long after its TTL that was.
	noted time.Time
	late  time.Duration
	// found: that was when the wheel would have removed it.
	found bool
}

// newDoubt is what an event gives cause to.
func newDoubt(ev *event, interval time.Duration) *doubt {
	return &doubt{since: ev.Deadline, interval: interval, noted: time.Now(), late: ev.Now - ev.Deadline}
}

// isFound says whether the wheel would have removed a host that is still there.
func (e *entry) isFound() bool { return e.doubt != nil && e.doubt.found }

// comparison is what Shadow finds.
type comparison struct {
	mu     sync.Mutex
	graces []GraceCount
	report Comparison
	gained time.Duration
	wrongs []WrongRemoval
}

// wrongsKept is how many of the latest wrong removals are told one by one.
const wrongsKept = 100

func (c *comparison) init(grace time.Duration) {
	graces := []time.Duration{0, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, hostwheel.DefaultGrace,
		30 * time.Second, time.Minute, 5 * time.Minute}
	if !slices.Contains(graces, grace) {
		graces = append(graces, grace)
		slices.Sort(graces)
	}
	for _, g := range graces {
		c.graces = append(c.graces, GraceCount{Grace: g})
	}
}

// late notes that a host was heard again so long after its TTL.
func (c *comparison) late(by, interval time.Duration) {
	if by <= 0 {
		return
	}
	c.report.Late++
	c.report.LateMax = max(c.report.LateMax, by)
	for i := range c.graces {
		if by > min(c.graces[i].Grace, interval) {
			c.graces[i].Wrong++
		}
	}
}

// The lock of the host is held in the functions below.

// found notes that the wheel would have removed a host.
func (c *comparison) found(e *entry, d *doubt) {
	d.found = true
	e.doubt = d
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Found++
	c.report.Pending++
}

// recovered notes that a suspect was heard again, by the wheel's account so long after its TTL.
func (c *comparison) recovered(e *entry, by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late(by, e.doubt.interval)
	e.doubt = nil
}

// heard notes that a host was heard at an instant. Unless it was in doubt that is nothing special.
func (c *comparison) heard(e *entry, at time.Time) {
	d := e.doubt
	if d == nil {
		return
	}
	e.doubt = nil
	by := d.late + at.Sub(d.noted)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late(by, d.interval)
	if !d.found {
		return
	}
	c.report.Pending--
	c.report.Wrong++
	if len(c.wrongs) == wrongsKept {
		c.wrongs = c.wrongs[1:]
	}
	c.wrongs = append(c.wrongs, WrongRemoval{ID: e.host.Load().ID, Interval: d.interval, Grace: by, Saveable: by <= d.interval, At: d.noted})
}

// scanned notes that the scan has removed a host.
func (c *comparison) scanned(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.isFound() {
		c.report.ScanFirst++
	} else {
		gained := time.Since(e.doubt.noted)
		c.report.Pending--
		c.report.Agreed++
		c.gained += gained
		c.report.GainedMax = max(c.report.GainedMax, gained)
	}
	e.doubt = nil
}

// dropped notes that a host said goodbye.
func (c *comparison) dropped(e *entry) {
	if !e.isFound() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Pending--
	c.report.Dropped++
}

// compare looks at what the scan has just removed.
func (w *watch) compare() {
	for i := range w.table.stripes {
		w.compareIn(&w.table.stripes[i])
	}
	w.adoptAll()
}

func (w *watch) compareIn(s *stripe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if !w.isStored(e) {
			w.compared.scanned(e)
			w.forget(s, id)
			continue
		}
		updated := e.host.Load().UpdatedAt.Load()
		if e.isFound() && !updated.Equal(e.asked) {
			// It uploads: the scan counts that.
			e.asked = updated
			w.track(e, updated)
		}
	}
}

// told is a copy of the comparison.
func (c *comparison) told() Comparison {
	c.mu.Lock()
	defer c.mu.Unlock()
	report := c.report
	report.Graces = slices.Clone(c.graces)
	report.Wrongs = slices.Clone(c.wrongs)
	if report.Agreed > 0 {
		report.GainedMean = c.gained / time.Duration(report.Agreed)
	}
	return report
}
