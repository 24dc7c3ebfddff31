//go:build hostwheel_native

package hostwheel

import "sync/atomic"

const (
	pageBits = 12
	pageSize = 1 << pageBits
)

// members are the hosts of the native backend by the number of their record: a table in pages, which never move. Looking is
// free of locks; the owner has one put at a time.
type members struct {
	pages atomic.Pointer[[]*page]
}

type page [pageSize]atomic.Pointer[host]

func (m *members) at(index uint32) *atomic.Pointer[host] {
	pages := m.pages.Load()
	if number := int(index >> pageBits); pages != nil && number < len(*pages) {
		return &(*pages)[number][index%pageSize]
	}
	return nil
}

// of is the host with a handle; nil if there is none.
func (m *members) of(handle uint64) *host {
	if place := m.at(uint32(handle)); place != nil {
		if h := place.Load(); h != nil && h.handle == handle {
			return h
		}
	}
	return nil
}

// put puts a host in its place; the one that had the record before has left.
func (m *members) put(h *host) {
	if m.at(h.index()) == nil {
		m.grow(int(h.index()>>pageBits) + 1)
	}
	m.at(h.index()).Store(h)
}

func (m *members) grow(pages int) {
	var grown []*page
	if now := m.pages.Load(); now != nil {
		grown = *now
	}
	// Who reads the old slice sees none of these.
	for len(grown) < pages {
		grown = append(grown, new(page))
	}
	m.pages.Store(&grown)
}

// remove takes a host out.
func (m *members) remove(h *host) {
	if place := m.at(h.index()); place != nil {
		place.CompareAndSwap(h, nil)
	}
}
