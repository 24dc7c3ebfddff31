//go:build hostwheel_native

package hostwheel

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/hostwheel/hostwheel/ffi/go/internal/native"
)

const nativeBuilt = true

// core is the backend in Rust. The library has the hosts, by record; their members stay here, found by the record's number.
//
// A renew makes no call in the usual case: it swaps the word in the library's record, with the steps of the library's own
// renew. See [host.renewNow].
type core struct {
	settings
	wheel *native.Wheel
	// index finds hosts by their ids, members by their handles.
	index   index
	members members
	// registering is held from a registration in the library until its host is in both.
	registering sync.Mutex

	announcing announcing
	// records is where the library has them; nil if renews are calls.
	records unsafe.Pointer
	// manualNS is the manual clock.
	manualNS atomic.Int64
	// file is the descriptor that is readable while events wait, as Run's own; nil while it does not run.
	file   atomic.Pointer[os.File]
	panics atomic.Uint64
	// guards are the guard events that were drained and not taken.
	guardsMu sync.Mutex
	guards   []GuardEvent
	shut     chan struct{}
	shutOnce sync.Once
	poisoned atomic.Bool
}

func newNative(s settings) (backend, error) {
	config := native.Config{
		HostTTL: lengthOf(s.hostTTL), Grace: lengthOf(s.grace), MinInterval: lengthOf(s.minInterval),
		MaxInterval: lengthOf(s.maxInterval), Watchdog: lengthOf(s.watchdog), Backstop: lengthOf(s.backstop),
		SettleTimeout: lengthOf(s.settleTimeout), MaxHosts: s.maxHosts, MaxOutstanding: s.maxOutstanding,
		SilenceExpected: max(s.silenceExpected, 0), Manual: s.manual,
	}
	if !s.brake.Off {
		config.BurstPermille, config.BurstMin = s.brake.BurstPermille, s.brake.BurstMin
		config.RefillPermille, config.RefillMin = s.brake.RefillPermille, s.brake.RefillMin
	}
	wheel, err := native.Open(&config)
	if err != nil {
		return nil, fmt.Errorf("hostwheel: open the native wheel: %w", err)
	}
	n := &core{settings: s, wheel: wheel, shut: make(chan struct{})}
	n.index.init()
	n.learnLayout()
	return n, nil
}

// learnLayout finds out where a renew has to look, and what the library's clock reads when ours does. Without it every renew
// is a call.
func (n *core) learnLayout() {
	a := &n.announcing
	a.manual, a.terms, a.keeps = n.manual, n.terms, n.wheel
	a.watch.init(n.manual)
	narrowest := time.Duration(1<<63 - 1)
	for range 16 {
		before := time.Since(a.watch.base)
		layout, ok := n.wheel.Layout()
		width := time.Since(a.watch.base) - before
		if !ok || !isKnown(layout) {
			a.raised, a.raisedBy = new(atomic.Uint64), new(atomic.Uint64)
			return
		}
		a.shift, a.until = (*atomic.Uint64)(layout.ShiftNS), (*atomic.Uint64)(layout.PlainUntil)
		a.raised, a.raisedBy = (*atomic.Uint64)(layout.RaisedNS), (*atomic.Uint64)(layout.RaisedByNS)
		a.openNS = layout.BaseNS
		if !n.manual && width < narrowest {
			// Our clock read at least before when the library's did: so a stamp may be late by the width, and is never early.
			narrowest, a.baseNS = width, layout.ReadingNS-uint64(before)
			n.records = layout.Records
		}
	}
}

// isKnown says whether the library's records look as record does.
func isKnown(l native.Layout) bool {
	var r record
	return l.RecordSize == unsafe.Sizeof(r) && l.Word == unsafe.Offsetof(r.truth) &&
		l.Armed == unsafe.Offsetof(r.armed) && l.Generation == unsafe.Offsetof(r.generation)
}

func (n *core) kind() Backend         { return Native }
func (n *core) done() <-chan struct{} { return n.shut }
func (n *core) panicked()             { n.panics.Add(1) }

func (n *core) closed() bool {
	select {
	case <-n.shut:
		return true
	default:
		return false
	}
}

func (n *core) close() {
	n.shutOnce.Do(func() {
		// Not by check, which closes.
		if n.wheel.Close() == native.ErrPanic {
			n.poisoned.Store(true)
		}
		close(n.shut)
	})
}

func (n *core) fault() error {
	if n.poisoned.Load() {
		return ErrPoisoned
	}
	return nil
}

// check makes an error of a code, and notes that the library is out of order if that is what it says.
func (n *core) check(code native.Code) error {
	switch code {
	case native.OK:
		return nil
	case native.ErrClosed:
		return ErrClosed
	case native.ErrStale:
		return ErrStale
	case native.ErrTaken:
		return ErrTaken
	case native.ErrFull:
		return ErrFull
	case native.ErrAttempt:
		return errAttempt
	case native.ErrPanic:
		if !n.poisoned.Swap(true) {
			n.close()
		}
		return ErrPoisoned
	default:
		return fmt.Errorf("hostwheel: %w", code)
	}
}

// ageIn is how long ago the host of an announce was heard.
func (n *core) ageIn(c call) time.Duration {
	switch {
	case !c.dated:
		return 0
	case c.aged:
		return lengthOf(c.age)
	case n.manual:
		return n.announcing.ageOf(c.at, time.Duration(n.manualNS.Load()))
	default:
		return n.announcing.ageOf(c.at, time.Since(n.announcing.watch.base))
	}
}

func (n *core) touch(h *host, c call) (Outcome, error) {
	if !c.sets {
		outcome, code := n.wheel.Renew(h.handle, n.ageIn(c))
		return Outcome(outcome), n.check(code)
	}
	outcome, code := n.wheel.AnnounceHandle(h.handle, c.interval, n.ageIn(c))
	return Outcome(outcome), n.check(code)
}

func (n *core) hear(id string, c call) (*host, Outcome, bool) {
	h := n.index.get(id)
	if h == nil {
		return nil, 0, false
	}
	if !c.dated {
		// In its usual form the announce is a renew: the interval is the one that it was.
		if cadence, clamped := n.clamp(c.interval); !clamped && h.announcing != nil && h.renewNow(cadence) {
			return h, Renewed, true
		}
	}
	outcome, err := n.touch(h, c)
	return h, outcome, err == nil
}

func (n *core) register(id string, c call, fresh func() *host) (*host, Outcome, error) {
	n.registering.Lock()
	defer n.registering.Unlock()
	// Another goroutine may have been faster. While we hold the lock, nobody else registers.
	if h, outcome, ok := n.hear(id, c); ok {
		return h, outcome, nil
	}
	handle, _, code := n.wheel.Register(id, c.interval, n.ageIn(c))
	if err := n.check(code); err != nil {
		return nil, 0, err
	}
	return n.enter(handle, fresh), Registered, nil
}

func (n *core) replace(id string, interval time.Duration, fresh func() *host) (*host, *host, error) {
	n.registering.Lock()
	defer n.registering.Unlock()
	handle, ended, code := n.wheel.Replace(id, interval)
	if err := n.check(code); err != nil {
		return nil, nil, err
	}
	old := n.members.of(ended)
	h := n.enter(handle, fresh)
	if old != nil {
		n.forget(old)
	}
	return h, old, nil
}

// enter makes the host of a handle that the library has just given out. The caller holds registering.
func (n *core) enter(handle uint64, fresh func() *host) *host {
	h := fresh()
	h.handle = handle
	if n.records != nil {
		h.announcing = &n.announcing
		h.record = (*record)(unsafe.Add(n.records, uintptr(h.index())*unsafe.Sizeof(record{})))
	}
	n.members.put(h)
	n.index.put(h)
	return h
}

func (n *core) lookup(id string) *host {
	h := n.index.get(id)
	if h == nil || n.phase(h).alive() {
		return h
	}
	// It may have been replaced at this moment.
	n.registering.Lock()
	defer n.registering.Unlock()
	return n.find(id)
}

// memberOf is the member of a handle that the library gave out; nil if it has left.
func (n *core) memberOf(handle uint64) *host {
	if h := n.members.of(handle); h != nil {
		return h
	}
	// It may be registering at this moment.
	n.registering.Lock()
	defer n.registering.Unlock()
	return n.members.of(handle)
}

func (n *core) leave(h *host) error {
	if err := n.check(n.wheel.Leave(h.handle)); err != nil {
		return err
	}
	n.forget(h)
	return nil
}

// forget lets go of a host that has left, and of its value with it.
func (n *core) forget(h *host) {
	n.index.remove(h)
	n.members.remove(h)
}

func (n *core) phase(h *host) phase {
	if r := h.record; r != nil {
		w := word(r.truth.Load())
		current := r.generation.Load() == h.generation()
		runtime.KeepAlive(h)
		if !current {
			return freed
		}
		return w.phase()
	}
	status, err := n.inspect(h)
	switch {
	case err != nil:
		return freed
	case status.State == Suspected:
		return suspect
	case status.State == Taken:
		return taken
	default:
		return live
	}
}

func (n *core) find(id string) *host {
	h := n.index.get(id)
	if h == nil || !n.phase(h).alive() {
		return nil
	}
	return h
}

func (n *core) each(f func(*host) bool) {
	n.index.each(func(h *host) bool {
		if !n.phase(h).alive() {
			if h = n.lookup(h.id); h == nil {
				return true
			}
		}
		return f(h)
	})
}

func (n *core) inspect(h *host) (Status, error) {
	out, code := n.wheel.Inspect(h.handle)
	if err := n.check(code); err != nil {
		return Status{}, err
	}
	s := Status{
		Handle:   h.handle,
		State:    State(out.State),
		Interval: time.Duration(out.IntervalNS),
		LastSeen: time.Duration(out.LastSeenNS),
		Age:      time.Duration(out.AgeNS),
		Deadline: time.Duration(out.DeadlineNS),
		LeavesAt: time.Duration(out.LeavesAtNS),
		HeldBy:   Hold(out.HeldBy),
	}
	if out.NextLookNS != native.Never {
		s.Looked, s.NextLook = true, time.Duration(out.NextLookNS)
	}
	if s.HeldBy != NotHeld {
		s.HeldSince = time.Duration(out.HeldNS)
	}
	return s, nil
}

func (n *core) stats() Stats {
	out, code := n.wheel.Stats()
	_ = n.check(code) // out of order: all figures are 0
	return Stats{
		Live: out.Live, Suspect: out.Suspect, Registered: out.Registered, Left: out.Left,
		LeavesTTL: out.LeavesTTL, LeavesHostTTL: out.LeavesHostTTL, LeavesBackstop: out.LeavesBackstop,
		Suspects: out.Suspects, Recoveries: out.Recoveries, Retries: out.Retries, Panics: n.panics.Load(),
		Rescues: out.Rescues, Sweeps: out.Sweeps, Superseded: out.Superseded, Clamps: out.Clamps,
		Outstanding: out.Outstanding, Waiting: out.Waiting,
		Silence: time.Duration(out.SilenceNS), Silences: out.Silences, Brake: time.Duration(out.BrakeNS),
		Away: time.Duration(out.AwayNS), Now: time.Duration(out.NowNS),
		Margin: marginOf(out.Clock, time.Duration(out.MarginNS), n.announcing.watch.margin()),
		Visits: out.Visits, WakeUps: out.WakeUps, Lateness: out.Lateness,
		LatenessSum: time.Duration(out.LatenessSumNS), LatenessMax: time.Duration(out.LatenessMaxNS),
		Records: out.Records, MemoryRefusals: out.MemoryRefusals,
	}
}

// marginOf is by how much a stamp may be late, whoever makes it. The library makes its own, with its clock's margin; ours have
// the watch's. The coarse clock's margin is in the shift, and so in ours as well.
func marginOf(clock uint32, library, watch time.Duration) time.Duration {
	if clock == native.ClockCoarse {
		return library + watch
	}
	return max(library, watch)
}

func (n *core) release() error { return n.check(n.wheel.Release()) }

// run fills the mailbox whenever the library says that events wait.
func (n *core) run(stop <-chan struct{}, m *mailbox) {
	file, err := n.openEvents()
	if err != nil {
		// Out of descriptors, which will not stay so: look now and then.
		n.poll(stop, m)
		return
	}
	defer file.Close()
	n.file.Store(file)
	defer n.file.Store(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-stop:
		case <-n.shut:
		case <-ended:
		}
		// Ends the wait, and all waits to come.
		_ = file.Close()
	}()
	conn, err := file.SyscallConn()
	if err != nil {
		n.poll(stop, m)
		return
	}
	for err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		// Before the mailbox is filled: who makes room after that sets it again.
		if file.SetReadDeadline(time.Time{}) != nil {
			// Closed, for it is the end; or the poller has no room for it.
			n.poll(stop, m)
			return
		}
		// Inside the poller's function: an event that comes after the fill ends the wait that follows.
		err = conn.Read(func(uintptr) bool { return m.fill(n) > 0 })
	}
}

// poll fills the mailbox without the descriptor.
func (n *core) poll(stop <-chan struct{}, m *mailbox) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-n.shut:
			return
		case <-ticker.C:
			m.fill(n)
		}
	}
}

// openEvents makes a descriptor of our own, so that it can be closed while the library goes on.
func (n *core) openEvents() (*os.File, error) {
	fd, code := n.wheel.EventFD()
	if err := n.check(code); err != nil {
		return nil, err
	}
	own, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	runtime.KeepAlive(n.wheel)
	if errno != 0 {
		return nil, errno
	}
	return os.NewFile(own, "hostwheel events"), nil
}

func (n *core) wake() {
	if file := n.file.Load(); file != nil {
		// It fails only when run has ended.
		_ = file.SetReadDeadline(time.Unix(1, 0))
	}
}

func (n *core) advance(now time.Duration) int {
	n.manualNS.Store(max(n.manualNS.Load(), int64(now)))
	made, code := n.wheel.Advance(now)
	_ = n.check(code) // closed meanwhile: the caller looks for that
	return made
}

func (n *core) drain(limit int) []event {
	var events []event
	for len(events) < limit {
		drained, code := n.wheel.Drain(limit-len(events), func(e *native.Event) {
			if Kind(e.Kind) == guardKind {
				n.noteGuard(e)
			} else if h := n.memberOf(e.Handle); h != nil {
				events = append(events, eventFrom(e, h))
			} else if Kind(e.Kind) == SuspectEvent {
				// It has said goodbye since.
				_ = n.wheel.Told(e.Handle)
			}
		})
		if n.check(code) != nil || drained == 0 {
			break // empty; or out of order, and closed for that
		}
	}
	return events
}

// guardKind is the kind of an event that is about a guard and no host.
const guardKind Kind = 4

func (n *core) noteGuard(e *native.Event) {
	n.guardsMu.Lock()
	defer n.guardsMu.Unlock()
	n.guards = append(n.guards, GuardEvent{
		Kind:    GuardKind(e.Reason),
		Since:   time.Duration(e.LastSeenNS),
		Now:     time.Duration(e.NowNS),
		Lasted:  time.Duration(e.AwayNS),
		Waiting: int(e.Waiting),
	})
	if len(n.guards) > guardsKept {
		n.guards = append(n.guards[:0], n.guards[1:]...)
	}
}

func (n *core) guardsWait() bool {
	n.guardsMu.Lock()
	defer n.guardsMu.Unlock()
	return len(n.guards) > 0
}

func (n *core) drainGuards() []GuardEvent {
	n.guardsMu.Lock()
	defer n.guardsMu.Unlock()
	events := n.guards
	n.guards = nil
	return events
}

func eventFrom(e *native.Event, h *host) event {
	return event{
		kind:       Kind(e.Kind),
		reason:     Reason(e.Reason),
		superseded: e.Superseded,
		attempt:    int(e.Attempt),
		host:       h,
		interval:   time.Duration(e.IntervalNS),
		lastSeen:   time.Duration(e.LastSeenNS),
		deadline:   time.Duration(e.DeadlineNS),
		now:        time.Duration(e.NowNS),
		lateness:   time.Duration(e.LatenessNS),
		away:       time.Duration(e.AwayNS),
		held:       time.Duration(e.HeldNS),
	}
}

// supersede: the library looked when the leave was drained. It may have come back since.
func (n *core) supersede(e *event) {
	if !e.superseded {
		h := n.find(e.host.id)
		e.superseded = h != nil && h != e.host
	}
}

func (n *core) told(h *host) { _ = n.check(n.wheel.Told(h.handle)) }

func (n *core) settle(h *host, attempt int, v Verdict) error {
	err := n.check(n.wheel.Settle(h.handle, attempt, v.retry, v.after))
	switch {
	case errors.Is(err, ErrStale):
		return errNoLeave
	case err == nil && !v.retry:
		n.forget(h)
	}
	return err
}
