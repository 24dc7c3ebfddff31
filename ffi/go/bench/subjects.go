package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	hostwheel "github.com/hostwheel/hostwheel/ffi/go"
	"github.com/jellydator/ttlcache/v3"
	"github.com/maypok86/otter/v2"
)

// fleet is the hosts that every subject has, in the random order in which they announce themselves.
type fleet struct {
	// ids have 64 bytes, as Dragonfly's. Each call has one of its own, as one that came with a request would be.
	ids []string
	// stored are the same ids, as the subject that keeps them has got them, in the order of registration.
	stored []string
	// order is where in stored the ids are.
	order []int
}

func newFleet(hosts int) *fleet {
	random := rand.New(rand.NewPCG(3350, 0))
	f := &fleet{order: random.Perm(hosts)}
	for i := range hosts {
		f.stored = append(f.stored, fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, i))))
	}
	for _, i := range f.order {
		f.ids = append(f.ids, string([]byte(f.stored[i])))
	}
	return f
}

// subject is something whose cost is measured.
type subject struct {
	name, what string
	// once: one pass over the fleet is enough.
	once bool
	// open makes it for a fleet; call announces every host once.
	open func(f *fleet) (call, end func())
}

func nothing() {}

// interval is what hosts announce themselves with.
const interval = 5 * time.Minute

// today is a host as a scheduler without hostwheel keeps it.
type today struct {
	id        string
	updatedAt atomic.Pointer[time.Time]
	// What else is known of a host.
	_ [200]byte
}

// heard is what such a scheduler does at an announce.
func (t *today) heard() {
	now := time.Now()
	t.updatedAt.Store(&now)
}

func newToday(f *fleet) (inOrder []*today, byID *sync.Map) {
	byID = new(sync.Map)
	hosts := make([]*today, len(f.stored))
	for i, id := range f.stored {
		hosts[i] = &today{id: id}
		hosts[i].heard()
		byID.Store(id, hosts[i])
	}
	for _, i := range f.order {
		inOrder = append(inOrder, hosts[i])
	}
	return inOrder, byID
}

// ratio is a goal: what one subject may cost of another.
type ratio struct {
	what, of, to string
	most, goal   float64
}

var ratios = []ratio{
	{"native RenewAt / store", "native RenewAt", "store", 0.4, 0.3},
	{"native Renew / store", "native Renew", "store", 0.6, 0.5},
	{"native Renew / Timer.Reset", "native Renew", "timer", 1, 1},
	{"native Announce / (load + store)", "native Announce", "load", 0.5, 0.4},
	{"pure RenewAt / store", "pure RenewAt", "store", 0.4, 0.3},
	{"pure Renew / store", "pure Renew", "store", 0.6, 0.5},
	{"pure Renew / Timer.Reset", "pure Renew", "timer", 1, 1},
	{"pure Announce / (load + store)", "pure Announce", "load", 0.5, 0.4},
}

var subjects = append([]subject{
	{"store", "store of time.Now() in an atomic.Pointer[time.Time]", false, func(f *fleet) (func(), func()) {
		hosts, _ := newToday(f)
		return func() {
			for _, h := range hosts {
				h.heard()
			}
		}, nothing
	}},
	{"load", "sync.Map load by id + that store", false, func(f *fleet) (func(), func()) {
		_, byID := newToday(f)
		return func() {
			for _, id := range f.ids {
				if h, ok := byID.Load(id); ok {
					h.(*today).heard()
				}
			}
		}, nothing
	}},
	{"scan", "scan of a sync.Map that compares time.Since, per host", true, func(f *fleet) (func(), func()) {
		_, byID := newToday(f)
		gone := 0
		return func() {
			byID.Range(func(_, h any) bool {
				if time.Since(*h.(*today).updatedAt.Load()) > time.Hour {
					gone++
				}
				return true
			})
		}, nothing
	}},
	{"timer", "time.Timer.Reset", false, func(f *fleet) (func(), func()) {
		timers := make([]*time.Timer, len(f.stored))
		for i := range timers {
			timers[i] = time.AfterFunc(2*interval, nothing)
		}
		var inOrder []*time.Timer
		for _, i := range f.order {
			inOrder = append(inOrder, timers[i])
		}
		return func() {
				for _, timer := range inOrder {
					timer.Reset(2 * interval)
				}
			}, func() {
				for _, timer := range timers {
					timer.Stop()
				}
			}
	}},
	{"otter", "otter v2 SetExpiresAfter by id", false, func(f *fleet) (func(), func()) {
		cache := otter.Must(&otter.Options[string, *today]{
			ExpiryCalculator: otter.ExpiryWriting[string, *today](2 * interval),
		})
		for _, id := range f.stored {
			cache.Set(id, &today{id: id})
		}
		return func() {
			for _, id := range f.ids {
				cache.SetExpiresAfter(id, 2*interval)
			}
		}, func() { cache.StopAllGoroutines() }
	}},
	{"ttlcache", "ttlcache v3 Touch by id", false, func(f *fleet) (func(), func()) {
		cache := ttlcache.New(ttlcache.WithTTL[string, *today](2 * interval))
		for _, id := range f.stored {
			cache.Set(id, &today{id: id}, ttlcache.DefaultTTL)
		}
		return func() {
			for _, id := range f.ids {
				cache.Touch(id)
			}
		}, nothing
	}},
}, wheelSubjects()...)

func hasNative() bool {
	_, err := hostwheel.New(hostwheel.Config[int]{Backend: hostwheel.Native})
	return err == nil
}
