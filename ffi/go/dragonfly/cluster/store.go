package cluster

import (
	"context"
	"strconv"
	"time"
)

// record is what Redis knows of a host in one resource: two fields of it, as they are there. The zero record: it has none.
type record struct{ updated, interval string }

func (r record) exists() bool { return r != record{} }

// parse reads a record; false if it makes no sense. Dragonfly cannot load such a host either.
func (r record) parse() (heard, bool) {
	updated, err := time.Parse(time.RFC3339, r.updated)
	if err != nil {
		return heard{}, false
	}
	nanos, err := strconv.ParseInt(r.interval, 10, 64)
	return heard{at: updated, interval: time.Duration(nanos)}, err == nil
}

// heard is what a record says: when some scheduler heard the host, by that one's clock, and the host's interval.
type heard struct {
	at       time.Time
	interval time.Duration
}

// answer is what Redis knows of one host.
type answer [resources]record

func (a *answer) exists() bool { return *a != answer{} }

// latest is the latest of what the records say. A host lives if it lives in any of them; false if none can be read.
func (a *answer) latest() (h heard, ok bool) {
	for _, r := range a {
		if one, readable := r.parse(); readable {
			if !ok || one.at.After(h.at) {
				h.at = one.at
			}
			switch {
			case !ok:
				h.interval = one.interval
			case one.interval <= 0 || h.interval <= 0:
				// Never expires in one of them.
				h.interval = min(h.interval, one.interval)
			default:
				h.interval = max(h.interval, one.interval)
			}
			ok = true
		}
	}
	return h, ok
}

// outcome says what a removal did.
type outcome int

const (
	// removed: the host was deleted.
	removed outcome = iota
	// missing: it was not there.
	missing
	// changed: it was heard since it was asked for.
	changed
	// early: by Redis's clock it is too early.
	early
)

// removal is the answer to a removal.
type removal struct {
	outcome
	// peers are those that were deleted with the host.
	peers []string
	// record is what the host has changed to.
	record record
	// wait is how much too early it is.
	wait time.Duration
}

// store is what a watch needs of Redis. All methods may be called from all goroutines. An error means that it is not known what
// Redis has, or whether it did what it was told.
type store interface {
	// ask reads one host in one resource.
	ask(ctx context.Context, r Resource, id string) (record, error)
	// read reads hosts in one resource.
	read(ctx context.Context, r Resource, ids []string) ([]record, error)
	// page reads some of the ids of a resource, and where the next page begins; 0 at the end. Ids may come twice.
	page(ctx context.Context, r Resource, cursor uint64) (ids []string, next uint64, err error)
	// remove deletes a host if it is still what it was and, by the clock of the store, its time has come.
	remove(ctx context.Context, r Resource, id string, was record, earliest time.Time) (removal, error)
	// beat writes something, to see whether that is possible.
	beat(ctx context.Context) error
}
