package dragonfly

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	pkggc "d7y.io/dragonfly/v2/pkg/gc"
	"d7y.io/dragonfly/v2/scheduler/resource/standard"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// lose has the wheel forget a host, as only a bug could.
func (r *rig) lose(id string) {
	r.t.Helper()
	_, m := r.known(id)
	must(r.t, m.Leave())
}

// scan is Dragonfly's scan as its timer calls it.
func (r *rig) scan() {
	r.t.Helper()
	must(r.t, r.gc.Run(r.t.Context(), standard.GCHostID))
	synctest.Wait()
}

func TestTheBackstopFindsWhatTheWheelLost(t *testing.T) {
	bubble(t, Options{Backstop: time.Minute}, func(t *testing.T, r *rig) {
		for _, id := range []string{"lost", "uploads", "downloads", "returns", "healthy"} {
			r.announce(id, 50*second)
		}
		peer := r.addPeer("lost")
		for _, id := range []string{"lost", "uploads", "downloads"} {
			r.lose(id)
		}
		time.Sleep(114 * second) // TTL and grace are 115 s
		r.host("uploads").UpdatedAt.Store(time.Now())
		r.announce("healthy", 50*second)
		r.announce("returns", 50*second)
		time.Sleep(2900 * time.Millisecond)
		r.scan()
		r.wantThere("lost", "uploads", "downloads")
		time.Sleep(200 * time.Millisecond)
		r.scan() // it has only just looked
		r.wantThere("lost")
		time.Sleep(time.Minute)
		r.announce("healthy", 50*second)
		_, end, _ := r.reports("downloads")
		defer end()
		r.scan()
		r.wantGone("lost")
		r.wantThere("uploads", "downloads", "returns", "healthy")
		if report := r.Report(); report.Rescues != 1 || report.Removed != 1 || !peer.FSM.Is(standard.PeerStateLeave) {
			t.Errorf("%+v", report)
		}
		r.announce("uploads", 50*second) // the wheel has it again
		r.wantGoneAt("uploads", 115*second)
		if report := r.Report(); report.Rescues != 1 {
			t.Errorf("%+v", report)
		}
	})
}

func TestByHandTheBackstopLooksAtOnce(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("lost", 10*second)
		r.lose("lost")
		time.Sleep(33 * second)
		must(t, r.HostManager().RunGC(t.Context()))
		r.wantGone("lost")
		r.consistent()
	})
}

func TestTheBackstopWatchesHostsThatWereStoredPastTheManager(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		newHost := func(id string) *standard.Host {
			return standard.NewHost(id, "127.0.0.1", id, id, 1, 2, 3, 0, standard.WithAnnounceInterval(10*second))
		}
		r.announce("replaced", 10*second)
		r.inner.manager.Store(newHost("new"))
		time.Sleep(5 * second)
		replaced := newHost("replaced")
		r.inner.manager.Store(replaced)
		must(t, r.HostManager().RunGC(t.Context()))
		r.consistent()
		r.wantGoneAt("new", 25*second)
		r.wantGoneAt("replaced", 5*second-tick+time.Millisecond)
	})
}

// What the wheel holds back the back-stop does not take.
func TestTheBackstopIsHeldWhileTheBrakeHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := quiet(Options{Mode: Enforce, Backend: hostwheel.Pure})
		o.Brake = hostwheel.Brake{BurstMin: 10, RefillMin: 10}
		r := newRig(t, o)
		must(t, r.Serve())
		defer r.Stop()
		all := ids("host", 25)
		for _, id := range all {
			r.announce(id, 10*second)
		}
		left := func() (n int) {
			r.HostManager().Range(func(any, any) bool { n++; return true })
			return n
		}
		time.Sleep(50 * second)
		must(t, r.HostManager().RunGC(t.Context()))
		if n := left(); n < 10 || n > 15 {
			t.Fatalf("%d are left, want 15 or a little fewer, as the brake lets 10 go at once and 10 a minute", n)
		}
		if r.Report().Rescues != 0 || r.Stats().Waiting == 0 {
			t.Errorf("%+v", r.Report())
		}
		must(t, r.Release())
		time.Sleep(2 * second)
		synctest.Wait()
		r.wantGone(all...)
	})
}

func TestHostsThatTheWheelHasNoRoomForAreLeftToTheScan(t *testing.T) {
	bubble(t, Options{MaxHosts: 2}, func(t *testing.T, r *rig) {
		for _, id := range []string{"a", "b", "c", "d"} {
			r.announce(id, 10*second)
		}
		if report := r.Report(); report.Untracked != 2 || report.Hosts != 2 {
			t.Fatalf("%+v", report)
		}
		time.Sleep(15 * second)
		r.HostManager().Delete("a")
		r.announce("d", 10*second) // there is room now
		time.Sleep(16*second + tick)
		r.wantGone("a", "b")
		r.wantThere("c", "d")
		if report := r.Report(); report.Untracked != 1 {
			t.Fatalf("%+v", report)
		}
		// Its TTL and grace are over, but now the wheel has it, and takes its time to ask.
		r.scan()
		time.Sleep(tick)
		synctest.Wait()
		r.wantThere("d")
		time.Sleep(10 * second)
		synctest.Wait()
		r.wantGone("c")
		r.wantThere("d")
		r.consistent()
	})
	bubble(t, Options{MaxHosts: 1}, func(t *testing.T, r *rig) {
		r.announce("a", 20*second)
		r.announce("b", 10*second)
		time.Sleep(31 * second)
		r.announce("a", 20*second)
		r.scan()
		r.wantThere("b")
		time.Sleep(2 * second)
		r.scan() // notes it
		time.Sleep(19 * second)
		r.announce("a", 20*second)
		r.scan()
		r.wantThere("b")
		time.Sleep(2 * second)
		r.scan()
		r.wantGone("b")
		r.wantThere("a")
		if report := r.Report(); report.Rescues != 1 || report.Untracked != 0 {
			t.Errorf("%+v", report)
		}
	})
}

func TestIdsThatTheWheelDoesNotTakeAreLeftToTheScan(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		long := string(make([]byte, hostwheel.LongestID+1))
		r.announce(long, 10*second)
		time.Sleep(33 * second)
		r.scan()
		r.wantThere(long)
		time.Sleep(21 * second)
		r.scan()
		r.wantGone(long)
		r.consistent()
	})
}

// If the wheel fails by a bug of its own, Dragonfly's scan does what it did before.
func TestAFailedWheelLeavesAllToTheScan(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("dead", 10*second)
		r.announce("living", 10*second)
		must(t, r.watch.wheel.Close())
		r.watch.fail()
		time.Sleep(21 * second)
		r.announce("living", 10*second)
		r.scan()
		r.wantGone("dead")
		r.wantThere("living")
	})
}

func TestInTheModeOffAllIsDragonflys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, gc := newInner(t)
		r := wrapRig(t, inner, gc, Options{Mode: Off})
		must(t, r.Serve())
		if r.HostManager() != inner.HostManager() || r.ServerOptions() != nil || r.Stats().Now != 0 {
			t.Error("it is not off")
		}
		r.announce("dead", 10*second)
		_, end, _ := r.reports("dead")
		end()
		time.Sleep(21 * second)
		r.wantThere("dead")
		r.scan()
		r.wantGone("dead")
		must(t, r.Release())
		if report := r.Report(); report.Mode != "off" || report.Comparison != nil || r.Backend() != hostwheel.DefaultBackend {
			t.Errorf("%+v", report)
		}
		r.Stop()
	})
}

func TestWhatWrapRefuses(t *testing.T) {
	inner, gc := newInner(t)
	for _, o := range []Options{
		{Mode: Enforce},
		{Mode: -1, GC: gc},
		{Mode: Enforce + 1, GC: gc},
		{Mode: Shadow, GC: gc, HostTTL: -1},
		{Mode: Shadow, GC: gc, Backstop: -1},
		{Mode: Enforce, GC: WrapGC(pkggc.New())}, // made with no resource
	} {
		if _, err := Wrap(inner, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []Options{{Mode: Enforce, GC: gc, Grace: -5}, {Mode: Enforce, GC: gc, Backend: 99}} {
		if _, err := Wrap(inner, o); !errors.Is(err, hostwheel.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	r, err := Wrap(inner, Options{Mode: Enforce, GC: gc})
	must(t, err)
	defer r.Stop()
	if _, err := Wrap(inner, Options{Mode: Enforce, GC: gc}); !errors.Is(err, ErrOptions) {
		t.Errorf("a second time: %v", err)
	}
}

func TestModesHaveNames(t *testing.T) {
	for _, m := range []Mode{Off, Shadow, Enforce} {
		if again, err := ParseMode(m.String()); again != m || err != nil {
			t.Error(m, err)
		}
	}
	if _, err := ParseMode("unknown"); !errors.Is(err, ErrOptions) {
		t.Error(err)
	}
}

type runner func()

func (r runner) RunGC(context.Context) error {
	r()
	return nil
}

// Other tasks are Dragonfly's alone, and an invalid one is refused as before.
func TestOtherTasksPassThroughTheGC(t *testing.T) {
	gc := WrapGC(pkggc.New())
	ran := make(chan string, 1)
	must(t, gc.Add(pkggc.Task{ID: "other", Interval: time.Hour, Timeout: time.Hour, Runner: runner(func() { ran <- "other" })}))
	must(t, gc.Add(pkggc.Task{ID: standard.GCHostID, Interval: time.Hour, Timeout: time.Hour, Runner: runner(func() { ran <- "host" })}))
	for _, id := range []string{"other", standard.GCHostID} {
		must(t, gc.Run(t.Context(), id))
		if got := <-ran; got != id {
			t.Errorf("%s ran, want %s", got, id)
		}
	}
	if err := gc.Add(pkggc.Task{ID: standard.GCHostID, Runner: runner(func() {})}); err == nil {
		t.Error("a task without an interval was taken")
	}
	if err := gc.Add(pkggc.Task{ID: standard.GCHostID}); err == nil {
		t.Error("a task without a runner was taken")
	}
}

func TestTheReportIsForPeople(t *testing.T) {
	bubble(t, Options{Mode: Shadow}, func(t *testing.T, r *rig) {
		if text := fmt.Sprint(r.Report()); len(text) < 300 {
			t.Error(text)
		}
	})
}
