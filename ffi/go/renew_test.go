package hostwheel

import (
	"testing"
	"time"
)

// An instant as it comes from a file or by wire, with the wall clock set back by an hour since the wheel was opened.
func TestAnInstantByTheWallClockIsTakenByTheWallClockOfToday(t *testing.T) {
	for _, manual := range []bool{false, true} {
		a := announcing{manual: manual}
		var c clock
		a.raised, a.raisedBy = &c.raised, &c.raisedBy
		a.watch.base = time.Now().Round(0).Add(time.Hour)
		age := a.ageOf(time.Now().Round(0).Add(-10*time.Second), 5*time.Second)
		if old := age >= 10*time.Second && age < time.Minute; old == manual {
			t.Errorf("manual clock: %v; heard 10 s ago, counts as %v", manual, age)
		}
	}
}

func TestAnInstantLongBeforeTheWheelHasAnAgeAndNoOverflow(t *testing.T) {
	for _, manual := range []bool{false, true} {
		var c clock
		c.init(&settings{manual: manual})
		for _, at := range []time.Time{{}, time.Unix(-1<<40, 0), time.UnixMilli(-1 << 50)} {
			if age := c.announcing.ageOf(at, time.Hour); age < 100*365*24*time.Hour {
				t.Errorf("%v is %v old", at, age)
			}
			if age := c.announcing.ageOf(time.Now().Add(1<<62), time.Hour); age != 0 {
				t.Errorf("the future is %v old", age)
			}
		}
	}
}

// In wheel time: at 8 s of the clock the wheel stood still since 3 s, for 5 s.
func TestAnInstantBeforeALateLookIsNearerThanItLooks(t *testing.T) {
	var c clock
	c.init(&settings{manual: true})
	c.raised.Store(uint64(8 * time.Second))
	c.raisedBy.Store(uint64(5 * time.Second))
	for _, at := range []struct{ instant, age time.Duration }{
		{10 * time.Second, 0}, {9 * time.Second, time.Second}, {8 * time.Second, 2 * time.Second},
		{5 * time.Second, 2 * time.Second}, {3 * time.Second, 2 * time.Second}, {time.Second, 4 * time.Second},
	} {
		if age := c.announcing.ageOf(time.Unix(0, int64(at.instant)), 10*time.Second); age != at.age {
			t.Errorf("at %v: %v, not %v", at.instant, age, at.age)
		}
	}
}
