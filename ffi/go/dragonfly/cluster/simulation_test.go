package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// backends are those in this build.
func backends() []hostwheel.Backend {
	list := []hostwheel.Backend{hostwheel.Pure}
	if wheel, err := hostwheel.New(hostwheel.Config[int]{Backend: hostwheel.Native}); err == nil {
		_ = wheel.Close()
		list = append(list, hostwheel.Native)
	}
	return list
}

func onBoth(t *testing.T, test func(t *testing.T, o Options)) {
	for _, b := range backends() {
		t.Run(b.String(), func(t *testing.T) {
			o := options()
			o.Backend = b
			test(t, o)
		})
	}
}

const second = time.Second

func TestWhileNobodyDiesRedisIsHardlyAsked(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		w := newWorld(t, 1)
		for range 3 {
			w.start(o, nil)
		}
		w.add(1000, 20*second)
		w.run(time.Minute)
		for _, s := range w.schedulers {
			clear(s.count)
		}
		w.run(10 * time.Minute)
		for _, s := range w.schedulers {
			if s.count["ask"]+s.count["remove"]+s.count["read"] != 0 {
				t.Errorf("%s sent %v", s.name, s.count)
			}
			// A page for each hundred hosts of both resources, each 30 s.
			if n := s.count["page"]; n < 350 || n > 450 {
				t.Errorf("%s read %d pages", s.name, n)
			}
		}
		w.check(5 * second)
	})
}

func TestEachDeadHostIsDeletedOnceByTwoCommandsAtMost(t *testing.T) {
	for _, interval := range []time.Duration{2 * second, 20 * second, 90 * second} {
		onBoth(t, func(t *testing.T, o Options) {
			w := newWorld(t, 2)
			for range 3 {
				w.start(o, nil)
			}
			hosts := w.add(300, interval)
			w.run(3 * interval)
			for _, h := range hosts[:60] {
				h.dead = true
			}
			for _, s := range w.schedulers {
				clear(s.asked)
			}
			w.run(o.due(interval) + 60*second)
			w.check(5 * second)
			if n := len(w.ended[0]) + len(w.ended[1]); n != 120 {
				t.Errorf("%d records were deleted, of 120", n)
			}
			var sum uint64
			for _, s := range w.schedulers {
				r := s.Report()
				sum += r.Removed["persistent"]
				for id, n := range s.asked {
					if n > 2 {
						t.Errorf("%s sent %d commands about %s", s.name, n, id)
					}
				}
				if live := s.wheel.Stats().Live; live != 240 {
					t.Errorf("%s knows %d hosts, of 240", s.name, live)
				}
			}
			if sum != 60 {
				t.Errorf("%d were reported as deleted, of 60", sum)
			}
		})
	}
}

func TestASchedulerThatHearsNobodyDeletesNobodyElses(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		w := newWorld(t, 3)
		w.start(o, nil)
		w.start(o, nil).deaf = true
		hosts := w.add(500, 10*second)
		w.run(5 * time.Minute)
		if r := w.schedulers[1].Report(); r.HeardElsewhere < 500 || r.Removed["persistent"] != 0 {
			t.Errorf("the deaf one reports %+v", r)
		}
		// Those that are gone it does delete, if the other one only stores what it hears.
		w.schedulers[0].idle = true
		for _, h := range hosts[:50] {
			h.dead = true
		}
		w.run(o.due(10*second) + 20*second)
		w.check(11 * second)
		if n := w.schedulers[1].Report().Removed["persistent"]; n != 50 {
			t.Errorf("the deaf one deleted %d hosts, of 50", n)
		}
		// If there is no news at all, that need not be the hosts' fault.
		w.schedulers[0].dead = true
		w.run(20 * time.Minute)
		w.check(11 * second)
	})
}

func TestAHostOfASchedulerThatDiedIsFound(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		w := newWorld(t, 4)
		for range 3 {
			w.start(o, nil)
		}
		w.add(100, 30*second)
		w.run(2 * time.Minute)
		only := w.add(20, 30*second, 0)
		w.run(60 * second)
		w.schedulers[0].dead = true
		for _, h := range only {
			h.dead = true
		}
		w.run(o.due(30*second) + 5*second)
		w.check(5 * second)
		if len(w.ended[0]) != 20 {
			t.Errorf("%d are deleted, of 20", len(w.ended[0]))
		}
	})
}

// outageTest has Redis fail while all hosts live, some of them die, and everybody forgets what it could not store.
func outageTest(t *testing.T, o Options, length time.Duration, between func(store) store) *world {
	w := newWorld(t, 5)
	for range 3 {
		w.start(o, between)
	}
	// Most are not heard by the third one.
	hosts := w.add(200, 10*second, 0, 1)
	w.add(100, 10*second)
	w.run(65 * second)
	w.store.refuses = true
	w.run(length)
	for _, h := range hosts[:30] {
		h.dead = true
	}
	w.store.refuses = false
	w.run(3 * time.Minute)
	return w
}

func TestAnOutageOfRedisCountsAgainstNoHost(t *testing.T) {
	for _, length := range []time.Duration{second, 3 * second, 20 * second, 10 * time.Minute} {
		onBoth(t, func(t *testing.T, o Options) {
			w := outageTest(t, o, length, nil)
			w.check(5*second + length)
			if len(w.ended[0]) != 30 {
				t.Errorf("%d are deleted, of 30", len(w.ended[0]))
			}
			if r := w.schedulers[0].Report(); length > 5*second && r.Outages != 1 || !r.Up {
				t.Errorf("%d outages, up: %v", r.Outages, r.Up)
			}
		})
	}
}

func TestADeafSchedulerComesBackFromAnOutage(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		w := newWorld(t, 11)
		w.start(o, nil)
		w.start(o, nil).deaf = true
		w.add(300, 10*second)
		w.run(time.Minute)
		w.store.refuses = true
		w.run(10 * time.Minute)
		w.store.refuses = false
		w.run(90 * second)
		w.check(5 * second)
		s := w.schedulers[1].wheel.Stats()
		if s.Suspect+s.Waiting+s.Outstanding > 0 {
			t.Errorf("%d suspects, %d wait, %d are handed out", s.Suspect, s.Waiting, s.Outstanding)
		}
	})
}

// As on machines that were suspended, or in a Redis that stood still for a time and answered then.
func TestTimeInWhichAllStandStillCountsAgainstNoHost(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		w := newWorld(t, 14)
		for i := range 2 {
			w.start(o, nil)
			w.add(150, 30*second, i)
		}
		w.run(3 * time.Minute)
		stand := func(still bool) {
			for _, s := range w.schedulers {
				s.paused = still
			}
		}
		stand(true)
		w.run(5*time.Minute + 8*second)
		stand(false)
		w.run(3 * time.Minute)
		w.check(5 * second)
	})
}

func TestAnEmptyRedisAndTheOldOneAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		w := newWorld(t, 6)
		for i := range 3 {
			w.start(o, nil).deaf = i == 2
		}
		w.add(300, 10*second)
		w.run(time.Minute)
		old := w.store
		w.store = newFakeRedis()
		w.run(5 * time.Minute)
		if n := len(w.store.ids[0]); n != 300 {
			t.Errorf("the new Redis has %d hosts, of 300", n)
		}
		// With all that it had minutes ago.
		w.store = old
		w.run(5 * time.Minute)
		w.check(5 * second)
		if n := len(w.store.ids[0]); n != 300 {
			t.Errorf("the old Redis has %d hosts, of 300", n)
		}
		if r := w.schedulers[2].Report(); r.Regressions == 0 {
			t.Error("it went unnoticed that Redis lost news")
		}
	})
}

// A failover takes a while, and the replica is a minute behind.
func TestAReplicaThatLagsBehindAfterAnOutage(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		w := newWorld(t, 15)
		w.start(o, nil)
		w.start(o, nil).deaf = true
		hosts := w.add(300, 10*second)
		w.run(3 * time.Minute)
		replica := newFakeRedis()
		for r := range resources {
			for _, id := range w.store.ids[r] {
				replica.put(r, id, w.store.hosts[r][id])
			}
		}
		w.run(time.Minute)
		w.store.refuses = true
		w.run(20 * second)
		for _, h := range hosts[:30] {
			h.dead = true
		}
		w.store = replica
		w.run(3 * time.Minute)
		w.check(2 * time.Minute)
		if r := w.schedulers[1].Report(); len(w.ended[0]) != 30 || r.Regressions == 0 {
			t.Errorf("%d are deleted, of 30; Redis lost news %d times", len(w.ended[0]), r.Regressions)
		}
	})
}

func TestASchedulerThatStartsOnOldNewsWaits(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		w := newWorld(t, 7)
		w.start(o, nil)
		hosts := w.add(100, 30*second)
		w.run(time.Minute)
		for _, h := range hosts[:10] {
			h.dead = true
		}
		// No scheduler for an hour.
		w.schedulers[0].dead = true
		w.run(time.Hour)
		began := w.now
		w.start(o, nil)
		for w.run(step); len(w.ended[0]) == 0 && w.now < began+5*time.Minute; w.run(step) {
		}
		if w.now < began+o.due(30*second)-30*second {
			t.Errorf("the first host was deleted %v after the start", w.now-began)
		}
		w.run(time.Minute)
		w.check(2 * time.Hour)
		if len(w.ended[0]) != 10 {
			t.Errorf("%d are deleted, of 10", len(w.ended[0]))
		}
	})
}

func TestClocks(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second time.Duration // offsets of the schedulers
		redis         time.Duration
		late          time.Duration // how much later than usual hosts are deleted
		early         bool          // Redis forbids deletions for a time
	}{
		{name: "within the skew", first: -2 * second, second: 2500 * time.Millisecond, redis: -2500 * time.Millisecond, late: 5 * second},
		{name: "a fast scheduler", second: time.Hour, late: second, early: true},
		{name: "a slow Redis", redis: -time.Minute, late: 2 * time.Minute, early: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, o Options) {
				w := newWorld(t, 8)
				w.start(o, nil).offset = c.first
				s := w.start(o, nil)
				s.offset = c.second
				w.store.offset = c.redis
				hosts := w.add(200, 20*second, 0)
				w.add(50, 20*second)
				w.run(2 * time.Minute)
				for _, h := range hosts[:20] {
					h.dead = true
				}
				w.run(4 * time.Minute)
				w.check(5*second + c.late)
				if len(w.ended[0]) != 20 {
					t.Errorf("%d are deleted, of 20", len(w.ended[0]))
				}
				if early := w.schedulers[0].Report().Early+s.Report().Early > 0; early != c.early {
					t.Errorf("Redis's clock forbade: %v", early)
				}
			})
		})
	}
}

func TestHostsWithoutAnIntervalStayOrHaveTheHostTTL(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute} {
		onBoth(t, func(t *testing.T, o Options) {
			o.HostTTL = ttl
			w := newWorld(t, 9)
			w.start(o, nil)
			w.start(o, nil)
			is := record{epoch.Format(time.RFC3339), "0"}
			for r := range resources {
				w.store.put(r, "silent", is)
			}
			w.byID["silent"] = &fakeHost{id: "silent", dead: true, excused: ttl > 0}
			w.schedulers[0].heard("silent", 0, true)
			w.run(30 * second)
			for _, s := range w.schedulers {
				clear(s.count)
			}
			w.run(time.Hour)
			if _, there := w.store.hosts[0]["silent"]; there != (ttl == 0) {
				t.Errorf("host TTL %v: there: %v", ttl, there)
			}
			if n := w.schedulers[0].count["ask"] + w.schedulers[1].count["read"]; n > 2 {
				t.Errorf("it was read %d times", n)
			}
		})
	}
}

func TestAHostThatMakesNoSenseIsLeftAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		w := newWorld(t, 12)
		s := w.start(o, nil)
		w.add(50, 10*second)
		is := record{"yesterday", "soon"}
		w.store.put(Persistent, "odd", is)
		s.heard("odd", 10*second, true)
		w.run(2 * time.Minute)
		w.check(5 * second)
		if w.store.hosts[Persistent]["odd"] != is {
			t.Error("it was deleted")
		}
		if _, known := s.wheel.Lookup("odd"); known || s.asked["odd"] != 2 || s.Report().Unreadable == 0 {
			t.Errorf("it is known: %v; asked for %d times; %d unreadable", known, s.asked["odd"], s.Report().Unreadable)
		}
	})
}

// TestFaults has everything go wrong at random, but never so that a living host cannot be stored for longer than it may.
func TestFaults(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 5
	}
	if text := os.Getenv("HOSTWHEEL_CLUSTER_SEEDS"); text != "" {
		var err error
		if seeds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range backends() {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%v/%d", b, seed), func(t *testing.T) {
				o := options()
				o.Backend = b
				faults(t, o, uint64(seed), nil).check(0)
			})
		}
	}
}

// faults runs a world of faults and ends with a time without, so that all that died is due.
func faults(t testing.TB, o Options, seed uint64, between func(store) store) *world {
	w := newWorld(t, seed)
	random := w.random
	for range 3 + random.IntN(3) {
		s := w.start(o, between)
		s.offset = time.Duration(random.Int64N(int64(4*second))) - 2*second
	}
	w.store.offset = time.Duration(random.Int64N(int64(4*second))) - 2*second
	for _, interval := range []time.Duration{5 * second, 15 * second, 40 * second} {
		w.add(30, interval)
		w.add(10, interval, 0, 1)
	}
	w.run(time.Minute)
	for range 40 {
		s := w.schedulers[random.IntN(len(w.schedulers))]
		length := time.Duration(1+random.IntN(60)) * second
		switch random.IntN(8) {
		case 0: // hears nobody; one of the first two hears everybody always
			if s != w.schedulers[0] {
				s.deaf = true
				w.run(length)
				s.deaf = false
			}
		case 1: // does not reach Redis
			if s != w.schedulers[0] {
				s.cut = true
				w.run(length)
				s.cut = false
			}
		case 2: // stands still
			if s != w.schedulers[0] {
				s.paused = true
				w.run(length)
				s.paused = false
			}
		case 3: // is started again
			if s != w.schedulers[0] && !s.dead {
				s.dead = true
				w.run(length)
				w.start(o, between).offset = s.offset
			}
		case 4:
			w.store.refuses = true
			w.run(length * time.Duration(1+random.IntN(10)))
			w.store.refuses = false
		case 5, 6: // some die, some come back
			for _, h := range w.hosts {
				if random.IntN(10) == 0 {
					h.dead = !h.dead
					h.next = max(h.next, w.now+step)
				}
			}
		case 7: // loses its next announce
			for _, h := range w.hosts {
				if !h.dead && random.IntN(4) == 0 && h.next < w.now+h.interval/2 && w.now-h.stored < h.interval {
					h.next += h.interval
				}
			}
		}
		w.run(time.Duration(1+random.IntN(40)) * second)
	}
	w.run(5 * time.Minute)
	return w
}

// wrongStore is a store with a bug.
type wrongStore struct {
	store
	bug     string
	refused int
}

var errNoPermission = errors.New("NOPERM this user has no permissions to run the 'evalsha' command")

func (s *wrongStore) remove(ctx context.Context, r Resource, id string, was record, earliest time.Time) (removal, error) {
	if s.bug == "forbids deletions" {
		s.refused++
		return removal{}, errNoPermission
	}
	if s.bug == "compares nothing" {
		records, err := s.store.read(ctx, r, []string{id})
		if err != nil {
			return removal{}, err
		}
		was = records[0]
	}
	return s.store.remove(ctx, r, id, was, earliest)
}

func (s *wrongStore) beat(ctx context.Context) error {
	err := s.store.beat(ctx)
	if s.bug == "hides outages" {
		return nil
	}
	return err
}

// The simulation must be able to fail.
func TestBugsAreFound(t *testing.T) {
	for _, c := range []struct {
		bug string
		run func(t *testing.T, between func(store) store) *world
	}{
		{"hides outages", func(t *testing.T, between func(store) store) *world {
			return outageTest(t, options(), 40*second, between)
		}},
		{"compares nothing", crossing},
	} {
		t.Run(c.bug, func(t *testing.T) {
			w := c.run(t, func(inner store) store { return &wrongStore{store: inner, bug: c.bug} })
			if len(w.wrong) == 0 {
				t.Errorf("a store that %s goes unnoticed", c.bug)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		if w := crossing(t, nil); len(w.wrong) > 0 {
			t.Error(w.wrong[0])
		}
	})
}

func TestWhatRedisRefusesIsTriedLessAndLessAndSaid(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		var said strings.Builder
		o.Logger = slog.New(slog.NewTextHandler(&said, nil))
		w := newWorld(t, 16)
		var refusing *wrongStore
		w.start(o, func(inner store) store {
			refusing = &wrongStore{store: inner, bug: "forbids deletions"}
			return refusing
		})
		hosts := w.add(30, 10*second)
		w.run(time.Minute)
		hosts[0].dead = true
		w.run(20 * time.Minute)
		if n := refusing.refused; n < 10 || n > 40 {
			t.Errorf("a deletion was tried %d times in 20 minutes", n)
		}
		if n := strings.Count(said.String(), "NOPERM"); n < 5 || n > 20 {
			t.Errorf("it was said %d times", n)
		}
		refusing.bug = ""
		w.run(90 * second)
		if len(w.ended[0]) != 1 {
			t.Error("it is still there")
		}
	})
}

// crossing has hosts come back between the question and the deletion.
func crossing(t *testing.T, between func(store) store) *world {
	o := options()
	w := newWorld(t, 10)
	w.start(o, between)
	w.start(o, between)
	hosts := w.add(100, 10*second, 0)
	w.add(50, 10*second)
	w.run(time.Minute)
	// The second one has asked for all of them in vain, when they return to the first one.
	for _, h := range hosts {
		h.dead = true
	}
	w.run(o.due(10*second) - 14*second)
	for _, h := range hosts {
		h.dead = false
		h.next = w.now + time.Duration(w.random.Int64N(int64(12*second)))
		h.excused = h.stored+o.due(10*second)-second < h.next
	}
	w.run(time.Minute)
	return w
}
