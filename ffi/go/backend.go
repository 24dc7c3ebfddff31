package hostwheel

import "time"

// backend is an implementation of the wheel, less what is generic in the hosts' values, and less callbacks: it makes
// events, which its owner drains and, if they are leaves, settles. All methods may be called from all goroutines, but for
// run and advance, which its owner calls one at a time.
type backend interface {
	kind() Backend
	// hear announces a host that is known and alive; false if there is none, and nothing was done.
	hear(id string, c call) (*host, Outcome, bool)
	// register announces a host that hear did not find. fresh makes the host, with the value around it.
	register(id string, c call, fresh func() *host) (*host, Outcome, error)
	// replace ends the known incarnation of a host, and begins another one, in one step for everybody else. It returns both; the
	// second one is nil if none was known.
	replace(id string, interval time.Duration, fresh func() *host) (*host, *host, error)
	// touch announces a host by itself, in any form. (The usual one is [host.renewNow].)
	touch(h *host, c call) (Outcome, error)
	leave(h *host) error
	phase(h *host) phase
	find(id string) *host
	// lookup is find, which waits for a replacement that is under way.
	lookup(id string) *host
	// each walks over all hosts that are alive, until f says false.
	each(f func(*host) bool)
	inspect(h *host) (Status, error)
	stats() Stats
	release() error
	// effectiveInterval is what an announced interval counts as, in milliseconds.
	effectiveInterval(interval time.Duration) tick
	// life is the TTL and the grace of a host that announces with this interval, in milliseconds.
	life(interval time.Duration) (tick, tick)

	// run observes until stop is closed or the wheel is, and puts events into the mailbox while that has room.
	run(stop <-chan struct{}, m *mailbox)
	// wake tells run that the mailbox has room.
	wake()
	// advance moves the manual clock, observes until nothing more is due or there is no room for events, and says how many it
	// made.
	advance(now time.Duration) int
	// drain takes at most limit events. A leave waits for its answer from now on.
	drain(limit int) []event
	// guardsWait says whether guard events wait, drainGuards takes them, the oldest first.
	guardsWait() bool
	drainGuards() []GuardEvent
	// supersede notes in a leave that is about to be handed out whether its id has come back.
	supersede(e *event)
	// told says that the consumer has seen a suspect event: the host may be taken now.
	told(h *host)
	// settle answers an attempt of a leave.
	settle(h *host, attempt int, v Verdict) error
	panicked()
	close()
	closed() bool
	// done is closed when the wheel is.
	done() <-chan struct{}
	// fault is what broke the backend: ErrPoisoned, or nil.
	fault() error
}

// call is an announce.
type call struct {
	// dated: the host was heard at the instant at, or age ago if aged; not now.
	dated, aged bool
	at          time.Time
	age         tick
	// sets: the announce brings the interval along.
	sets     bool
	interval time.Duration
}

// event is an event of a host, without its value.
type event struct {
	kind       Kind
	reason     Reason
	superseded bool
	attempt    int
	host       *host
	interval   time.Duration
	lastSeen   time.Duration
	deadline   time.Duration
	now        time.Duration
	lateness   time.Duration
	away       time.Duration
	held       time.Duration
}
