package dragonfly

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	schedulerv1 "d7y.io/api/v2/pkg/apis/scheduler/v1"
	"d7y.io/dragonfly/v2/scheduler/resource/standard"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// crossing announces a host that is unknown when the interceptor looks, and which another announce has stored by the time
// the handler looks.
func (r *rig) crossing(id string, interval time.Duration, other func()) {
	r.t.Helper()
	request := announcement(id, durationpb.New(interval))
	must(r.t, r.call(request, func(ctx context.Context) error {
		other()
		return r.v2.AnnounceHost(ctx, request)
	}))
}

func TestTwoFirstAnnouncesAtOnceTheLaterIntervalCounts(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.crossing("a", 60*second, func() { r.announce("a", 2*second) })
		if host := r.host("a"); host.AnnounceInterval != 60*second {
			t.Fatal(host.AnnounceInterval)
		}
		time.Sleep(100 * second)
		synctest.Wait()
		r.wantThere("a")
	})
}

func TestAFirstAnnounceThatCrossesOneWithoutAnIntervalExpires(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.crossing("a", 10*second, func() { r.announceV1("a") })
		if host := r.host("a"); host.AnnounceInterval != 10*second {
			t.Fatal(host.AnnounceInterval)
		}
		time.Sleep(24 * time.Hour)
		must(t, r.HostManager().RunGC(t.Context()))
		synctest.Wait()
		r.wantGone("a")
	})
}

// The same with a known host that is replaced meanwhile: said is the new host's, the request's interval is lost.
func TestAnAnnounceThatCrossesAStoreKeepsItsInterval(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 60*second)
		r.crossing("a", 60*second, func() {
			r.HostManager().Store(standard.NewHost("a", "127.0.0.1", "a", "a", 1, 2, 3, 0, standard.WithAnnounceInterval(2*second)))
		})
		if host := r.host("a"); host.AnnounceInterval != 60*second {
			t.Fatal(host.AnnounceInterval)
		}
		time.Sleep(100 * second)
		synctest.Wait()
		r.wantThere("a")
	})
}

func TestADownloadReportOfAHostThatTheWheelHasNoRoomForIsASignOfLife(t *testing.T) {
	bubble(t, Options{MaxHosts: 1}, func(t *testing.T, r *rig) {
		r.announce("a", time.Hour)
		r.announce("b", 10*second)
		again, end, _ := r.reports("b")
		time.Sleep(100 * second)
		again()
		end()
		time.Sleep(second)
		r.scan()
		r.wantThere("a", "b")
	})
}

// A host that loses its power never closes its stream; gRPC's server notices after two hours.
func TestAStreamThatIsSilentForLongDoesNotKeepADeadHost(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("dead", 10*second)
		_, end, _ := r.reports("dead")
		defer end()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		r.wantGone("dead")
	})
}

func braked(t *testing.T, o Options, brake hostwheel.Brake, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := quiet(o)
		o.Mode, o.Backend, o.Brake = Enforce, hostwheel.Pure, brake
		r := newRig(t, o)
		must(t, r.Serve())
		defer r.Stop()
		synctest.Wait()
		test(t, r)
	})
}

func (r *rig) left() int { return len(r.inner.manager.LoadAll()) }

func TestWithoutAGraceAHostCostsTheBrakeOneLeave(t *testing.T) {
	braked(t, Options{Grace: hostwheel.Off}, hostwheel.Brake{BurstMin: 10, RefillMin: 1}, func(t *testing.T, r *rig) {
		for _, id := range ids("host", 10) {
			r.announce(id, 10*second)
		}
		time.Sleep(20*second + tick)
		synctest.Wait()
		if n := r.left(); n != 0 {
			t.Errorf("%d are left of 10, as many as the brake lets go at once; %d leaves", n, r.Stats().LeavesTTL)
		}
	})
}

func TestWithoutAGraceHostsOfAFullWheelLeaveInTime(t *testing.T) {
	bubble(t, Options{Grace: hostwheel.Off, MaxHosts: 2}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		r.announce("b", 10*second)
		time.Sleep(20*second + tick)
		synctest.Wait()
		if report := r.Report(); r.left() != 0 || report.Untracked != 0 {
			t.Errorf("%d left; %+v", r.left(), report)
		}
	})
}

// Leaves take long, so the queue is full, and hosts wait for room in it whom the brake will not let go. In real time, as
// locks are held meanwhile.
func TestTheBackstopDoesNotTakeWhatWaitsForTheWorkers(t *testing.T) {
	o := quiet(Options{Mode: Enforce, Backend: hostwheel.Pure, Workers: 1, MinInterval: time.Millisecond})
	o.Brake = hostwheel.Brake{BurstMin: 2500, RefillMin: 1}
	r := newRig(t, o)
	must(t, r.Serve())
	defer r.Stop()
	for _, id := range ids("host", 6000) {
		r.announced(id, second)
	}
	slowUntil := time.Now().Add(6 * second)
	r.inner.manager.atDelete(func(string) {
		if time.Now().Before(slowUntil) {
			time.Sleep(10 * time.Millisecond)
		}
	})
	time.Sleep(time.Until(slowUntil))
	must(t, r.HostManager().RunGC(t.Context()))
	time.Sleep(second)
	if n := r.left(); n < 3500 || r.Report().Rescues != 0 {
		t.Errorf("%d are left of 6000, and the brake lets 2500 go; %d rescues", n, r.Report().Rescues)
	}
}

// The scheduler was cut off, and somebody is heard again. The wheel gives the others one more interval and their grace; the
// back-stop must do the same with those that the wheel has no room for.
func TestTheBackstopSparesHostsAfterASilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := quiet(Options{Mode: Enforce, Backend: hostwheel.Pure, MaxHosts: 40})
		o.SilenceExpected = 0
		r := newRig(t, o)
		must(t, r.Serve())
		defer r.Stop()
		all := ids("host", 60)
		for range 3 {
			for _, id := range all {
				r.announce(id, 10*second)
			}
			time.Sleep(10 * second)
		}
		time.Sleep(40 * second)
		r.scan()
		if n := r.left(); n != 60 || r.Stats().Silence == 0 {
			t.Fatalf("%d are left; silence %v", n, r.Stats().Silence)
		}
		r.announce(all[0], 10*second)
		time.Sleep(3 * second)
		r.scan()
		if n := r.left(); n != 60 {
			t.Errorf("%d of 60 are left 3 s after a silence; the wheel's own are %d", n, r.Stats().Live)
		}
	})
}

func TestBeforeServeTheBackstopRemovesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, quiet(Options{Mode: Enforce, MaxHosts: 1}))
		defer r.Stop()
		r.announce("a", 10*second)
		r.announce("b", 10*second)
		time.Sleep(time.Minute)
		r.scan()
		r.wantThere("a", "b")
	})
}

func TestDownloadsArePartOfHeardElsewhere(t *testing.T) {
	bubble(t, Options{Grace: hostwheel.Off}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		_, end, _ := r.reports("a")
		time.Sleep(50 * second)
		synctest.Wait()
		end()
		if report := r.Report(); report.Downloads == 0 || report.HeardElsewhere < report.Downloads {
			t.Errorf("%+v", report)
		}
	})
}

// An upload in the grace is an upload after the TTL; what was noted of that must not be counted at another time.
func TestShadowCountsAnUploadInTheGraceAsLate(t *testing.T) {
	bubble(t, Options{Mode: Shadow}, func(t *testing.T, r *rig) {
		r.announce("a", 20*second)
		time.Sleep(45 * second)
		r.host("a").UpdatedAt.Store(time.Now()) // 5 s after its TTL
		time.Sleep(15 * second)
		synctest.Wait()
		c := r.Report().Comparison
		if c.Late != 1 || (c.LateMax-5*second).Abs() > tick {
			t.Errorf("late %d times, by %v at most, want once by 5s", c.Late, c.LateMax)
		}
		time.Sleep(20 * second)
		r.host("a").UpdatedAt.Store(time.Now()) // in time: its TTL ends at 85 s
		time.Sleep(10 * second)
		synctest.Wait()
		if c = r.Report().Comparison; c.Late > 1 || c.LateMax > 6*second {
			t.Errorf("late %d times, by %v at most, after an upload in time", c.Late, c.LateMax)
		}
	})
}

func TestShadowForgetsADoubtWhenTheHostNeverExpires(t *testing.T) {
	bubble(t, Options{Mode: Shadow}, func(t *testing.T, r *rig) {
		r.announce("a", 20*second)
		time.Sleep(45 * second)
		r.announce("a", 0)
		r.announce("a", 20*second)
		time.Sleep(30 * second)
		r.host("a").UpdatedAt.Store(time.Now())
		time.Sleep(15 * second)
		synctest.Wait()
		if c := r.Report().Comparison; c.Late != 1 || c.LateMax > 6*second {
			t.Errorf("late %d times, by %v at most, want once by 5s", c.Late, c.LateMax)
		}
	})
}

func TestShadowCountsAHostThatReturnsWithoutAnIntervalAsWrong(t *testing.T) {
	bubble(t, Options{Mode: Shadow}, func(t *testing.T, r *rig) {
		r.announce("a", 20*second)
		time.Sleep(56 * second)
		r.announce("a", 0) // never expires from now on
		c := r.Report().Comparison
		if c.Found != 1 || c.Wrong != 1 || c.Pending != 0 {
			t.Errorf("%+v", c)
		}
		r.announce("a", 20*second)
		time.Sleep(56 * second)
		r.scan()
		c = r.Report().Comparison
		if c.Found != 2 || c.Wrong != 1 || c.Agreed != 1 || c.Pending != 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestShadowTellsTheGraceByTheUploadNotByTheScan(t *testing.T) {
	bubble(t, Options{Mode: Shadow}, func(t *testing.T, r *rig) {
		r.announce("a", 20*second)
		time.Sleep(57 * second)
		r.host("a").UpdatedAt.Store(time.Now()) // 17 s after its TTL
		time.Sleep(30 * second)
		r.scan()
		r.wantThere("a")
		c := r.Report().Comparison
		if len(c.Wrongs) != 1 || (c.Wrongs[0].Grace-17*second).Abs() > tick || !c.Wrongs[0].Saveable {
			t.Errorf("%+v, want a grace of 17s", c.Wrongs)
		}
	})
}

// The scan has removed a host, and it is back before the scan has ended.
func TestShadowCountsWhatTheScanRemovedAndCameBackAtOnce(t *testing.T) {
	bubble(t, Options{Mode: Shadow}, func(t *testing.T, r *rig) {
		r.announce("found", 20*second)
		time.Sleep(10 * second)
		r.announce("in grace", 20*second)
		time.Sleep(46 * second)
		must(t, (*r.gc.scan.Load()).RunGC(t.Context()))
		r.wantGone("found", "in grace")
		r.announce("found", 20*second)
		r.announce("in grace", 20*second)
		r.scan()
		c := r.Report().Comparison
		if c.Found != 1 || c.Agreed != 1 || c.Wrong != 0 || c.ScanFirst != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// The back-stop is at work when the resource is stopped.
func TestStopWaitsForTheBackstop(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("lost", 10*second)
		r.lose("lost")
		time.Sleep(40 * second)
		r.inner.manager.atDelete(func(string) { time.Sleep(second) })
		go func() { _ = r.HostManager().RunGC(context.Background()) }()
		synctest.Wait()
		r.Stop()
		before := r.left()
		time.Sleep(2 * second)
		synctest.Wait()
		if n := r.left(); n != before {
			t.Errorf("%d hosts when it had stopped, %d later", before, n)
		}
	})
}

func TestStopTwiceOverDragonflysOwnResource(t *testing.T) {
	inner, gc := newInner(t)
	resource, err := Wrap(inner.Resource, quiet(Options{Mode: Enforce, GC: gc}))
	must(t, err)
	resource.Stop()
	defer func() {
		if reason := recover(); reason != nil {
			t.Error(reason)
		}
	}()
	resource.Stop()
}

func TestServeTwiceIsOnce(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		must(t, r.Serve())
		synctest.Wait()
		if r.watch.failed.Load() {
			t.Error("the wheel counts as failed")
		}
	})
}

func TestAHostThatWasStoredPastTheManagerIsNotRemovedForItsPredecessor(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		time.Sleep(25 * second)
		r.inner.manager.Store(standard.NewHost("a", "127.0.0.1", "a", "a", 1, 2, 3, 0, standard.WithAnnounceInterval(10*second)))
		time.Sleep(10 * second)
		synctest.Wait()
		r.wantThere("a")
	})
}

func TestAHostThatWasStoredPastTheManagerIsWatchedFromItsNextAnnounceOn(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		time.Sleep(time.Minute)
		r.wantGone("a")
		r.announce("a", 10*second)
		r.inner.manager.Store(standard.NewHost("a", "127.0.0.1", "a", "a", 1, 2, 3, 0, standard.WithAnnounceInterval(10*second)))
		r.announce("a", 20*second)
		r.consistent()
		r.wantGoneAt("a", 55*second)
	})
}

func TestWhoDownloadsIsNotDeletedForAMomentWithoutAGraceEither(t *testing.T) {
	bubble(t, Options{Grace: hostwheel.Off}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		_, end, _ := r.reports("a")
		time.Sleep(50 * second)
		synctest.Wait()
		r.wantThere("a")
		if r.inner.manager.deleted["a"] != 0 {
			t.Error("it was deleted meanwhile")
		}
		end()
	})
}

// The stamp of an announce is not before its UpdatedAt, so there is nothing to ask when the host dies.
func TestAnAnnounceIsNoNewsFromElsewhereHoweverSlowItsHandlerIs(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		request := announcement("a", nil)
		must(t, r.call(request, func(ctx context.Context) error {
			time.Sleep(2 * second)
			return r.v2.AnnounceHost(ctx, request)
		}))
		time.Sleep(29 * second)
		synctest.Wait()
		if report := r.Report(); report.HeardElsewhere != 0 {
			t.Errorf("%+v", report)
		}
	})
}

func TestWhoNeverExpiresLeavesTheWheel(t *testing.T) {
	bubble(t, Options{MaxHosts: 1}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		r.announce("b", 10*second)
		r.announce("b", 0)
		if report := r.Report(); report.Untracked != 0 {
			t.Errorf("%+v", report)
		}
		r.announce("a", 0)
		if report := r.Report(); report.Hosts != 0 {
			t.Errorf("%+v", report)
		}
	})
}

// A wheel that knows a host and does not look at it: only a bug of its own could bring that about, so its clock is made up.
func TestTheBackstopTakesWhatTheWheelDoesNotLookAt(t *testing.T) {
	bubble(t, Options{Grace: 5 * second}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		r.announce("heard", 10*second)
		s := r.watch.table.stripe("a")
		s.mu.Lock()
		e := s.entries["a"]
		status, err := e.member.Inspect()
		must(t, err)
		for now, want := range map[time.Duration]bool{status.LeavesAt + slack: false, status.LeavesAt + slack + time.Millisecond: true} {
			if got := r.watch.isLost(e, hostwheel.Stats{Now: now}); got != want {
				t.Errorf("lost %v after its end: %v", now-status.LeavesAt, got)
			}
		}
		s.mu.Unlock()
		late := hostwheel.Stats{Now: time.Hour}
		if lost := r.watch.lostIn(s, late); len(lost) != 0 {
			t.Error("it was taken for the wheel's clock alone")
		}
		r.host("a").UpdatedAt.Store(time.Now().Add(-27 * second))
		if lost := r.watch.lostIn(s, late); len(lost) != 0 {
			t.Error("it was taken too early")
		}
		r.host("a").UpdatedAt.Store(time.Now().Add(-27*second - time.Millisecond))
		if lost := r.watch.lostIn(s, late); len(lost) != 1 || lost[0].ID != "a" {
			t.Errorf("%d were taken", len(lost))
		}
		r.wantGone("a")
		r.wantThere("heard")
		r.consistent()
	})
}

// Requests of the first version of the API that name a host, whatever comes of them.
func TestOtherRequestsOfAHostAreHeard(t *testing.T) {
	peer := &schedulerv1.PeerHost{Id: "a"}
	for _, request := range []any{
		&schedulerv1.PeerTaskRequest{PeerHost: peer},
		&schedulerv1.AnnounceTaskRequest{PeerHost: peer},
		&schedulerv1.AnnounceHostRequest{Id: "a"},
		announcement("a", nil),
	} {
		bubble(t, Options{}, func(t *testing.T, r *rig) {
			r.announce("a", 10*second)
			time.Sleep(15 * second)
			if err := r.call(request, func(context.Context) error { return errNone }); err != errNone {
				t.Fatal(err)
			}
			r.wantGoneAt("a", 30*second)
		})
	}
}

func TestANegativeIntervalIsNone(t *testing.T) {
	for ttl, want := range map[time.Duration]bool{0: true, time.Minute: false} {
		bubble(t, Options{HostTTL: ttl}, func(t *testing.T, r *rig) {
			request := announcement("a", durationpb.New(-second))
			must(t, r.call(request, func(ctx context.Context) error { return r.v2.AnnounceHost(ctx, request) }))
			time.Sleep(time.Hour)
			synctest.Wait()
			if _, there := r.HostManager().Load("a"); there != want {
				t.Errorf("with a host TTL of %v: there is %v", ttl, there)
			}
		})
	}
}

func TestAPassOfTheBackstopEndsWithItsContextAndIsOneAtATime(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("lost", 10*second)
		r.lose("lost")
		time.Sleep(40 * second)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		must(t, r.HostManager().RunGC(ended))
		r.wantThere("lost")
		deletions := 0
		r.inner.manager.atDelete(func(string) {
			deletions++
			time.Sleep(second)
		})
		first := make(chan error)
		go func() { first <- r.HostManager().RunGC(context.Background()) }()
		synctest.Wait()
		began := time.Now()
		must(t, r.HostManager().RunGC(t.Context()))
		if waited := time.Since(began); waited > 0 {
			t.Errorf("it waited %v for the other", waited)
		}
		must(t, <-first)
		r.wantGone("lost")
		if deletions != 1 {
			t.Errorf("deleted %d times", deletions)
		}
	})
}

// With the guards as they come by default, a scheduler that is cut off from all its hosts loses none of them.
func TestACutOfAllHostsCostsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Mode: Enforce, Backend: hostwheel.Pure})
		must(t, r.Serve())
		defer r.Stop()
		const interval = 300 * second
		all := ids("host", 200)
		announceAll := func() {
			for _, id := range all {
				r.announce(id, interval)
				time.Sleep(interval / time.Duration(len(all)))
			}
		}
		for range 4 {
			announceAll()
		}
		time.Sleep(25 * time.Minute)
		if n := r.left(); n != 200 || r.Stats().Silence == 0 {
			t.Fatalf("%d of 200 are left after a cut of 25 minutes; silence %v", n, r.Stats().Silence)
		}
		announceAll()
		if s := r.Stats(); s.Live != 200 || s.Silences != 1 || s.Left != 0 {
			t.Errorf("back again: %+v", s)
		}
	})
}
