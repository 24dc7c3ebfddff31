package hostwheel_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// model is what the documentation promises, as plainly as possible: a list of incarnations, and one loop over all of them
// per question. Time is the manual clock's, and all of it counts.

// life is one incarnation.
type life struct {
	member   *member
	id       string
	last     time.Duration
	interval time.Duration // the effective one; 0: none
	state    hostwheel.State
	// owes: it was heard while it was suspect, and that was not told yet.
	owes bool
	// attempt and retry are of a leave that was not accepted.
	attempt int
	retry   time.Duration
}

type model struct {
	config config
	now    time.Duration
	lives  []*life // those that are not over
	handle map[uint64]bool
}

func roundUp(d time.Duration) time.Duration { return (d + ms - 1) / ms * ms }

// finest is the longest interval that is kept to the millisecond; longer ones are rounded up to seconds.
const finest = 2_097_151 * ms

// counts is what an announced interval counts as.
func (m *model) counts(interval time.Duration) time.Duration {
	if interval == 0 {
		return 0
	}
	given := min(max(roundUp(interval), m.config.MinInterval), m.config.MaxInterval)
	if given > finest {
		return (given + sec - 1) / sec * sec
	}
	return given
}

func (m *model) deadline(l *life) time.Duration {
	if l.interval == 0 {
		return l.last + m.config.HostTTL
	}
	return l.last + 2*l.interval
}

func (m *model) grace(l *life) time.Duration {
	effective := l.interval
	if effective == 0 {
		effective = m.config.HostTTL / (2 * ms) * ms
	}
	return min(max(m.config.Grace, 0), effective)
}

func (m *model) leavesAt(l *life) time.Duration { return m.deadline(l) + m.grace(l) }

// alive is the incarnation of an id that is known and not handed out.
func (m *model) alive(id string) *life {
	for _, l := range m.lives {
		if l.id == id && l.state != hostwheel.Taken {
			return l
		}
	}
	return nil
}

func (m *model) of(member *member) *life {
	for _, l := range m.lives {
		if l.member == member {
			return l
		}
	}
	return nil
}

func (m *model) over(gone *life) {
	for i, l := range m.lives {
		if l == gone {
			m.lives = append(m.lives[:i], m.lives[i+1:]...)
			return
		}
	}
}

// registered is a new incarnation.
func (m *model) registered(member *member, id string, interval time.Duration) error {
	if m.handle[member.Handle()] || member.Handle() == 0 {
		return fmt.Errorf("handle %d was given out before, or is 0", member.Handle())
	}
	m.handle[member.Handle()] = true
	m.lives = append(m.lives, &life{member: member, id: id, last: m.now, interval: m.counts(interval), state: hostwheel.Live})
	return nil
}

// heard is an announce of a known host at an instant, with an interval if that is not negative.
func (m *model) heard(l *life, at, interval time.Duration) hostwheel.Outcome {
	at = min(at, m.now)
	if at >= l.last {
		l.last = at
		if interval >= 0 {
			l.interval = m.counts(interval)
		}
	}
	if l.state == hostwheel.Suspected && m.deadline(l) > m.now {
		l.state, l.owes = hostwheel.Live, true
		return hostwheel.Recovered
	}
	return hostwheel.Renewed
}

// came checks an event against what may come, and takes it over.
func (m *model) came(e *event) error {
	l := m.of(e.Member)
	if l == nil {
		return errors.New("that host is gone")
	}
	if e.Now != m.now || e.LastSeen != l.last || e.Deadline != m.deadline(l) || e.Interval != l.interval || e.ID() != l.id {
		return fmt.Errorf("it was last seen at %v, its interval is %v", l.last, l.interval)
	}
	switch {
	case e.Kind == hostwheel.RecoveredEvent:
		if l.state != hostwheel.Live || !l.owes {
			return errors.New("it has not recovered")
		}
		l.owes = false
		return nil
	case l.owes:
		return errors.New("that it recovered was not told before")
	case e.Kind == hostwheel.SuspectEvent:
		if l.state != hostwheel.Live || m.deadline(l) > m.now || m.grace(l) == 0 {
			return fmt.Errorf("it is suspect at %v", m.deadline(l))
		}
		l.state = hostwheel.Suspected
		if e.Lateness != m.now-e.Deadline {
			return errors.New("it is not that late")
		}
		return nil
	}
	return m.cameToLeave(l, e)
}

func (m *model) cameToLeave(l *life, e *event) error {
	switch {
	case l.state == hostwheel.Taken && l.retry > m.now:
		return fmt.Errorf("it comes again at %v", l.retry)
	case l.state == hostwheel.Suspected && m.leavesAt(l) > m.now:
		return fmt.Errorf("it leaves at %v", m.leavesAt(l))
	case l.state == hostwheel.Live && (m.grace(l) > 0 || m.deadline(l) > m.now):
		return errors.New("it is no suspect")
	}
	l.state = hostwheel.Taken
	l.attempt++
	if e.Attempt != l.attempt || e.Lateness != m.now-m.leavesAt(l) || e.Held != 0 || e.Away != 0 {
		return fmt.Errorf("it is attempt %d, and %v late", l.attempt, m.now-m.leavesAt(l))
	}
	other := m.alive(l.id)
	if other != nil && m.leavesAt(other) <= m.now {
		return nil // it leaves in the same moment: who came first is open
	}
	if e.Superseded != (other != nil) {
		return errors.New("superseded is wrong")
	}
	return nil
}

// answered is the consumer's answer to a leave; after is negative for Done, and 0 for the back-off.
func (m *model) answered(l *life, after time.Duration) {
	switch {
	case after < 0:
		m.over(l)
	case after == 0:
		l.retry = m.now + min(sec<<min(l.attempt-1, 6), 60*sec)
	default:
		l.retry = m.now + roundUp(after)
	}
}

// overdue is what should have come by now, and has not.
func (m *model) overdue() error {
	for _, l := range m.lives {
		switch {
		case l.owes:
			return fmt.Errorf("%s recovered, which was not told", l.id)
		case l.state == hostwheel.Live && m.deadline(l) <= m.now:
			return fmt.Errorf("%s has been due since %v, and nothing was told", l.id, m.deadline(l))
		case l.state == hostwheel.Suspected && m.leavesAt(l) <= m.now:
			return fmt.Errorf("%s should have left at %v", l.id, m.leavesAt(l))
		case l.state == hostwheel.Taken && l.retry <= m.now:
			return fmt.Errorf("the leave of %s should have come again at %v", l.id, l.retry)
		}
	}
	return nil
}

// differs compares all that can be asked.
func (m *model) differs(w *wheel) error {
	known := 0
	for _, l := range m.lives {
		s, err := l.member.Inspect()
		if err != nil {
			return fmt.Errorf("%s: %w", l.id, err)
		}
		if s.State != l.state || s.LastSeen != l.last || s.Interval != l.interval || s.Deadline != m.deadline(l) ||
			s.LeavesAt != m.leavesAt(l) || s.HeldBy != hostwheel.NotHeld || l.member.Suspect() != (l.state == hostwheel.Suspected) {
			return fmt.Errorf("%s: %+v is %+v", l.id, *l, s)
		}
		if l.state == hostwheel.Taken {
			continue
		}
		known++
		if found, ok := w.Lookup(l.id); !ok || found != l.member {
			return fmt.Errorf("%s is not found", l.id)
		}
	}
	for range w.All() {
		known--
	}
	if known != 0 || int(w.Stats().Outstanding) != len(m.lives)-int(w.Stats().Live) {
		return fmt.Errorf("%d hosts too few are yielded; %+v", known, w.Stats())
	}
	return nil
}
