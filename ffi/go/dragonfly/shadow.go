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
	// found is when the wheel would have removed it; zero if it would not have yet. late is how long after since that was.
	found time.Time
	late  time.Duration
}

// isFound says whether the wheel would have removed a host that is still there.
func (e *entry) isFound() bool { return e.doubt != nil && !e.doubt.found.IsZero() }

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
	graces := []time.Duration{0, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, defaultGrace,
		30 * time.Second, time.Minute, 5 * time.Minute}
	if grace > 0 && !slices.Contains(graces, grace) {
		graces = append(graces, grace)
		slices.Sort(graces)
	}
	for _, g := range graces {
		c.graces = append(c.graces, GraceCount{Grace: g})
	}
}

// late notes that a host was heard again so long after its TTL.
func (c *comparison) late(by, interval time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lateLocked(by, interval)
}

func (c *comparison) lateLocked(by, interval time.Duration) {
	c.report.Late++
	c.report.LateMax = max(c.report.LateMax, by)
	for i := range c.graces {
		if by > min(c.graces[i].Grace, interval) {
			c.graces[i].Wrong++
		}
	}
}

// found notes that the wheel would have removed a host. Its lock is held, here and in the functions below.
func (c *comparison) found(e *entry, ev *event, interval time.Duration) {
	e.doubt = &doubt{since: ev.Deadline, interval: interval, found: time.Now(), late: ev.Now - ev.Deadline}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Found++
	c.report.Pending++
}

// returned notes that a host was heard again. Unless the wheel would have removed it, that is nothing special.
func (c *comparison) returned(e *entry) {
	d := e.doubt
	if !e.isFound() {
		return
	}
	e.doubt = nil
	by := d.late + time.Since(d.found)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Pending--
	c.report.Wrong++
	c.lateLocked(by, d.interval)
	w := WrongRemoval{ID: e.host.ID, Interval: d.interval, Grace: by, Saveable: by <= d.interval, At: d.found}
	if len(c.wrongs) == wrongsKept {
		c.wrongs = c.wrongs[1:]
	}
	c.wrongs = append(c.wrongs, w)
}

// scanned notes that the scan has removed a host.
func (c *comparison) scanned(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.isFound() {
		c.report.ScanFirst++
		return
	}
	gained := time.Since(e.doubt.found)
	c.report.Pending--
	c.report.Agreed++
	c.gained += gained
	c.report.GainedMax = max(c.report.GainedMax, gained)
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
		if stored, ok := w.inner.Load(id); !ok || stored != e.host {
			w.compared.scanned(e)
			e.doubt = nil
			w.forget(s, id)
			continue
		}
		updated := e.host.UpdatedAt.Load()
		if e.isFound() && !updated.Equal(e.asked) {
			// It uploads: the scan counts that.
			e.asked = updated
			w.track(e, hostwheel.SeenAt(updated))
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
