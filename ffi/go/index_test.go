package hostwheel

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func TestASlotWhoseTagMatchesIsAlwaysAmongTheMatches(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1_000_000 {
		tags := random.Uint64() & random.Uint64() & (passedMark | 1<<56 - 1)
		tag := random.Uint64()>>56 | 1
		if random.IntN(2) == 0 {
			tag = tags>>(8*random.IntN(groupSlots))&0xff | 1
		}
		found := matches(tags, tag)
		if found&^tagHighs != 0 {
			t.Fatalf("%#x has bits beyond the slots", found)
		}
		for slot := range groupSlots {
			if tags>>(8*slot)&0xff == tag && found>>(8*slot+7)&1 == 0 {
				t.Fatalf("slot %d of %#x is not found by %#x", slot, tags, tag)
			}
		}
	}
}

func namedHost(id string) *host { return &newMember(Pure, id, 0).host }

// Against a map, through growth and many comings and goings.
func TestTheIndexIsAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var x index
	x.init()
	known := map[string]*host{}
	for range 200_000 {
		// Ids on both sides of what has room beside its host.
		id := fmt.Sprintf("%0*d", 1+random.IntN(2)*idRoomLen, random.IntN(5000))
		switch h := known[id]; {
		case random.IntN(3) > 0:
			known[id] = namedHost(id)
			x.put(known[id])
		case h != nil:
			x.remove(namedHost(id)) // another one
			x.remove(h)
			delete(known, id)
		}
		if x.get(id) != known[id] {
			t.Fatalf("%s is not what was put", id)
		}
	}
	seen := 0
	x.each(func(h *host) bool {
		seen++
		return known[h.id] == h
	})
	if seen != len(known) {
		t.Errorf("%d of %d hosts are walked over", seen, len(known))
	}
	groups := 0
	for i := range x.shards {
		groups += len(x.shards[i].table.Load().groups)
	}
	if groups > len(known) {
		t.Errorf("%d groups for %d hosts", groups, len(known))
	}
}

// Who is there all the time is found all the time, whatever comes and goes.
func TestAStableHostIsNeverMissed(t *testing.T) {
	var x index
	x.init()
	var stable []*host
	for i := range 100 {
		stable = append(stable, namedHost(fmt.Sprint("stable", i)))
		x.put(stable[i])
	}
	var ended atomic.Bool
	var writers sync.WaitGroup
	for writer := range 2 {
		writers.Go(func() {
			for i := range 200_000 {
				h := namedHost(fmt.Sprint("flapping", writer, i%(1<<(i>>12&15))))
				x.put(h)
				x.remove(h)
			}
			ended.Store(true)
		})
	}
	for i := 0; !ended.Load(); i++ {
		if h := stable[i%len(stable)]; x.get(h.id) != h {
			t.Errorf("%s is missed", h.id)
			break
		}
	}
	writers.Wait()
}
