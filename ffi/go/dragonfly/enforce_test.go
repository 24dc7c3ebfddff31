package dragonfly

import (
	"testing"
	"testing/synctest"
	"time"

	schedulerv1 "d7y.io/api/v2/pkg/apis/scheduler/v1"
	"d7y.io/dragonfly/v2/scheduler/resource/standard"
)

func TestADeadHostIsRemovedAtItsTTLAndGrace(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("dead", 10*second)
		r.announceSeed("seed", 10*second)
		r.announce("living", 10*second)
		peer := r.addPeer("dead")
		dead := r.host("dead")
		for range 7 {
			time.Sleep(4 * second)
			r.announce("living", 10*second)
		}
		// The grace is 15 s, at most the interval.
		r.wantThere("dead", "seed", "living")
		r.wantGoneAt("dead", 2*second)
		r.wantGone("seed")
		r.wantThere("living")
		if !peer.FSM.Is(standard.PeerStateLeave) {
			t.Errorf("its peer is %s", peer.FSM.Current())
		}
		if n := r.inner.manager.deleted["dead"]; n != 1 || r.Report().Removed != 2 {
			t.Errorf("deleted %d times; %+v", n, r.Report())
		}
		r.announce("dead", 10*second)
		if r.host("dead") == dead {
			t.Error("it came back as the host that left")
		}
		r.wantGoneAt("dead", 30*second)
		r.wantGone("living")
		r.consistent()
	})
}

func TestTheOptionsGraceIsTheWheels(t *testing.T) {
	for grace, want := range map[time.Duration]time.Duration{-1: 20 * second, 3 * second: 23 * second, time.Hour: 30 * second} {
		bubble(t, Options{Grace: grace}, func(t *testing.T, r *rig) {
			r.announce("dead", 10*second)
			r.wantGoneAt("dead", want)
		})
	}
}

func TestWhatDragonflyHearsElsewhereCounts(t *testing.T) {
	for _, grace := range []time.Duration{-1, 5 * second} {
		for _, after := range []time.Duration{second, 19 * second, 21 * second} {
			if after > 20*second+max(grace, 0) {
				continue
			}
			bubble(t, Options{Grace: grace}, func(t *testing.T, r *rig) {
				r.announce("uploads", 10*second)
				time.Sleep(after)
				r.host("uploads").UpdatedAt.Store(time.Now())
				r.wantGoneAt("uploads", 20*second+max(grace, 0))
				if r.Report().Removed != 1 {
					t.Errorf("%+v", r.Report())
				}
			})
		}
	}
}

func TestNewsDuringTheDeletionPutsTheHostBack(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		host, peer := r.host("a"), r.addPeer("a")
		uploads := 0
		r.inner.manager.atDelete(func(string) {
			if uploads++; uploads == 1 {
				host.UpdatedAt.Store(time.Now())
			}
		})
		time.Sleep(30*second + tick)
		synctest.Wait()
		r.wantThere("a")
		if r.host("a") != host || peer.FSM.Is(standard.PeerStateLeave) || r.Report().PutBack != 1 {
			t.Errorf("%+v", r.Report())
		}
		r.consistent()
		r.wantGoneAt("a", 30*second-tick)
		if !peer.FSM.Is(standard.PeerStateLeave) || r.Report().Removed != 1 {
			t.Errorf("%+v", r.Report())
		}
	})
}

// The worker is busy with one host when another, found gone as well, comes back.
func TestAHostThatReturnsBeforeItsTurnStays(t *testing.T) {
	bubble(t, Options{Workers: 1}, func(t *testing.T, r *rig) {
		entered, leave := make(chan string), make(chan bool)
		r.inner.manager.atDelete(func(id string) {
			entered <- id
			<-leave
		})
		hosts := []string{"a", "b", "c"}
		for _, id := range hosts {
			r.announce(id, 10*second)
		}
		before := map[string]*standard.Host{"a": r.host("a"), "b": r.host("b"), "c": r.host("c")}
		first := <-entered
		var others []string
		for _, id := range hosts {
			if id != first {
				others = append(others, id)
			}
		}
		synctest.Wait()
		// One comes back, one says goodbye; one more comes as another host altogether.
		r.announceV1(others[0])
		r.inner.manager.atDelete(nil)
		r.HostManager().Delete(others[1])
		r.announce(others[1], 20*second)
		leave <- true
		synctest.Wait()
		r.wantGone(first)
		r.wantThere(others...)
		if r.host(others[0]) != before[others[0]] || r.host(others[1]) == before[others[1]] {
			t.Error("not the hosts that are expected")
		}
		if r.Report().Superseded != 2 {
			t.Errorf("%+v", r.Report())
		}
		r.consistent()
		// The first kept its interval, although that announce names none.
		r.wantGoneAt(others[0], 30*second)
		time.Sleep(25*second + tick)
		synctest.Wait()
		r.wantGone(others[1])
	})
}

func TestIntervalsMayChange(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		time.Sleep(5 * second)
		r.announce("a", 60*second)
		time.Sleep(5 * second)
		r.announce("a", -1) // says none: it stays what it was
		r.wantGoneAt("a", 135*second)
		r.announce("a", 60*second)
		r.announce("a", 2*second)
		r.wantGoneAt("a", 6*second)
		r.announce("a", 2*second)
		r.announce("a", 0) // never expires from now on
		time.Sleep(time.Hour)
		synctest.Wait()
		r.wantThere("a")
		r.announce("a", 2*second)
		r.wantGoneAt("a", 6*second)
	})
}

func TestHostsWithoutAnIntervalNeverExpireUnlessToldTo(t *testing.T) {
	bubble(t, Options{Mode: Enforce}, func(t *testing.T, r *rig) {
		r.announce("v2", -1)
		r.announceV1("v1")
		time.Sleep(24 * time.Hour)
		must(t, r.HostManager().RunGC(t.Context()))
		r.wantThere("v1", "v2")
		r.consistent()
	})
	bubble(t, Options{HostTTL: time.Minute}, func(t *testing.T, r *rig) {
		r.announce("v2", -1)
		r.announceV1("v1")
		time.Sleep(50 * second)
		r.announceV1("v1")
		r.wantGoneAt("v2", 25*second)
		r.wantGoneAt("v1", 50*second-tick+time.Millisecond)
	})
}

func TestGoodbyesAreFinal(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		r.HostManager().Delete("a")
		r.HostManager().Delete("unknown")
		r.wantGone("a")
		r.consistent()
		time.Sleep(time.Minute)
		synctest.Wait()
		if report := r.Report(); report.Removed != 0 || report.Hosts != 0 || r.inner.manager.deleted["a"] != 1 {
			t.Errorf("%+v", report)
		}
	})
}

func TestWhoDownloadsIsHeard(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		time.Sleep(5 * second)
		again, end, _ := r.reports("a")
		_, _, broken := r.reports("a") // a second one, which ends first
		// The streams are silent; a look at the TTL finds them open.
		time.Sleep(95 * second)
		broken()
		time.Sleep(100 * second)
		synctest.Wait()
		r.wantThere("a")
		again()
		end()
		r.wantGoneAt("a", 30*second)
		if report := r.Report(); report.Downloads == 0 || report.HeardElsewhere < report.Downloads {
			t.Errorf("%+v", report)
		}
		if s := r.watch.table.stripe("a"); len(s.reports) != 0 {
			t.Errorf("%v", s.reports)
		}
	})
}

func TestTheEndOfADownloadIsASignOfLifeHoweverItEnds(t *testing.T) {
	for _, breaks := range []bool{true, false} {
		bubble(t, Options{}, func(t *testing.T, r *rig) {
			r.announce("a", 10*second)
			_, end, broken := r.reports("a")
			time.Sleep(39 * second)
			if breaks {
				broken()
			} else {
				end()
			}
			r.wantGoneAt("a", 30*second)
		})
	}
}

// A host that loses its power does not close its stream.
func TestASilentStreamCountsOnlySoLong(t *testing.T) {
	bubble(t, Options{DownloadTimeout: 100 * second}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		_, _, broken := r.reports("a")
		// It counts at each end of a TTL, 20 s apart, for 100 s.
		r.wantGoneAt("a", 110*second)
		broken()
		r.wantGone("a")
	})
}

func TestADownloadByTheFirstVersionOfTheAPICounts(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		peer := r.addPeer("a")
		send, end, _ := r.stream(func() any { return &schedulerv1.PieceResult{} })
		send(func(into any) { into.(*schedulerv1.PieceResult).SrcPid = "unknown" })
		time.Sleep(5 * second)
		send(func(into any) { into.(*schedulerv1.PieceResult).SrcPid = peer.ID })
		time.Sleep(100 * second)
		synctest.Wait()
		r.wantThere("a")
		send(func(into any) { into.(*schedulerv1.PieceResult).SrcPid = peer.ID })
		end()
		r.wantGoneAt("a", 30*second)
	})
}

func TestDownloadsCanBeIgnored(t *testing.T) {
	bubble(t, Options{IgnoreDownloads: true}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		time.Sleep(5 * second)
		_, end, _ := r.reports("a")
		r.wantGoneAt("a", 25*second)
		end()
	})
}

func TestCallsAfterStopAreHarmless(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		r.announce("a", 10*second)
		r.announce("b", 10*second)
		r.Stop()
		r.announce("a", 20*second)
		r.announce("new", 10*second)
		r.announceV1("b")
		_, end, _ := r.reports("a")
		end()
		r.HostManager().Delete("b")
		must(t, r.HostManager().RunGC(t.Context()))
		time.Sleep(time.Hour)
		must(t, r.gc.Run(t.Context(), standard.GCHostID))
		synctest.Wait()
		r.wantThere("a", "new")
		r.wantGone("b")
		if report := r.Report(); report.Removed != 0 || report.Untracked != 0 {
			t.Errorf("%+v", report)
		}
		must(t, r.Serve()) // does not start anew
		r.Stop()
	})
}

func TestBeforeServeNobodyIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, quiet(Options{Mode: Enforce}))
		r.announce("a", 10*second)
		time.Sleep(time.Hour)
		r.wantThere("a")
		r.Stop()
	})
}

func TestHostsThatWereThereBeforeAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, gc := newInner(t)
		old := standard.NewHost("old", "127.0.0.1", "old", "old", 1, 2, 3, 0, standard.WithAnnounceInterval(10*second))
		inner.HostManager().Store(old)
		time.Sleep(10 * second)
		r := wrapRig(t, inner, gc, quiet(Options{Mode: Enforce, Backend: 1}))
		must(t, r.Serve())
		defer r.Stop()
		r.wantGoneAt("old", 20*second)
	})
}

func TestLoadOrStore(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *rig) {
		newHost := func() *standard.Host {
			return standard.NewHost("a", "127.0.0.1", "a", "a", 1, 2, 3, 0, standard.WithAnnounceInterval(10*second))
		}
		first, second_ := newHost(), newHost()
		if host, loaded := r.HostManager().LoadOrStore(first); host != first || loaded {
			t.Error("it was not stored")
		}
		time.Sleep(5 * second)
		if host, loaded := r.HostManager().LoadOrStore(second_); host != first || !loaded {
			t.Error("it was stored in place of another")
		}
		r.wantGoneAt("a", 25*second)
	})
}
