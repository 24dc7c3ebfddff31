package hostwheel

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Wheel is a set of hosts, and what tells which of them have gone. Make one with [New]. All methods may be called from
// all goroutines, also inside callbacks, unless they say otherwise.
type Wheel[V any] struct {
	core    backend
	config  Config[V]
	mail    *mailbox
	running atomic.Bool
	// advancing is held by Advance.
	advancing sync.Mutex
	// newborn are the hosts that registered during the present Advance, by handle; nil outside. deferred are their events, which
	// the next one delivers.
	newbornMu sync.Mutex
	newborn   map[uint64]bool
	deferred  []event
	// telling is held while guard events are told.
	telling sync.Mutex
	past    past
}

// Member is one incarnation of one host, from its registration to its leave. A host that comes back after it left is
// another member with another handle. Members may be kept for as long as they are of use; all methods may be called from
// all goroutines, also inside callbacks and after the host has left or the wheel was closed.
type Member[V any] struct {
	host  host // first: see memberOf
	value V
}

// AnnounceOption changes what an announce says; see [SeenAt].
type AnnounceOption struct {
	dated  bool
	seenAt time.Time
}

// SeenAt says that the host was heard at t, not now. News from before its last announce changes nothing. An instant in
// the future counts as now, however far it is. The zero time is refused with ErrInvalid.
func SeenAt(t time.Time) AnnounceOption {
	return AnnounceOption{dated: true, seenAt: t}
}

// New opens a wheel. It starts no goroutine: call [Wheel.Run], without which nothing is delivered. A wheel that is dropped
// needs no Close.
//
// Errors: ErrInvalid, which names the setting that contradicts another, is out of range, or is not in this build; with the
// native backend also what the system said.
func New[V any](config Config[V]) (*Wheel[V], error) {
	s, err := config.check()
	if err != nil {
		return nil, err
	}
	return newWheel(config, s)
}

// newWheel opens a wheel with a configuration that was checked.
func newWheel[V any](config Config[V], s settings) (*Wheel[V], error) {
	if config.Backend == Pure || config.Backend == DefaultBackend && !nativeBuilt {
		return &Wheel[V]{core: newPure(s), config: config, mail: newMailbox()}, nil
	}
	core, err := newNative(s)
	if err != nil {
		return nil, err
	}
	return &Wheel[V]{core: core, config: config, mail: newMailbox()}, nil
}

func checkAnnounce(id string, interval time.Duration) error {
	if len(id) == 0 || len(id) > LongestID {
		return errIDLength
	}
	return checkInterval(interval)
}

func checkInterval(interval time.Duration) error {
	if interval < 0 {
		return invalid("the interval %v is negative", interval)
	}
	return nil
}

// Announce says that the host id was heard, and will be again within the interval; 0 says nothing about that, and the
// host TTL applies. An unknown host is registered with the value v. A known one keeps its value and takes over the
// interval, which may change at any announce; it is clamped to the configured bounds.
//
// Errors: ErrInvalid (the id's length, a negative interval), ErrFull, ErrClosed. Nothing has changed then.
func (w *Wheel[V]) Announce(id string, interval time.Duration, v V, options ...AnnounceOption) (*Member[V], Outcome, error) {
	c := call{sets: true, interval: interval}
	for _, option := range options {
		if option.dated {
			if option.seenAt.IsZero() {
				return nil, 0, errZeroTime
			}
			c.dated, c.at = true, option.seenAt
		}
	}
	return w.announce(id, c, v)
}

func (w *Wheel[V]) announce(id string, c call, v V) (*Member[V], Outcome, error) {
	if err := checkAnnounce(id, c.interval); err != nil {
		return nil, 0, err
	}
	// A wheel that is closed hears nobody.
	if h, outcome, ok := w.core.hear(id, c); ok {
		return memberOf[V](h), outcome, nil
	}
	if err := w.refused(); err != nil {
		return nil, 0, err
	}
	return w.register(id, c, v)
}

// refused is why the wheel takes nothing any more, nil while it does.
func (w *Wheel[V]) refused() error {
	if !w.core.closed() {
		return nil
	}
	if err := w.core.fault(); err != nil {
		return err
	}
	return ErrClosed
}

// register is a function of its own so that its closure is not paid for by announces of known hosts.
func (w *Wheel[V]) register(id string, c call, v V) (*Member[V], Outcome, error) {
	h, outcome, err := w.core.register(id, c, w.fresh(id, v))
	if err != nil {
		return nil, 0, err
	}
	if outcome == Registered {
		w.bear(h)
	}
	return memberOf[V](h), outcome, nil
}

// bear notes a host that registered during an Advance.
func (w *Wheel[V]) bear(h *host) {
	if !w.config.Manual {
		return
	}
	w.newbornMu.Lock()
	defer w.newbornMu.Unlock()
	if w.newborn != nil {
		w.newborn[h.handle] = true
	}
}

// Replace says that the host id came back as another process: it ends the member that is known, without a leave event, and begins
// a new one with the value v, in one step for everybody else. At no moment is the id unknown, or known twice. It returns the new
// member, and the one that ended; that is nil if the id was not known, or was handed out as a leave.
//
// The old member is stale: a late goodbye by it does not end the new one. So say goodbye by [Member.Leave], and put the member's
// handle, or a boot id of your own, into the message.
//
// Errors: ErrInvalid (the id's length, a negative interval), ErrFull (the id is not known, and MaxHosts are), ErrClosed. Nothing
// has changed then.
func (w *Wheel[V]) Replace(id string, interval time.Duration, v V) (member, ended *Member[V], err error) {
	if err := checkAnnounce(id, interval); err != nil {
		return nil, nil, err
	}
	if err := w.refused(); err != nil {
		return nil, nil, err
	}
	h, old, err := w.core.replace(id, interval, w.fresh(id, v))
	if err != nil {
		return nil, nil, err
	}
	w.bear(h)
	if old != nil {
		ended = memberOf[V](old)
	}
	return memberOf[V](h), ended, nil
}

// fresh makes the host of a new member.
func (w *Wheel[V]) fresh(id string, v V) func() *host {
	return func() *host {
		m := newMember(w.core.kind(), id, v)
		m.host.core = w.core
		return &m.host
	}
}

// newMember makes a member, with room for its id and what the backend in Go needs in the same piece of memory. The id and what
// an announce touches of the host get a cache line each: their sizes, if V is a pointer, make whole lines.
func newMember[V any](kind Backend, id string, v V) *Member[V] {
	if kind == Pure {
		whole := &struct {
			room   idRoom
			member Member[V]
			pure   pureHost
			_      [56]byte
		}{member: Member[V]{value: v}}
		whole.member.host.pureHost = &whole.pure
		whole.member.host.setID(id, &whole.room)
		return &whole.member
	}
	whole := &struct {
		room   idRoom
		member Member[V]
		_      [40]byte
	}{member: Member[V]{value: v}}
	whole.member.host.setID(id, &whole.room)
	return &whole.member
}

// memberOf is the member around a host of a wheel of that type.
func memberOf[V any](h *host) *Member[V] {
	// Its first field, and made by newMember.
	return (*Member[V])(unsafe.Pointer(h))
}

// Leave removes the host that says goodbye at once. It fires no event.
//
// Errors: ErrInvalid (the id's length), ErrNotFound (also of a host that was handed out as a leave), ErrClosed.
func (w *Wheel[V]) Leave(id string) error {
	if err := checkAnnounce(id, 0); err != nil {
		return err
	}
	if err := w.refused(); err != nil {
		return err
	}
	for {
		h := w.core.lookup(id)
		if h == nil {
			return ErrNotFound
		}
		// Stale, or taken: it has left meanwhile, or was replaced, and then the goodbye is its successor's.
		if err := w.core.leave(h); err != ErrStale && err != ErrTaken {
			return err
		}
	}
}

// Lookup finds a host that is known and not handed out as a leave. It works after Close as well.
func (w *Wheel[V]) Lookup(id string) (*Member[V], bool) {
	h := w.core.lookup(id)
	if h == nil {
		return nil, false
	}
	return memberOf[V](h), true
}

// All yields every host that is known and not handed out as a leave, in no particular order. Hosts that come or go
// meanwhile may be missed. The loop may call the wheel. It works after Close as well.
func (w *Wheel[V]) All() iter.Seq[*Member[V]] {
	return func(yield func(*Member[V]) bool) {
		w.core.each(func(h *host) bool { return yield(memberOf[V](h)) })
	}
}

// Stats are the counters at this moment. It works after Close as well.
func (w *Wheel[V]) Stats() Stats {
	s := w.core.stats()
	// A suspect that has just said goodbye is counted out of the hosts at once, and out of the suspects at the next look.
	s.Suspect = min(s.Suspect, s.Live)
	return s
}

// Release has the brake let as many hosts go at once as wait for it now: for an operator who knows that they are gone. It
// takes effect at the next look at the clock. A silence is not ended by it.
//
// Errors: ErrClosed.
func (w *Wheel[V]) Release() error { return w.core.release() }

// Backend says which implementation works.
func (w *Wheel[V]) Backend() Backend { return w.core.kind() }

// Close closes the wheel: from now on announces, renewals and leaves are refused, hosts still known get no leave, and
// callbacks come to an end. It only asks: the return of Run, or of Advance, says that no callback runs any more. So it may be
// called inside a callback, and more than once.
//
// Errors: ErrPoisoned.
func (w *Wheel[V]) Close() error {
	w.core.close()
	return w.core.fault()
}

// Run delivers events until ctx ends or the wheel is closed, on goroutines of its own, and then waits for the callbacks
// that run. No callback runs after it returned. It returns nil if the wheel was closed, and else the cause of ctx's end;
// then it may be called again.
//
// While it does not run, the backend in Go looks at no host, and time counts against none. The native backend has a thread
// that goes on looking; what it finds waits for Run.
//
// With a manual clock it only waits: there, Advance delivers.
//
// Errors: ErrInvalid if it is running already, ErrPoisoned.
func (w *Wheel[V]) Run(ctx context.Context) error {
	if !w.running.CompareAndSwap(false, true) {
		return invalid("Run is running already")
	}
	defer w.running.Store(false)
	if w.config.Manual {
		select {
		case <-ctx.Done():
		case <-w.core.done():
		}
	} else {
		w.runWorkers(ctx)
	}
	if w.core.closed() {
		return w.core.fault()
	}
	return context.Cause(ctx)
}

func (w *Wheel[V]) runWorkers(ctx context.Context) {
	var workers sync.WaitGroup
	w.mail.open()
	for range w.config.Workers {
		workers.Add(1)
		go w.work(&workers)
	}
	defer workers.Wait()
	defer w.mail.stop()
	w.core.run(ctx.Done(), w.mail)
}

func (w *Wheel[V]) work(workers *sync.WaitGroup) {
	ended := false
	defer func() {
		if ended {
			workers.Done()
		} else {
			// A callback has ended its goroutine (runtime.Goexit). Another one takes over.
			go w.work(workers)
		}
	}()
	for w.workOnce() {
	}
	ended = true
}

// workOnce makes one callback; false if there will be none any more.
func (w *Wheel[V]) workOnce() bool {
	e, ok := w.mail.take(w.core)
	if !ok {
		return false
	}
	if e.host == nil {
		w.tellGuards()
		return true
	}
	defer w.mail.finish(e.host)
	w.deliver(&e)
	return true
}

// tellGuards calls back with the guard events that wait, one at a time and in order.
func (w *Wheel[V]) tellGuards() {
	w.telling.Lock()
	defer w.telling.Unlock()
	for _, e := range w.core.drainGuards() {
		if w.config.Guard != nil && !w.core.closed() {
			w.tellGuard(e)
		}
	}
}

func (w *Wheel[V]) tellGuard(e GuardEvent) {
	returned := false
	defer func() {
		if !returned {
			w.core.panicked()
			w.log("hostwheel: a guard callback panicked", "event", e.String(), "panic", fmt.Sprint(recover()))
		}
	}()
	w.config.Guard(e)
	returned = true
}

// deliver calls back with an event, and answers it.
func (w *Wheel[V]) deliver(e *event) {
	gone := e.kind != LeaveEvent && !w.core.phase(e.host).known()
	if gone && e.kind == SuspectEvent {
		w.core.told(e.host)
	}
	// A host that has said goodbye since fires nothing.
	if gone || w.core.closed() {
		return
	}
	verdict, returned := Retry(0), false
	defer func() {
		switch e.kind {
		case LeaveEvent:
			// Refused only if the wheel was closed meanwhile: then nothing is handed out again, and no answer is needed.
			_ = w.core.settle(e.host, e.attempt, verdict)
		case SuspectEvent:
			w.core.told(e.host)
		}
		if !returned {
			w.core.panicked()
			w.logPanic(e, recover())
		}
	}()
	verdict = w.callBack(e)
	returned = true
}

func (w *Wheel[V]) callBack(e *event) Verdict {
	switch e.kind {
	case SuspectEvent:
		if w.config.Suspect != nil {
			w.config.Suspect(eventOf[V](e))
		}
	case RecoveredEvent:
		if w.config.Recovered != nil {
			w.config.Recovered(eventOf[V](e))
		}
	default:
		w.core.supersede(e)
		if w.config.Leave != nil {
			return w.config.Leave(eventOf[V](e))
		}
	}
	return Done
}

func (w *Wheel[V]) logPanic(e *event, reason any) {
	if reason == nil {
		reason = "runtime.Goexit"
	}
	w.log("hostwheel: a callback panicked; a leave is handed out again", "event", e.kind.String(),
		"host", e.host.id, "panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
}

func (w *Wheel[V]) log(message string, args ...any) {
	logger := w.config.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Error(message, args...)
}

func eventOf[V any](e *event) *Event[V] {
	return &Event[V]{
		Kind:       e.kind,
		Reason:     e.reason,
		Superseded: e.superseded,
		Attempt:    e.attempt,
		Member:     memberOf[V](e.host),
		Interval:   e.interval,
		LastSeen:   e.lastSeen,
		Deadline:   e.deadline,
		Now:        e.now,
		Lateness:   e.lateness,
		Away:       e.away,
		Held:       e.held,
	}
}

// Advance moves the manual clock to now, counted from New, calls back with all that is due by then, and returns the number
// of events. A time before the present one counts as the present. What callbacks announce or leave is looked at by the
// next Advance at the latest.
//
// An advance by more than the watchdog allows is a late look: the excess counts as time in which nobody watched. Switch
// the watchdog off to make all time count.
//
// Errors: ErrInvalid (the wheel has a clock of its own; another Advance is at work, or this one was called inside a
// callback), ErrClosed, ErrPoisoned.
func (w *Wheel[V]) Advance(now time.Duration) (int, error) {
	if !w.config.Manual {
		return 0, invalid("Advance: the wheel has a clock of its own; set Manual")
	}
	if !w.advancing.TryLock() {
		return 0, invalid("Advance: another one is at work, or this is inside a callback")
	}
	defer w.advancing.Unlock()
	if err := w.refused(); err != nil {
		return 0, err
	}
	w.beginAdvance()
	defer w.endAdvance()
	delivered := 0
	for {
		w.core.advance(now)
		before := delivered
		// One at a time: a callback may end this goroutine, and what was not drained is not lost then.
		for e, ok := w.nextEvent(); ok; e, ok = w.nextEvent() {
			if w.core.closed() {
				return delivered, w.core.fault()
			}
			w.tellGuards()
			w.deliver(&e)
			delivered++
		}
		w.tellGuards()
		if delivered == before {
			return delivered, w.core.fault()
		}
	}
}

func (w *Wheel[V]) beginAdvance() {
	w.newbornMu.Lock()
	defer w.newbornMu.Unlock()
	w.newborn = make(map[uint64]bool)
}

func (w *Wheel[V]) endAdvance() {
	w.newbornMu.Lock()
	defer w.newbornMu.Unlock()
	w.newborn = nil
}

// nextEvent is the next event for Advance to deliver. Those of hosts that registered meanwhile are the next one's: else a callback
// that brings its host back overdue would keep this one for ever.
func (w *Wheel[V]) nextEvent() (event, bool) {
	w.newbornMu.Lock()
	defer w.newbornMu.Unlock()
	if n := len(w.deferred); n > 0 && !w.newborn[w.deferred[0].host.handle] {
		e := w.deferred[0]
		w.deferred = w.deferred[1:]
		return e, true
	}
	for {
		events := w.core.drain(1)
		if len(events) == 0 {
			return event{}, false
		}
		if !w.newborn[events[0].host.handle] {
			return events[0], true
		}
		w.deferred = append(w.deferred, events[0])
	}
}

// Renew says that the host was heard; its interval stays. The cheapest announce but for RenewAt: it takes no lock and
// allocates nothing.
//
// Errors: ErrStale, ErrTaken, ErrClosed.
func (m *Member[V]) Renew() error {
	if h := &m.host; h.announcing != nil && h.renewNow(anyCadence) {
		return nil
	}
	return m.touch(call{})
}

// touch announces the host in a form that is not the usual one.
func (m *Member[V]) touch(c call) error {
	_, err := m.host.core.touch(&m.host, c)
	return err
}

// RenewAt is Renew for a host that was heard at t. It reads no clock (but once a second), so a caller who hears many hosts
// at a time reads it once for all. News from before the last announce changes nothing; an instant in the future counts as
// now, however far it is, to within a second.
//
// Errors: ErrInvalid (the zero time), ErrStale, ErrTaken, ErrClosed.
func (m *Member[V]) RenewAt(t time.Time) error {
	if h := &m.host; h.announcing != nil && h.renewAt(t) {
		return nil
	}
	if t.IsZero() {
		return errZeroTime
	}
	return m.touch(call{dated: true, at: t})
}

// AnnounceAt says that the host was heard at t and what its interval is from now on, as Announce does.
//
// Errors: ErrInvalid (a negative interval, the zero time), ErrStale, ErrTaken, ErrClosed.
func (m *Member[V]) AnnounceAt(t time.Time, interval time.Duration) error {
	if err := checkInterval(interval); err != nil {
		return err
	}
	if t.IsZero() {
		return errZeroTime
	}
	return m.touch(call{dated: true, at: t, sets: true, interval: interval})
}

// Leave removes the host that says goodbye at once. It fires no event.
//
// Errors: ErrStale, ErrTaken, ErrClosed.
func (m *Member[V]) Leave() error { return m.host.core.leave(&m.host) }

// Suspect says whether the host is past its TTL and within its grace: choose it less.
func (m *Member[V]) Suspect() bool { return m.host.core.phase(&m.host) == suspect }

// Interval is the effective interval that the host announced with last; 0 if it announced without one. Of a host that has
// left it means nothing. It is a load of what a renew touches anyway.
func (m *Member[V]) Interval() time.Duration { return m.host.interval() }

// ID is the host's id.
func (m *Member[V]) ID() string { return m.host.id }

// Value is the value given at registration.
func (m *Member[V]) Value() V { return m.value }

// Handle names this incarnation: no other member of this wheel ever has the same. It is never 0.
func (m *Member[V]) Handle() uint64 { return m.host.handle }

// Inspect tells what decides the host's fate. It works after Close as well.
//
// Errors: ErrStale.
func (m *Member[V]) Inspect() (Status, error) { return m.host.core.inspect(&m.host) }
