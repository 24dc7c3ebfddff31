package hostwheel_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

var fuzzed atomic.Int64

// collect has the native wheels of earlier runs freed now and then: the collector does not see how much memory they hold.
func collect() {
	if fuzzed.Add(1)%256 == 0 {
		runtime.GC()
	}
}

// fuzzedBackends are found once: to ask costs a wheel.
var fuzzedBackends = sync.OnceValue(func() []hostwheel.Backend { return backends(new(testing.T)) })

// ids reads the fuzzer's bytes as operations with ids.
type ids struct {
	*testing.T
	data  []byte
	wheel *hostwheel.Wheel[string]
	known map[string]*member
	files int
}

func (i *ids) byte() byte {
	if len(i.data) == 0 {
		return 0
	}
	b := i.data[0]
	i.data = i.data[1:]
	return b
}

// id is mostly short, rarely as long as can be or longer.
func (i *ids) id() string {
	n := int(i.byte())
	switch {
	case n >= 254:
		n += hostwheel.LongestID - 254
	case n >= 200:
		n = (n - 200) * 19
	default:
		n %= 40
	}
	own := min(n, len(i.data))
	id := string(i.data[:own]) + strings.Repeat("+", n-own)
	i.data = i.data[own:]
	return id
}

func (i *ids) announce(id string) {
	m, outcome, err := i.wheel.Announce(id, time.Hour, id)
	if len(id) == 0 || len(id) > hostwheel.LongestID {
		wants(i, fmt.Sprintf("an id of %d bytes", len(id)), err, hostwheel.ErrInvalid)
		return
	}
	must(i, err)
	known := i.known[id]
	if (known == nil) != (outcome == hostwheel.Registered) || known != nil && m != known {
		i.Fatalf("%q, known as %v, is %v", id, known, outcome)
	}
	i.known[id] = m
	i.lookup(id)
}

func (i *ids) lookup(id string) *member {
	m, ok := i.wheel.Lookup(id)
	if known := i.known[id]; ok != (known != nil) || ok && (m != known || m.ID() != id || m.Value() != id) {
		i.Fatalf("%q, known as %v, is found as %v", id, known, m)
	}
	return m
}

func (i *ids) leave(id string) {
	err := i.wheel.Leave(id)
	if (err == nil) != (i.known[id] != nil) {
		i.Fatalf("%q, known as %v, leaves: %v", id, i.known[id], err)
	}
	delete(i.known, id)
	i.lookup(id)
}

func (i *ids) all() {
	left := maps.Clone(i.known)
	for m := range i.wheel.All() {
		if left[m.ID()] != m {
			i.Fatalf("%q is yielded twice, or never was", m.ID())
		}
		delete(left, m.ID())
	}
	equal(i, "hosts that are not yielded", len(left), 0)
}

// restart goes on with another wheel, which has the hosts from a file.
func (i *ids) restart(c config) {
	// Files are synced, which takes its time.
	if i.files++; i.files > 2 {
		return
	}
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	folder, err := os.MkdirTemp(base, "hostwheel-fuzz-")
	must(i, err)
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "hosts.snap")
	must(i, i.wheel.Snapshot(path))
	must(i, i.wheel.Close())
	next, err := hostwheel.New(c)
	must(i, err)
	must(i, next.Restore(path, func(id string) string { return id }))
	i.wheel = next
	for id := range i.known {
		m, ok := next.Lookup(id)
		if !ok {
			i.Fatalf("%q was not restored", id)
		}
		i.known[id] = m
	}
	i.all()
}

func (i *ids) run(c config) {
	for now := time.Duration(0); len(i.data) > 0; now += time.Second {
		switch i.byte() % 12 {
		case 0, 1, 2, 3:
			i.announce(i.id())
		case 4:
			i.leave(i.id())
		case 5:
			i.lookup(i.id())
		case 6:
			if m := i.lookup(i.id()); m != nil {
				must(i, m.Leave())
				delete(i.known, m.ID())
			}
		case 7:
			i.all()
		case 8:
			i.restart(c)
		case 9:
			_, err := i.wheel.Advance(now)
			must(i, err)
		case 10:
			// Many, so that tables grow and are full of others.
			prefix := i.id()
			for n := range int(i.byte()) {
				i.announce(fmt.Sprint(prefix, n))
			}
		case 11:
			prefix := i.id()
			for n := range int(i.byte()) {
				if id := fmt.Sprint(prefix, n); i.known[id] != nil {
					i.leave(id)
				}
			}
		}
	}
	for id := range i.known {
		i.lookup(id)
	}
	i.all()
}

// FuzzIDs: hosts are told apart by their ids, whatever these are, in the index and in files.
func FuzzIDs(f *testing.F) {
	f.Add([]byte("\x00\x01a\x00\x02a\x00\x00\xff\x05\x01a\x04\x01a\x06\x02a\x00"))
	f.Add([]byte("\x0a\x03abc\xff\x08\x0b\x03abc\x80\x09\x08\x0a\x02xy\xff\x07"))
	f.Add([]byte("\x00\xff\x00\xfe\x00\x00\x00\xc9abc\x08\x00\xfe\x00\xff\xff\x08"))
	f.Fuzz(func(t *testing.T, data []byte) {
		collect()
		for _, backend := range fuzzedBackends() {
			c := manual(backend)
			c.MaxHosts = 1 << 16
			w, err := hostwheel.New(c)
			must(t, err)
			i := &ids{T: t, data: data[:min(len(data), 4096)], wheel: w, known: map[string]*member{}}
			i.run(c)
			must(t, i.wheel.Close())
		}
	})
}

// FuzzTraces: whatever a trace says, every backend does what the model says, and both do the same.
func FuzzTraces(f *testing.F) {
	for _, pattern := range []string{"hand/*", "generated/*-0[0-3].trace"} {
		files, err := filepath.Glob(filepath.Join("../../tests/conformance", pattern))
		must(f, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(f, err)
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		collect()
		trace := hostwheel.ReadFuzzTrace(text)
		if trace == nil {
			return
		}
		for _, backend := range fuzzedBackends() {
			if err := follow(backend, trace); err != nil {
				t.Errorf("%v: %v", backend, err)
			}
		}
		if len(fuzzedBackends()) > 1 {
			must(t, hostwheel.Lockstep(t, trace))
		}
	})
}

// follow performs a trace on a wheel that calls back, against the model.
func follow(backend hostwheel.Backend, trace *hostwheel.FuzzTrace) error {
	length := func(key string) time.Duration {
		if trace.Settings[key] == 0 {
			return hostwheel.Off
		}
		return time.Duration(trace.Settings[key]%(1<<38)) * ms
	}
	c := manual(backend)
	c.HostTTL, c.Grace = length("host_ttl_ms"), length("grace_ms")
	c.MinInterval, c.MaxInterval = length("min_interval_ms"), length("max_interval_ms")
	c.MaxHosts = 4096
	// What callbacks do is drawn at random, the same for the same settings.
	seed := fnv.New64a()
	fmt.Fprint(seed, trace.Settings)
	d, err := newDuelOf(c, rand.New(rand.NewPCG(seed.Sum64(), 0)))
	if err != nil {
		if !errors.Is(err, hostwheel.ErrInvalid) {
			return err
		}
		return nil
	}
	named := map[string]*member{}
	for at, op := range trace.Ops {
		before := len(d.members)
		d.follow(op, named)
		if len(d.members) > before && op.Word == "announce" {
			named[op.Names] = d.members[before]
		}
		if d.wrong == nil {
			if err := d.model.differs(d.wheel); err != nil {
				d.fail("%v", err)
			}
		}
		if d.wrong != nil {
			return fmt.Errorf("operation %d, %+v, at %v: %w", at, op, d.model.now, d.wrong)
		}
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return d.wheel.Close()
}

// follow performs one operation; those that the model does not know are passed over.
func (d *duel) follow(op hostwheel.FuzzOp, named map[string]*member) {
	at := d.model.now - time.Duration(op.Age)*ms
	m := named[op.Handle]
	l := d.model.of(m)
	good := len(op.ID) > 0 && len(op.ID) <= hostwheel.LongestID
	switch {
	case op.Word == "announce" && good:
		known := d.model.alive(op.ID) != nil
		if !known {
			at = d.model.now
		}
		d.announceSeen(op.ID, time.Duration(op.Interval)*ms, at, known && op.Age > 0)
	case op.Word == "renew" && m != nil:
		call := m.Renew
		if op.Age > 0 {
			call = func() error { return m.RenewAt(heard(at)) }
		}
		if !d.refused("renew", l, call()) {
			d.model.heard(l, at, -1)
		}
	case op.Word == "leave_handle" && m != nil:
		d.goodbye(l, m)
	case op.Word == "leave" && good:
		d.leave(op.ID)
	case op.Word == "advance":
		d.advanceBy(max(time.Duration(op.To)*ms-d.model.now, 0))
	}
}
