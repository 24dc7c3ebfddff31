//go:build hostwheel_native

package hostwheel

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/hostwheel/hostwheel/ffi/go/internal/native"
)

func (n *core) stamps() *announcing { return &n.announcing }

func openNative(t *testing.T, config Config[int]) (*Wheel[int], *core) {
	config.Backend = Native
	w, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, w.core.(*core)
}

// The library panics, and Close is the first to learn of it.
func TestAWheelThatIsOutOfOrderCanBeClosed(t *testing.T) {
	w, n := openNative(t, Config[int]{})
	m, _, err := w.Announce("a", time.Minute, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Leave(); err != nil {
		t.Fatal(err)
	}
	for n.phase(&m.host) == left {
		time.Sleep(time.Millisecond)
	}
	// A broken link in the library's free list, as only a bug of its own could make it.
	const link = 44
	*(*uint32)(unsafe.Add(unsafe.Pointer(m.host.record), link)) = 0x0fffffff
	panics := 0
	for _, id := range []string{"b", "c"} {
		if _, _, code := n.wheel.Register(id, time.Minute, 0); code == native.ErrPanic {
			panics++
		}
	}
	if panics == 0 {
		t.Fatal("the library bears a broken free list")
	}
	if err := w.Close(); !errors.Is(err, ErrPoisoned) {
		t.Error(err)
	}
	if _, _, err := w.Announce("d", time.Minute, 0); !errors.Is(err, ErrPoisoned) {
		t.Error(err)
	}
}

// A library whose records look otherwise: every renew is a call, and does the same.
func TestAnotherLayoutMakesRenewsCalls(t *testing.T) {
	if isKnown(native.Layout{RecordSize: 64, Word: 8, Armed: 0, Generation: 40}) {
		t.Error("another layout is taken for the known one")
	}
	w, n := openNative(t, Config[int]{})
	n.records = nil
	m, _, err := w.Announce("a", time.Minute, 0)
	if err != nil || m.host.record != nil {
		t.Fatal(err, m.host.record)
	}
	before, _ := m.Inspect()
	for before.LastSeen == w.Stats().Now.Truncate(time.Millisecond) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	if err := errors.Join(m.Renew(), m.RenewAt(time.Now()), m.AnnounceAt(time.Now(), time.Hour)); err != nil {
		t.Fatal(err)
	}
	after, err := m.Inspect()
	if err != nil || after.LastSeen <= before.LastSeen || after.Interval != time.Hour || m.Suspect() {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
	if found, ok := w.Lookup("a"); !ok || found != m {
		t.Error("it is not found")
	}
	if err := m.Leave(); err != nil {
		t.Error(err)
	}
	if err := m.Renew(); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
}

// In the usual case the words of both sides are the same, and no call is made.
func TestARenewReachesTheLibrary(t *testing.T) {
	w, n := openNative(t, Config[int]{})
	m, _, err := w.Announce("a", time.Hour, 0)
	if err != nil {
		t.Fatal(err)
	}
	for {
		status, err := n.wheel.Inspect(m.Handle())
		if err != native.OK {
			t.Fatal(err)
		}
		if word(m.host.record.truth.Load()).cadence().interval() != time.Hour {
			t.Fatalf("%#x", m.host.record.truth.Load())
		}
		// Once the thread has looked at it, and somebody was heard in this second.
		if status.NextLookNS != native.Never && m.host.renewNow(anyCadence) {
			break
		}
		if err := m.Renew(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	before, _ := n.wheel.Inspect(m.Handle())
	at := time.Now()
	if !m.host.renewAt(at) {
		t.Skip("the second is over")
	}
	if after, _ := n.wheel.Inspect(m.Handle()); after.LastSeenNS <= before.LastSeenNS {
		t.Errorf("last seen at %d, then at %d", before.LastSeenNS, after.LastSeenNS)
	}
}

// What the library says of its clock counts, and not what it was asked for.
func TestTheMarginIsThatOfTheLatestStamp(t *testing.T) {
	const ms = time.Millisecond
	const precise, manual, counter = 1, 2, 3
	for _, c := range []struct {
		clock                 uint32
		library, watch, worst time.Duration
	}{
		{native.ClockCoarse, 8 * ms, ms, 9 * ms},
		{native.ClockCoarse, 8 * ms, 0, 8 * ms},
		{precise, 0, ms, ms},
		{manual, 0, 0, 0},
		{counter, ms, ms, ms},
		{counter, ms, 0, ms},
	} {
		if got := marginOf(c.clock, c.library, c.watch); got != c.worst {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for _, isManual := range []bool{false, true} {
		w, n := openNative(t, Config[int]{Manual: isManual})
		out, code := n.wheel.Stats()
		if code != native.OK || (out.Clock == manual) != isManual || out.Clock == native.ClockCoarse {
			t.Errorf("manual: %v; clock %d, %v", isManual, out.Clock, code)
		}
		if margin := w.Stats().Margin; margin != n.announcing.watch.margin() {
			t.Errorf("manual: %v; a margin of %v", isManual, margin)
		}
	}
}

// threads counts the threads of wheels, and descriptors the open files, of this process.
func threads(t *testing.T) (wheels, descriptors int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if name, err := os.ReadFile("/proc/self/task/" + task.Name() + "/comm"); err == nil && string(name) == "hostwheel\n" {
			wheels++
		}
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return wheels, len(files)
}

// Wheels that nobody holds go with their threads and descriptors, closed or not, as soon as their members are gone too.
func TestADroppedWheelLeavesNoThreadBehind(t *testing.T) {
	collected := func() (int, int) {
		runtime.GC()
		return threads(t)
	}
	// What other tests have dropped.
	wheels, files := collected()
	for range 20 {
		time.Sleep(10 * time.Millisecond)
		wheels, files = collected()
	}
	var kept *Member[int]
	for i := range 50 {
		w, err := New(Config[int]{Backend: Native})
		if err != nil {
			t.Fatal(err)
		}
		if kept, _, err = w.Announce(fmt.Sprint(i), time.Minute, i); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_ = w.Close()
		}
	}
	// The last wheel is open, and lives as long as its member.
	wait := func(more int) {
		for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			nowWheels, nowFiles := collected()
			if nowWheels <= wheels+more && nowFiles <= files+8*more {
				return
			}
			if time.Since(start) > time.Minute {
				t.Fatalf("%d threads and %d files, of %d and %d before", nowWheels, nowFiles, wheels, files)
			}
		}
	}
	wait(1)
	if err := kept.Renew(); err != nil {
		t.Error(err)
	}
	runtime.KeepAlive(kept)
	kept = nil
	wait(0)
}
