package hostwheel

import "sync"

// mailbox is where Run's workers find events. Events of one incarnation are handed out one at a time and in order.
type mailbox struct {
	mu      sync.Mutex
	changed sync.Cond
	stopped bool
	ready   []event
	// busy are the hosts with an event that is ready or being handled, and what came for them since.
	busy map[*host][]event
	// size is how many events were not handed out yet.
	size int
	// guards: guard events wait.
	guards bool
	// starved: the backend may have more events than there was room for.
	starved bool
}

// mailboxSize is the most events that were not handed out.
const mailboxSize = 256

func newMailbox() *mailbox {
	m := &mailbox{busy: make(map[*host][]event)}
	m.changed.L = &m.mu
	return m
}

func (m *mailbox) open() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = false
}

// stop sends the workers home. What was not handed out is kept for the next run.
func (m *mailbox) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	m.changed.Broadcast()
}

// fill takes from the backend as many events as there is room for, and says how many it got.
func (m *mailbox) fill(from backend) int {
	m.mu.Lock()
	room := mailboxSize - m.size
	// Before the events are asked for: who makes room from now on wakes the backend.
	m.starved = true
	m.mu.Unlock()
	if room <= 0 {
		return 0
	}
	events := from.drain(room)
	guards := from.guardsWait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.starved = len(events) == room
	m.size += len(events)
	if guards && !m.guards {
		m.guards = true
		m.changed.Signal()
	}
	for _, e := range events {
		if waiting, ok := m.busy[e.host]; ok {
			m.busy[e.host] = append(waiting, e)
			continue
		}
		m.busy[e.host] = nil
		m.ready = append(m.ready, e)
		m.changed.Signal()
	}
	return len(events)
}

// take waits for the next event, or for guard events: then it is an event of no host. False if the mailbox was stopped. It tells the backend when there is room again.
func (m *mailbox) take(from backend) (event, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.ready) == 0 && !m.guards && !m.stopped {
		m.changed.Wait()
	}
	if m.stopped {
		return event{}, false
	}
	if m.guards {
		m.guards = false
		return event{}, true
	}
	e := m.ready[0]
	m.ready[0] = event{}
	m.ready = m.ready[1:]
	m.size--
	if m.starved && m.size <= mailboxSize/2 {
		m.starved = false
		from.wake()
	}
	return e, true
}

// finish says that the event of a host was handled: the next one may be.
func (m *mailbox) finish(h *host) {
	m.mu.Lock()
	defer m.mu.Unlock()
	waiting := m.busy[h]
	if len(waiting) == 0 {
		delete(m.busy, h)
		return
	}
	m.ready = append(m.ready, waiting[0])
	m.busy[h] = waiting[1:]
	m.changed.Signal()
}
