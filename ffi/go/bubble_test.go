package hostwheel_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// In a bubble of testing/synctest a wheel with its own clock is as exact as one on the manual clock. Only the pure backend
// can live in one: no bubble holds a clock and threads outside Go.

// inBubble runs a wheel in a bubble, and insists that its end ends everything in it.
func inBubble(t *testing.T, c config, test func(t *testing.T, w *wheel, start time.Time)) {
	synctest.Test(t, func(t *testing.T) {
		c.Backend = hostwheel.Pure
		w, err := hostwheel.New(c)
		must(t, err)
		ended := run(context.Background(), w)
		defer w.Close()
		synctest.Wait()
		test(t, w, time.Now())
		must(t, w.Close())
		must(t, <-ended)
	})
}

// told is what a callback was told, and when.
type told struct {
	what string
	at   time.Duration
}

// recorder makes callbacks that write down what they are told. Read it after synctest.Wait.
func recorder(c *config, log chan told) {
	start := time.Now()
	note := func(e *event) { log <- told{said(e), time.Since(start)} }
	c.Suspect, c.Recovered = note, note
	c.Leave = func(e *event) hostwheel.Verdict { note(e); return hostwheel.Done }
}

// next waits for the next that is told: a day of the bubble, which is no time.
func next(t *testing.T, log chan told) told {
	t.Helper()
	select {
	case found := <-log:
		return found
	case <-time.After(24 * time.Hour):
		t.Fatal("nothing is told any more")
		return told{}
	}
}

func TestInABubbleHostsExpireExactlyAtTTLAndGrace(t *testing.T) {
	for _, watchdog := range []time.Duration{0, hostwheel.Off, 100 * ms, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			log := make(chan told, 100)
			c := config{Backend: hostwheel.Pure, Watchdog: watchdog}
			recorder(&c, log)
			w, err := hostwheel.New(c)
			must(t, err)
			ended := run(context.Background(), w)
			defer w.Close() // a bubble does not end before its goroutines do, also if the test fails
			_, _, err = w.Announce("a", 10*sec, "")
			must(t, err)
			time.Sleep(5 * sec)
			b, _, err := w.Announce("b", 1234*ms, "")
			must(t, err)
			_, _, err = w.Announce("c", 0, "")
			must(t, err)
			time.Sleep(1 * sec)
			must(t, b.Renew())
			for _, want := range []told{
				{"suspect b", 6*sec + 2468*ms}, {"leave b", 6*sec + 3702*ms}, {"suspect a", 20 * sec}, {"leave a", 30 * sec},
				{"suspect c", 5*sec + time.Hour}, {"leave c", 20*sec + time.Hour},
			} {
				equal(t, "told", next(t, log), want)
			}
			stats := w.Stats()
			if stats.LatenessMax != 0 || stats.Away != 0 || stats.Live != 0 {
				t.Errorf("watchdog %v: %+v", watchdog, stats)
			}
			must(t, w.Close())
			must(t, <-ended)
			equal(t, "told after that", len(log), 0)
		})
	}
}

func TestInABubbleNothingIsToldBeforeItsMoment(t *testing.T) {
	c := config{Workers: 1, SilenceExpected: -1} // fifty hosts that fall silent at once look like a cut
	var leaves atomic.Int64
	c.Leave = func(*event) hostwheel.Verdict { leaves.Add(1); return hostwheel.Done }
	inBubble(t, c, func(t *testing.T, w *wheel, _ time.Time) {
		for i := range 50 {
			_, _, err := w.Announce(fmt.Sprint(i), 10*sec, "")
			must(t, err)
		}
		time.Sleep(30*sec - 1)
		synctest.Wait()
		equal(t, "a nanosecond before", leaves.Load(), 0)
		time.Sleep(1)
		synctest.Wait()
		equal(t, "then", leaves.Load(), 50)
	})
}

func TestInABubbleAHostThatGoesOnAnnouncingStaysForADay(t *testing.T) {
	inBubble(t, config{}, func(t *testing.T, w *wheel, start time.Time) {
		m, _, err := w.Announce("a", 10*time.Minute, "")
		must(t, err)
		for time.Since(start) < 24*time.Hour {
			// Every second announce is lost, and the other one a little late: the grace covers that.
			time.Sleep(20*time.Minute + 100*ms)
			must(t, m.Renew())
		}
		synctest.Wait()
		stats := w.Stats()
		if stats.Suspects == 0 || stats.Suspects != stats.Recoveries || stats.LeavesTTL != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestInABubbleAnIdleWheelSleeps(t *testing.T) {
	inBubble(t, config{}, func(t *testing.T, w *wheel, _ time.Time) {
		before := w.Stats().WakeUps
		time.Sleep(1000 * time.Hour)
		synctest.Wait()
		equal(t, "wake-ups in 1,000 hours without hosts", w.Stats().WakeUps, before)
		equal(t, "wheel time stands still", w.Stats().Now < time.Minute, true)
	})
}

func TestInABubbleRetriesComeAtTheirMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		log := make(chan told, 100)
		c := config{Backend: hostwheel.Pure, Workers: 1}
		c.Leave = func(e *event) hostwheel.Verdict {
			log <- told{fmt.Sprint(said(e), " ", e.Attempt), time.Since(start)}
			switch e.Attempt {
			case 1:
				return hostwheel.Retry(0)
			case 2:
				return hostwheel.Retry(90 * time.Minute)
			}
			return hostwheel.Done
		}
		w, err := hostwheel.New(c)
		must(t, err)
		ended := run(context.Background(), w)
		defer w.Close()
		_, _, err = w.Announce("a", sec, "")
		must(t, err)
		for i, at := range []time.Duration{3 * sec, 4 * sec, 4*sec + 90*time.Minute} {
			equal(t, "told", next(t, log), told{fmt.Sprint("leave a ", i+1), at})
		}
		synctest.Wait()
		must(t, w.Close())
		must(t, <-ended)
	})
}

func TestInABubbleTheTimeBetweenTwoRunsCountsAgainstNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := make(chan told, 100)
		c := config{Backend: hostwheel.Pure}
		recorder(&c, log)
		w, err := hostwheel.New(c)
		must(t, err)
		defer w.Close()
		ctx, cancel := context.WithCancel(context.Background())
		ended := run(ctx, w)
		_, _, err = w.Announce("a", 10*sec, "")
		must(t, err)
		time.Sleep(5 * sec)
		cancel()
		wants(t, "Run", <-ended, context.Canceled)
		time.Sleep(24 * time.Hour)
		ended = run(context.Background(), w)
		first := next(t, log)
		// Between them less than one look counts: half of MinInterval, and a quarter of slack.
		if over := first.at - 24*time.Hour; first.what != "suspect a" || over < 19*sec || over > 20*sec {
			t.Errorf("%+v", first)
		}
		must(t, w.Close())
		must(t, <-ended)
	})
}

func TestInABubbleNobodyLeavesWhileItsSuspectEventIsBeingAnswered(t *testing.T) {
	var answers, leaves atomic.Int64
	c := config{
		Suspect: func(e *event) {
			// A probe that takes much longer than the grace, and finds the host alive at last.
			if answers.Add(1) == 1 {
				time.Sleep(time.Hour)
				noted(t, e.Member.RenewAt(time.Now()))
			}
		},
		Leave: func(*event) hostwheel.Verdict { leaves.Add(1); return hostwheel.Done },
	}
	inBubble(t, c, func(t *testing.T, w *wheel, _ time.Time) {
		m, _, err := w.Announce("a", 10*sec, "")
		must(t, err)
		time.Sleep(30 * time.Minute)
		equal(t, "suspect", m.Suspect(), true)
		time.Sleep(30*time.Minute + 20*sec)
		synctest.Wait()
		equal(t, "left while it was probed", leaves.Load(), 0)
		time.Sleep(30 * sec)
		synctest.Wait()
		equal(t, "left in the end", leaves.Load(), 1)
		equal(t, "suspect events", answers.Load(), 2)
	})
}

func TestInABubbleAFloodOfRecoveriesIsToldAtOnceWithNoWatchdogToHelp(t *testing.T) {
	const hosts = 3000 // more than any queue holds
	var suspects, recovered atomic.Int64
	c := config{
		Watchdog:  hostwheel.Off,
		Suspect:   func(*event) { suspects.Add(1) },
		Recovered: func(*event) { recovered.Add(1) },
	}
	inBubble(t, c, func(t *testing.T, w *wheel, _ time.Time) {
		for i := range hosts {
			_, _, err := w.Announce(fmt.Sprint(i), time.Hour, "")
			must(t, err)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		equal(t, "suspects", suspects.Load(), hosts)
		time.Sleep(sec)
		for m := range w.All() {
			must(t, m.Renew())
		}
		synctest.Wait()
		equal(t, "recovered", recovered.Load(), hosts)
	})
}
