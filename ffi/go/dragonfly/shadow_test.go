package dragonfly

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// wrongAt is how many would have been removed wrongly with a grace.
func (c *Comparison) wrongAt(t *testing.T, grace time.Duration) uint64 {
	t.Helper()
	for _, g := range c.Graces {
		if g.Grace == grace {
			return g.Wrong
		}
	}
	t.Fatalf("nothing is said of a grace of %v", grace)
	return 0
}

// adds checks that each host that would have been removed is told of once.
func (c *Comparison) adds(t *testing.T) {
	t.Helper()
	if c.Found != c.Agreed+c.Wrong+c.Dropped+c.Pending {
		t.Errorf("it does not add up: %+v", c)
	}
}

func TestShadowRemovesNobodyAndTellsWhatTheScanFindsLater(t *testing.T) {
	bubble(t, Options{Mode: Shadow}, func(t *testing.T, r *rig) {
		r.announce("dead", 20*second)
		r.announce("polite", 20*second)
		peer := r.addPeer("dead")
		time.Sleep(56 * second)
		r.wantThere("dead")
		c := r.Report().Comparison
		if c.Found != 2 || c.Pending != 2 || c.Agreed != 0 || peer.FSM.Current() != "Pending" {
			t.Errorf("%+v, %s", c, peer.FSM.Current())
		}
		r.HostManager().Delete("polite")
		time.Sleep(44 * second)
		r.scan()
		r.wantGone("dead")
		c = r.Report().Comparison
		c.adds(t)
		if c.Found != 2 || c.Agreed != 1 || c.Dropped != 1 || c.Wrong != 0 || c.ScanFirst != 0 || c.Late != 0 {
			t.Errorf("%+v", c)
		}
		if c.GainedMean != c.GainedMax || c.GainedMax < 44*second || c.GainedMax > 45*second+tick {
			t.Errorf("gained %v", c.GainedMax)
		}
		if report := r.Report(); report.Removed != 0 || report.Hosts != 0 {
			t.Errorf("%+v", report)
		}
		r.consistent()
	})
}

func TestShadowTellsWhichGraceWouldHaveSavedWhom(t *testing.T) {
	bubble(t, Options{Mode: Shadow, Grace: 4 * second}, func(t *testing.T, r *rig) {
		for _, late := range []time.Duration{1500 * time.Millisecond, 3 * second, 7 * second, 25 * second} {
			r.announce("late", 20*second)
			time.Sleep(40*second + late)
		}
		r.announce("late", 20*second)
		synctest.Wait()
		r.wantThere("late")
		c := r.Report().Comparison
		c.adds(t)
		if c.Late != 4 || c.Found != 2 || c.Wrong != 2 || len(c.Wrongs) != 2 {
			t.Errorf("%+v", c)
		}
		for grace, want := range map[time.Duration]uint64{0: 4, second: 4, 2 * second: 3, 4 * second: 2, 5 * second: 2, 10 * second: 1,
			15 * second: 1, 5 * time.Minute: 1} {
			if got := c.wrongAt(t, grace); got != want {
				t.Errorf("with a grace of %v %d would be wrong, want %d", grace, got, want)
			}
		}
		for i, want := range []time.Duration{7 * second, 25 * second} {
			w := c.Wrongs[i]
			if w.ID != "late" || w.Interval != 20*second || (w.Grace-want).Abs() > tick || w.Saveable != (want <= 20*second) {
				t.Errorf("%+v, want a grace of %v", w, want)
			}
		}
	})
}

func TestShadowAsksUpdatedAtAsEnforceDoes(t *testing.T) {
	bubble(t, Options{Mode: Shadow}, func(t *testing.T, r *rig) {
		r.announce("uploads", 20*second)
		r.announce("later", 20*second)
		time.Sleep(30 * second)
		r.host("uploads").UpdatedAt.Store(time.Now())
		time.Sleep(26 * second)
		// Only now, after the wheel would have removed it, there is an upload of the other.
		r.host("later").UpdatedAt.Store(time.Now())
		r.scan()
		r.wantThere("uploads", "later")
		c := r.Report().Comparison
		c.adds(t)
		if c.Found != 1 || c.Wrong != 1 || c.Late != 1 || c.Wrongs[0].ID != "later" {
			t.Errorf("%+v", c)
		}
		r.consistent()
	})
}

func TestShadowTellsWhomTheScanFindsFirst(t *testing.T) {
	bubble(t, Options{Mode: Shadow}, func(t *testing.T, r *rig) {
		r.announce("in grace", 20*second)
		r.announce("downloads", 20*second)
		_, end, _ := r.reports("downloads")
		time.Sleep(50 * second)
		r.scan()
		r.wantGone("in grace", "downloads")
		c := r.Report().Comparison
		c.adds(t)
		if c.Found != 0 || c.ScanFirst != 2 {
			t.Errorf("%+v", c)
		}
		end()
		time.Sleep(time.Hour)
		synctest.Wait()
		if c := r.Report().Comparison; c.Found != 0 || r.Report().Hosts != 0 {
			t.Errorf("%+v", c)
		}
		r.consistent()
	})
}

func TestShadowKeepsTheLatestHundredWrongs(t *testing.T) {
	bubble(t, Options{Mode: Shadow, Grace: hostwheel.Off}, func(t *testing.T, r *rig) {
		for range wrongsKept + 20 {
			r.announce("late", 10*second)
			time.Sleep(21 * second)
		}
		r.announce("late", 10*second)
		c := r.Report().Comparison
		c.adds(t)
		if c.Wrong != wrongsKept+20 || len(c.Wrongs) != wrongsKept || c.wrongAt(t, 0) != wrongsKept+20 || c.wrongAt(t, 2*second) != 0 {
			t.Errorf("%d wrong, %d told", c.Wrong, len(c.Wrongs))
		}
	})
}
