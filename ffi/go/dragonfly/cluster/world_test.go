package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// A world is a cluster on one clock of its own: hosts, schedulers with watches, and a Redis that is a few maps. Nothing in it
// waits, so a day takes seconds, and a seed says all that happens.
type world struct {
	t          testing.TB
	random     *rand.Rand
	now        time.Duration
	store      *fakeRedis
	schedulers []*scheduler
	hosts      []*fakeHost
	byID       map[string]*fakeHost
	// wrong are broken promises.
	wrong []string
	ended [resources]map[string]int // how often hosts were deleted since they were stored
}

// epoch is the time of day when a world begins.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fakeRedis is what Redis has, and how it is.
type fakeRedis struct {
	hosts [resources]map[string]record
	// ids are those of all hosts, in the order in which pages have them.
	ids     [resources][]string
	at      [resources]map[string]int
	refuses bool          // takes no writes, and answers nothing
	offset  time.Duration // of its clock
}

func newFakeRedis() *fakeRedis {
	r := &fakeRedis{}
	for i := range r.hosts {
		r.hosts[i], r.at[i] = map[string]record{}, map[string]int{}
	}
	return r
}

func (r *fakeRedis) put(resource Resource, id string, is record) {
	if _, known := r.hosts[resource][id]; !known {
		r.at[resource][id] = len(r.ids[resource])
		r.ids[resource] = append(r.ids[resource], id)
	}
	r.hosts[resource][id] = is
}

func (r *fakeRedis) drop(resource Resource, id string) {
	i, known := r.at[resource][id]
	if !known {
		return
	}
	last := len(r.ids[resource]) - 1
	moved := r.ids[resource][last]
	r.ids[resource][i], r.at[resource][moved] = moved, i
	r.ids[resource] = r.ids[resource][:last]
	delete(r.at[resource], id)
	delete(r.hosts[resource], id)
}

// scheduler is one that hears hosts, stores what it hears as Dragonfly does, and watches.
type scheduler struct {
	world *world
	name  string
	*Watch
	// offset is of its clock. deaf: no host reaches it. cut: it does not reach Redis. idle: its watch does nothing, it stores what it hears.
	// dead: it is gone. paused: it stands still.
	offset                        time.Duration
	deaf, cut, idle, dead, paused bool
	// began is when it was started; its wheel's time counts from there.
	began            time.Duration
	nextBeat, nextGo time.Duration
	count            map[string]int // commands by purpose
	asked            map[string]int // commands for suspects and removals, by host
}

var errNoRedis = errors.New("no answer")

func (s *scheduler) reach() error {
	if s.cut || s.world.store.refuses {
		return errNoRedis
	}
	return nil
}

func (s *scheduler) sent(purpose string, n int) { s.count[purpose] += n }

func (s *scheduler) ask(_ context.Context, r Resource, id string) (record, error) {
	s.sent("ask", 1)
	if r == s.Resources[0] {
		s.asked[id]++
	}
	return s.world.store.hosts[r][id], s.reach()
}

func (s *scheduler) read(_ context.Context, r Resource, ids []string) ([]record, error) {
	s.sent("read", len(ids))
	if err := s.reach(); err != nil {
		return nil, err
	}
	records := make([]record, len(ids))
	for i, id := range ids {
		records[i] = s.world.store.hosts[r][id]
	}
	return records, nil
}

func (s *scheduler) page(_ context.Context, r Resource, cursor uint64) ([]string, uint64, error) {
	s.sent("page", 1)
	if err := s.reach(); err != nil {
		return nil, 0, err
	}
	ids := s.world.store.ids[r]
	from := min(int(cursor), len(ids))
	to := min(from+s.Page, len(ids))
	next := uint64(to)
	if to == len(ids) {
		next = 0
	}
	return slices.Clone(ids[from:to]), next, nil
}

func (s *scheduler) remove(_ context.Context, r Resource, id string, was record, earliest time.Time) (removal, error) {
	s.sent("remove", 1)
	if r == s.Resources[0] {
		s.asked[id]++
	}
	if err := s.reach(); err != nil {
		return removal{}, err
	}
	store := s.world.store
	is, known := store.hosts[r][id]
	switch wait := earliest.Sub(epoch.Add(s.world.now + store.offset)); {
	case !known:
		return removal{outcome: missing}, nil
	case is != was:
		return removal{outcome: changed, record: is}, nil
	case wait > 0:
		return removal{outcome: early, wait: wait}, nil
	}
	store.drop(r, id)
	s.world.deleted(s, r, id)
	return removal{outcome: removed}, nil
}

func (s *scheduler) beat(context.Context) error {
	s.sent("heartbeat", 1)
	return s.reach()
}

// hears is what a scheduler does with an announce.
func (s *scheduler) hears(h *fakeHost) {
	if s.deaf || s.dead || s.paused {
		return
	}
	s.Watch.heard(h.id, h.interval, true)
	if s.reach() != nil {
		return
	}
	is := record{epoch.Add(s.world.now + s.offset).Format(time.RFC3339), strconv.FormatInt(int64(h.interval), 10)}
	for _, r := range s.Resources {
		s.world.store.put(r, h.id, is)
		delete(s.world.ended[r], h.id)
	}
	h.stored = s.world.now
}

// fakeHost announces itself to some schedulers.
type fakeHost struct {
	id       string
	interval time.Duration
	to       []int
	next     time.Duration
	dead     bool
	// stored is when an announce of it reached Redis for the last time.
	stored time.Duration
	// excused: it may be deleted though it lives, as nobody could store what it said.
	excused bool
	losing  bool // its last announce was lost
}

// options are those of a test, as New completes them.
func options() Options {
	o := Options{Redis: redis.NewClient(&redis.Options{}), GC: WrapGC(nil), Resources: []Resource{Persistent, PersistentCache},
		Discover: 30 * time.Second, Page: 100, Brake: hostwheel.Brake{Off: true}, Logger: slog.New(slog.DiscardHandler)}
	if err := o.check(); err != nil {
		panic(err)
	}
	return o
}

func newWorld(t testing.TB, seed uint64) *world {
	return &world{t: t, random: rand.New(rand.NewPCG(seed, 1)), store: newFakeRedis(), byID: map[string]*fakeHost{}, ended: [resources]map[string]int{{}, {}}}
}

// start starts a scheduler; store, if not nil, is put between it and Redis.
func (w *world) start(o Options, between func(store) store) *scheduler {
	w.t.Helper()
	s := &scheduler{world: w, name: fmt.Sprintf("scheduler-%d", len(w.schedulers)), began: w.now, nextBeat: w.now, nextGo: w.now,
		count: map[string]int{}, asked: map[string]int{}}
	var err error
	s.Watch, err = newWatch(o, hostwheel.Config[*host]{Manual: true},
		func() time.Time { return epoch.Add(w.now + s.offset) },
		func() time.Time { return time.UnixMilli(0).Add(w.now - s.began) })
	if err != nil {
		w.t.Fatal(err)
	}
	var is store = s
	if between != nil {
		is = between(s)
	}
	s.connect(is)
	w.schedulers = append(w.schedulers, s)
	w.t.Cleanup(func() { s.wheel.Close() })
	return s
}

// add adds hosts that announce themselves to some schedulers; to all if none is named.
func (w *world) add(n int, interval time.Duration, to ...int) []*fakeHost {
	var list []*fakeHost
	for range n {
		h := &fakeHost{id: fmt.Sprintf("host-%d", len(w.hosts)), interval: interval, to: to,
			next: w.now + time.Duration(w.random.Int64N(int64(interval))), stored: -1}
		w.hosts = append(w.hosts, h)
		w.byID[h.id] = h
		list = append(list, h)
	}
	return list
}

// step is how finely a world's time is divided.
const step = 100 * time.Millisecond

// run lets time pass.
func (w *world) run(length time.Duration) {
	for end := w.now + length; w.now < end; {
		w.now += step
		for _, h := range w.hosts {
			if !h.dead && h.next <= w.now {
				h.next += h.interval
				w.announce(h)
			}
		}
		for _, s := range w.schedulers {
			s.turn()
		}
	}
}

func (w *world) announce(h *fakeHost) {
	for i, s := range w.schedulers {
		if len(h.to) == 0 || slices.Contains(h.to, i) {
			s.hears(h)
		}
	}
}

// turn does what a scheduler has to do by now.
func (s *scheduler) turn() {
	if s.dead || s.paused || s.idle {
		return
	}
	now, ctx := s.world.now, context.Background()
	for s.nextBeat <= now {
		s.nextBeat = now + max(s.link.beat(ctx), step)
	}
	for s.nextGo = max(s.nextGo, now-second); s.nextGo <= now; {
		s.nextGo += max(s.finder.step(ctx), time.Millisecond)
	}
	if _, err := s.wheel.Advance(now - s.began); err != nil {
		s.world.t.Fatal(err)
	}
}

// deleted judges a deletion.
func (w *world) deleted(by *scheduler, r Resource, id string) {
	h, known := w.byID[id]
	if !known {
		return // a world of another kind
	}
	age := w.now - h.stored
	switch {
	case !h.dead && !h.excused:
		w.wrong = append(w.wrong, fmt.Sprintf("%v: %s deletes %s, which lives, %v after it was stored", w.now, by.name, id, age))
	case age < by.due(h.interval)-by.margin():
		w.wrong = append(w.wrong, fmt.Sprintf("%v: %s deletes %s %v after it was stored", w.now, by.name, id, age))
	}
	w.ended[r][id]++
}

// left are the dead hosts that Redis still has, later than allowed after they were heard for the last time.
func (w *world) left(late time.Duration) []string {
	var list []string
	for _, h := range w.hosts {
		if !h.dead || h.stored < 0 {
			continue
		}
		for _, r := range []Resource{Persistent, PersistentCache} {
			if _, known := w.store.hosts[r][h.id]; known && w.now > h.stored+w.schedulers[0].due(h.interval)+late {
				list = append(list, h.id)
			}
		}
	}
	return list
}

// check fails the test if a promise was broken.
func (w *world) check(late time.Duration) {
	w.t.Helper()
	for _, wrong := range w.wrong[:min(len(w.wrong), 5)] {
		w.t.Error(wrong)
	}
	if left := w.left(late); len(left) > 0 {
		w.t.Errorf("at %v %d dead hosts are still there: %v", w.now, len(left), left[:min(len(left), 5)])
	}
	for r := range w.ended {
		for id, n := range w.ended[r] {
			if n != 1 {
				w.t.Errorf("%s was deleted %d times", id, n)
			}
		}
	}
	for _, s := range w.schedulers {
		if n := s.wheel.Stats().Panics; n > 0 {
			w.t.Errorf("%s: %d callbacks panicked", s.name, n)
		}
		if !s.dead {
			s.checkDoubts()
		}
	}
}

// checkDoubts fails the test if a doubt about a host is left that the wheel does not have.
func (s *scheduler) checkDoubts() {
	s.world.t.Helper()
	s.doubts.Range(func(id, d any) bool {
		if _, err := d.(*doubt).member.Inspect(); err != nil {
			s.world.t.Errorf("%s still has a doubt about %v: %v", s.name, id, err)
		}
		return true
	})
}
