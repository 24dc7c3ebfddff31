package hostwheel

import (
	"fmt"
	"time"
)

// Outcome says what an announce did.
type Outcome int

const (
	// Registered: the host is new, or came back after it left: it has a new member and handle.
	Registered Outcome = iota + 1
	// Renewed: the host was known.
	Renewed
	// Recovered: the host was suspect and is trusted again.
	Recovered
)

// String is the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Registered:
		return "registered"
	case Renewed:
		return "renewed"
	case Recovered:
		return "recovered"
	default:
		return "none"
	}
}

// Kind says what happened to a host.
type Kind int

const (
	// SuspectEvent: its TTL passed without an announce. It leaves after the grace unless it is heard.
	SuspectEvent Kind = iota + 1
	// RecoveredEvent: a suspect was heard again.
	RecoveredEvent
	// LeaveEvent: it is gone.
	LeaveEvent
)

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case SuspectEvent:
		return "suspect"
	case RecoveredEvent:
		return "recovered"
	case LeaveEvent:
		return "leave"
	default:
		return "unknown"
	}
}

// Reason says which rule ended a host's life.
type Reason int

const (
	// TTL: twice its own interval, and the grace, passed.
	TTL Reason = iota + 1
	// HostTTL: it announced without an interval; the host TTL, and the grace, passed.
	HostTTL
	// Backstop: the native core had lost it, and found it again.
	Backstop
)

// String is the reason's name.
func (r Reason) String() string {
	switch r {
	case TTL:
		return "ttl"
	case HostTTL:
		return "host_ttl"
	case Backstop:
		return "backstop"
	default:
		return "unknown"
	}
}

// Verdict is the answer to a leave: [Done] or [Retry].
type Verdict struct {
	retry bool
	after time.Duration
}

// Done says that the host's metadata is gone. It is the zero Verdict.
var Done Verdict

// Retry says: not now, hand the leave out again after this long; after 1 s, 2 s, 4 s ... 60 s if it is not positive.
func Retry(after time.Duration) Verdict {
	return Verdict{retry: true, after: max(after, 0)}
}

// Event tells of one host. Times of day in it are wheel time: time since [New], less the time in which nobody watched. An
// event is the callback's own; it may be kept.
type Event[V any] struct {
	Kind   Kind
	Reason Reason
	// Superseded: the id had come back as another member when a leave was handed out. A snapshot: the host may come back a
	// moment later, so compare handles before you delete.
	Superseded bool
	// Attempt says how many times this leave was handed out, this time included; 1 for other events.
	Attempt int
	// Member is the incarnation that the event is about.
	Member *Member[V]
	// Interval is the effective interval that the host announced with; 0 if it announced without one.
	Interval time.Duration
	// LastSeen is when the host was last heard.
	LastSeen time.Duration
	// Deadline is when its TTL ended. The grace is not part of it.
	Deadline time.Duration
	// Now is when the event was made.
	Now time.Duration
	// Lateness is how long after it was due the event was made: a suspect after the deadline, a leave after deadline and grace.
	Lateness time.Duration
	// Away is time since the last announce that was not counted because nobody watched; at most.
	Away time.Duration
	// Held is how long silence, the brake or outstanding leaves held a leave back; part of its lateness.
	Held time.Duration
}

// ID is the host's id.
func (e *Event[V]) ID() string { return e.Member.ID() }

// Value is the value given at registration.
func (e *Event[V]) Value() V { return e.Member.Value() }

// Handle is the incarnation's handle.
func (e *Event[V]) Handle() uint64 { return e.Member.Handle() }

// String is one line that an operator understands.
func (e *Event[V]) String() string {
	text := fmt.Sprintf("%v: host %q (%#x)", e.Kind, e.ID(), e.Handle())
	if e.Kind == RecoveredEvent {
		text += " was heard again"
	} else {
		text += fmt.Sprintf(" not heard for %v", e.Now-e.LastSeen)
		if e.Interval > 0 {
			text += fmt.Sprintf(", announced every %v", e.Interval)
		} else {
			text += ", announced no interval (host TTL)"
		}
	}
	text += fmt.Sprintf("; last seen at %v, deadline %v, now %v", e.LastSeen, e.Deadline, e.Now)
	if e.Kind != RecoveredEvent {
		text += fmt.Sprintf(", late by %v", e.Lateness)
	}
	if e.Away > 0 {
		text += fmt.Sprintf(", %v not counted", e.Away)
	}
	if e.Held > 0 {
		text += fmt.Sprintf(", held back for %v", e.Held)
	}
	if e.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", e.Attempt)
	}
	if e.Superseded {
		text += ", came back since under another handle"
	}
	return text
}
