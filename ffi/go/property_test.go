package hostwheel_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// duel does the same to a wheel and to the model, and compares whatever can be seen.
type duel struct {
	*rand.Rand
	wheel *wheel
	model *model
	// members are all that there ever were, so that those that are gone are asked as well.
	members []*member
	// acted: a callback has changed something, which the next advance may look at.
	acted bool
	wrong error
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func newDuel(backend hostwheel.Backend, seed uint64) (*duel, error) {
	r := rand.New(rand.NewPCG(seed, 0))
	c := manual(backend)
	c.HostTTL = pick(r, 2*ms, 999*ms, 4*sec, time.Hour)
	c.Grace = pick(r, hostwheel.Off, ms, 700*ms, 15*sec)
	c.MinInterval = pick(r, ms, 10*ms, sec, 1001*ms)
	c.MaxInterval = pick(r, 5*sec, 3000*sec, hostwheel.Longest)
	return newDuelOf(c, r)
}

func newDuelOf(c config, r *rand.Rand) (*duel, error) {
	d := &duel{Rand: r, model: &model{config: c, handle: map[uint64]bool{}}}
	c.Suspect = func(e *event) { d.told(e); d.inSuspect(e) }
	c.Recovered = d.told
	c.Leave = func(e *event) hostwheel.Verdict { d.told(e); return d.inLeave(e) }
	w, err := hostwheel.New(c)
	d.wheel = w
	return d, err
}

func (d *duel) fail(format string, args ...any) {
	if d.wrong == nil {
		d.wrong = fmt.Errorf(format, args...)
	}
}

func (d *duel) told(e *event) {
	if err := d.model.came(e); err != nil {
		d.fail("told %v at %v: %v", e, d.model.now, err)
	}
}

func (d *duel) inSuspect(e *event) {
	l := d.model.of(e.Member)
	if l == nil {
		return
	}
	switch d.IntN(8) {
	case 0:
		d.announceAt(l, e.Member)
	case 1:
		d.renew(l, e.Member)
	case 2:
		d.goodbye(l, e.Member)
	case 3:
		d.acted = true
		panic("of the test")
	default:
		return
	}
	d.acted = true
}

func (d *duel) inLeave(e *event) hostwheel.Verdict {
	l := d.model.of(e.Member)
	if l == nil {
		return hostwheel.Done
	}
	if d.IntN(8) == 0 && d.model.alive(l.id) == nil {
		d.announce(l.id)
		d.acted = true
	}
	switch d.IntN(10) {
	case 0:
		d.model.answered(l, 0)
		panic("of the test")
	case 1, 2:
		after := pick(d.Rand, 0, 1, time.Duration(d.IntN(5000))*ms, time.Duration(d.IntN(5000))*time.Microsecond)
		d.model.answered(l, after)
		return hostwheel.Retry(after)
	}
	d.model.answered(l, -1)
	return hostwheel.Done
}

func (d *duel) interval() time.Duration {
	return pick(d.Rand, 0, sec, sec, 1500*ms, 2*sec, 5*sec, 30*sec, 300*sec, hostwheel.Longest,
		1, time.Duration(d.IntN(2_000_000))*time.Microsecond, time.Duration(d.IntN(1_000_000))*sec)
}

// instant is one around the last that was heard of a host, in whole milliseconds, as the clock counts.
func (d *duel) instant(l *life) time.Duration {
	base := d.model.now
	if l != nil && d.IntN(2) == 0 {
		base = l.last
	}
	return base + pick(d.Rand, 0, 0, ms, -ms, sec, time.Duration(d.IntN(5000)-4000)*ms, -time.Duration(d.IntN(1000))*sec)
}

func (d *duel) announce(id string) {
	interval, l := d.interval(), d.model.alive(id)
	// Registrations count from now: in a used record of the native core, a host may count from later than it was heard.
	if l != nil && d.IntN(3) == 0 {
		d.announceSeen(id, interval, d.instant(l), true)
	} else {
		d.announceSeen(id, interval, d.model.now, false)
	}
}

// announceSeen says when the host was heard only if it is dated; else that is now.
func (d *duel) announceSeen(id string, interval, at time.Duration, dated bool) {
	l := d.model.alive(id)
	var options []hostwheel.AnnounceOption
	if dated {
		options = append(options, hostwheel.SeenAt(heard(at)))
	}
	m, outcome, err := d.wheel.Announce(id, interval, id, options...)
	if err != nil {
		d.fail("announce %s: %v", id, err)
		return
	}
	want := hostwheel.Registered
	if l != nil {
		want = d.model.heard(l, at, interval)
	}
	if outcome != want || l != nil && m != l.member {
		d.fail("announce %s: %v, expected %v", id, outcome, want)
	}
	if l == nil {
		d.members = append(d.members, m)
		if err := d.model.registered(m, id, interval); err != nil {
			d.fail("announce %s: %v", id, err)
		}
	}
}

// refusal is the error that all calls of a member get, if they get one.
func refusal(l *life) error {
	switch {
	case l == nil:
		return hostwheel.ErrStale
	case l.state == hostwheel.Taken:
		return hostwheel.ErrTaken
	}
	return nil
}

func (d *duel) refused(what string, l *life, err error) bool {
	want := refusal(l)
	if !errors.Is(err, want) {
		d.fail("%s: got %v, expected %v", what, err, want)
	}
	return want != nil
}

func (d *duel) announceAt(l *life, m *member) {
	at, interval := d.instant(l), d.interval()
	if !d.refused("announce at", l, m.AnnounceAt(heard(at), interval)) {
		d.model.heard(l, at, interval)
	}
}

func (d *duel) renew(l *life, m *member) {
	at := d.model.now
	call := m.Renew
	if d.IntN(2) == 0 {
		at = min(d.instant(l), d.model.now) // one in the future counts as now to within a second only
		call = func() error { return m.RenewAt(heard(at)) }
	}
	if !d.refused("renew", l, call()) {
		d.model.heard(l, at, -1)
	}
}

func (d *duel) goodbye(l *life, m *member) {
	if !d.refused("leave", l, m.Leave()) {
		d.model.over(l)
	}
}

func (d *duel) leave(id string) {
	l := d.model.alive(id)
	switch err := d.wheel.Leave(id); {
	case l == nil && !errors.Is(err, hostwheel.ErrNotFound), l != nil && err != nil:
		d.fail("leave %s: %v", id, err)
	case l != nil:
		d.model.over(l)
	}
}

func (d *duel) advance() {
	by := pick(d.Rand, 0, ms, time.Duration(d.IntN(3000))*ms, time.Duration(d.IntN(3000))*ms, time.Duration(d.IntN(100))*sec,
		time.Duration(d.IntN(4000))*time.Hour/100)
	// Often exactly to what is due, or to beside it.
	if n := len(d.model.lives); n > 0 && d.IntN(3) > 0 {
		l := d.model.lives[d.IntN(n)]
		due := pick(d.Rand, d.model.deadline(l), d.model.leavesAt(l), l.retry) + pick(d.Rand, 0, 0, -ms, ms)
		by = max(due-d.model.now, 0)
	}
	d.advanceBy(by)
}

func (d *duel) advanceBy(by time.Duration) {
	d.model.now += by
	for again := true; again; again = d.acted {
		d.acted = false
		if _, err := d.wheel.Advance(d.model.now); err != nil {
			d.fail("advance: %v", err)
		}
		if d.wrong != nil {
			return
		}
	}
	if err := d.model.overdue(); err != nil {
		d.fail("at %v: %v", d.model.now, err)
	}
}

func (d *duel) step() {
	id := string(rune('a' + d.IntN(8)))
	var m *member
	if n := len(d.members); n > 0 {
		m = d.members[max(0, n-1-d.IntN(12))]
	}
	switch op := d.IntN(20); {
	case op < 6 || m == nil:
		d.announce(id)
	case op < 9:
		d.renew(d.model.of(m), m)
	case op < 11:
		d.announceAt(d.model.of(m), m)
	case op == 11:
		d.goodbye(d.model.of(m), m)
	case op == 12:
		d.leave(id)
	default:
		d.advance()
	}
	if d.wrong == nil {
		if err := d.model.differs(d.wheel); err != nil {
			d.fail("at %v: %v", d.model.now, err)
		}
	}
}

// end lets everybody go who is left: nobody may be lost.
func (d *duel) end() error {
	for range 200 {
		if d.wrong != nil {
			return d.wrong
		}
		if len(d.model.lives) == 0 {
			return nil
		}
		d.model.now += hostwheel.Longest / 2
		for again := true; again; again = d.acted {
			d.acted = false
			if _, err := d.wheel.Advance(d.model.now); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%d incarnations never end", len(d.model.lives))
}

func fight(backend hostwheel.Backend, seed uint64) error {
	d, err := newDuel(backend, seed)
	if err != nil {
		return err
	}
	for step := range 150 {
		if d.step(); d.wrong != nil {
			return fmt.Errorf("step %d: %w", step, d.wrong)
		}
	}
	if err := d.end(); err != nil {
		return err
	}
	stats := d.wheel.Stats()
	if ended := stats.Left + stats.LeavesTTL + stats.LeavesHostTTL; ended != stats.Registered || stats.Live+stats.Outstanding != 0 {
		return fmt.Errorf("%d registrations, %d ends: %+v", stats.Registered, ended, stats)
	}
	return d.wheel.Close()
}

// The seed of a failure is in its message: HOSTWHEEL_SEED repeats it alone.
func TestRandomOperationsDoWhatTheModelSays(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		if text := os.Getenv("HOSTWHEEL_SEED"); text != "" {
			seed, err := strconv.ParseUint(text, 10, 64)
			must(t, err)
			must(t, fight(backend, seed))
			return
		}
		first := uint64(time.Now().UnixNano()) / 1000
		fights := uint64(0)
		for end := time.Now().Add(stressTime(t)); time.Now().Before(end) || fights < 20; fights++ {
			if err := fight(backend, first+fights); err != nil {
				t.Fatalf("HOSTWHEEL_SEED=%d: %v", first+fights, err)
			}
		}
		t.Logf("%d fights", fights)
	})
}

// stressTime is how long tests go on that could go on for ever.
func stressTime(t *testing.T) time.Duration {
	text := os.Getenv("HOSTWHEEL_STRESS")
	if text == "" {
		return 2 * sec
	}
	d, err := time.ParseDuration(text)
	must(t, err)
	return d
}
