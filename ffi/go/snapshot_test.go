package hostwheel_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

func TestASnapshotBringsHostsBackWithIntervalsAgesAndNewValues(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		s := open(t, manual(backend))
		gone := s.announce("handed out", 1*sec)
		s.answer = func(*event) hostwheel.Verdict { return hostwheel.Retry(time.Hour) }
		s.announce("a\x00\xff", 300*sec)
		s.announce("none", 0)
		s.announce("said goodbye", 300*sec)
		suspect := s.announce("suspect", 4*sec)
		s.to(3*sec, "suspect handed out", "leave handed out")
		longest := strings.Repeat("x", hostwheel.LongestID)
		s.announce(longest, hostwheel.Longest)
		s.to(10*sec, "suspect suspect")
		must(t, s.wheel.Leave("said goodbye"))
		before := look(t, s.wheel)
		must(t, s.wheel.Snapshot(path))
		if after := look(t, s.wheel); len(after.hosts) != 4 || after.stats.Registered != before.stats.Registered {
			t.Errorf("a snapshot changed the wheel")
		}
		equal(t, "suspect", suspect.Suspect(), true)
		wants(t, "the one handed out", gone.Renew(), hostwheel.ErrTaken)
		info, err := os.Stat(path)
		must(t, err)
		equal(t, "mode", info.Mode(), fs.FileMode(0o600))

		next := open(t, manual(backend))
		next.to(100 * sec)
		asked := map[string]int{}
		must(t, next.wheel.Restore(path, func(id string) string { asked[id]++; return "restored " + id }))
		equal(t, "asked for", asked, map[string]int{"a\x00\xff": 1, "none": 1, "suspect": 1, longest: 1})
		for id, want := range map[string]hostwheel.Status{
			"a\x00\xff": {Interval: 300 * sec, Age: 10 * sec, LeavesAt: 90*sec + 615*sec},
			"none":      {Interval: 0, Age: 10 * sec, LeavesAt: 90*sec + time.Hour + 15*sec},
			longest:     {Interval: hostwheel.Longest, Age: 7 * sec, LeavesAt: 93*sec + 2*hostwheel.Longest + 15*sec},
			// At most one interval of age.
			"suspect": {Interval: 4 * sec, Age: 4 * sec, LeavesAt: 96*sec + 12*sec},
		} {
			m, ok := next.wheel.Lookup(id)
			if !ok {
				t.Errorf("%q was not restored", id)
				continue
			}
			got := next.status(m)
			if got.State != hostwheel.Live || got.Interval != want.Interval || got.Age != want.Age || got.LeavesAt != want.LeavesAt ||
				m.Value() != "restored "+id {
				t.Errorf("%q came back as %+v with value %q", id, got, m.Value())
			}
		}
		equal(t, "restored", next.wheel.Stats().Registered, 4)
		next.to(104*sec-1*ms, nil...)
		next.to(104*sec, "suspect suspect")
		next.to(108*sec, "leave suspect")
	})
}

func TestHostsThatAreKnownAreLeftAsTheyAreAndNilGivesTheZeroValue(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		s := open(t, manual(backend))
		s.announce("known", 10*sec)
		s.announce("new", 10*sec)
		s.to(5 * sec)
		must(t, s.wheel.Snapshot(path))
		next := open(t, manual(backend))
		next.to(100 * sec)
		known := next.announce("known", 70*sec)
		next.to(101 * sec)
		before := next.status(known)
		for range 2 {
			must(t, next.wheel.Restore(path, nil))
		}
		equal(t, "known", next.status(known), before)
		equal(t, "its value", known.Value(), "value of known")
		m, _ := next.wheel.Lookup("new")
		equal(t, "the new one's value", m.Value(), "")
		equal(t, "registered", next.wheel.Stats().Registered, 2)
	})
}

func TestAHostThatMissesThreeAnnouncesOverRestartsComesBackAsASuspect(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		restart := func(first bool) *scene {
			s := open(t, manual(backend))
			if !first {
				must(t, s.wheel.Restore(path, func(id string) string { return "value of " + id }))
			}
			return s
		}
		s := restart(true)
		s.announce("dead", 60*sec)
		s.announce("quiet", 60*sec)
		s.to(130*sec, "suspect dead", "suspect quiet")
		must(t, s.wheel.Snapshot(path))
		s = restart(false)
		dead, _ := s.wheel.Lookup("dead")
		equal(t, "after two misses it comes back with one interval of age", s.status(dead).Age, 60*sec)
		// The third was expected 180 s after the last: 50 s from here.
		s.to(40 * sec)
		s.announce("quiet", 60*sec)
		s.to(54 * sec)
		must(t, s.wheel.Snapshot(path))
		s = restart(false)
		dead, _ = s.wheel.Lookup("dead")
		quiet, _ := s.wheel.Lookup("quiet")
		equal(t, "after three it has its grace", s.status(dead).LeavesAt, 15*sec)
		equal(t, "one that was heard has its age", s.status(quiet).Age, 14*sec)
		s.to(15*sec-1*ms, "suspect dead")
		s.to(15*sec, "leave dead")
	})
}

func TestAFileOfTheFirstVersionIsRead(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(b, table)) }
	header := append([]byte("\x89HWS\r\n\x1a\n\x01\x00\x00\x00\x40\x00\x00\x00"), make([]byte, 44)...)
	header = append(header, sum(header)...)
	var payload []byte
	for _, id := range []string{"a", "another"} {
		payload = binary.LittleEndian.AppendUint32(payload, uint32(len(id)))
		payload = binary.LittleEndian.AppendUint32(payload, 60_000)
		payload = binary.LittleEndian.AppendUint64(payload, 7_000)
		payload = binary.LittleEndian.AppendUint64(payload, 9)
		payload = append(payload, id...)
	}
	frame := append(binary.LittleEndian.AppendUint32(nil, uint32(len(payload))), payload...)
	frame = append(frame, sum(frame)...)
	trailer := binary.LittleEndian.AppendUint64(make([]byte, 4), 2)
	trailer = binary.LittleEndian.AppendUint64(trailer, 1)
	trailer = append(trailer, sum(append(append([]byte{}, header[60:]...), frame[len(frame)-4:]...))...)
	trailer = append(trailer, sum(trailer)...)
	path := filepath.Join(t.TempDir(), "hosts.snap")
	must(t, os.WriteFile(path, append(append(header, frame...), trailer...), 0o600))
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		s := open(t, manual(backend))
		must(t, s.wheel.Restore(path, nil))
		for _, id := range []string{"a", "another"} {
			m, ok := s.wheel.Lookup(id)
			equal(t, id, ok, true)
			equal(t, "its age", s.status(m).Age, 7*sec)
		}
	})
}

func TestAnEmptyWheelHasASnapshotToo(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		s := open(t, manual(backend))
		must(t, s.wheel.Snapshot(path))
		s.unchanged("an empty restore", func() { must(t, s.wheel.Restore(path, nil)) })
	})
}

func TestARestoreIntoAFullWheelSaysSoAndMayBeRepeated(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		s := open(t, manual(backend))
		s.fleet(10, time.Hour)
		must(t, s.wheel.Snapshot(path))
		c := manual(backend)
		c.MaxHosts = 4
		next := open(t, c)
		next.announce("9", time.Hour)
		err := next.wheel.Restore(path, nil)
		wants(t, "restore", err, hostwheel.ErrFull)
		if err == nil || !strings.Contains(err.Error(), "3") {
			t.Errorf("the number of hosts restored before is not told: %v", err)
		}
		equal(t, "live", next.wheel.Stats().Live, 4)
		again := next.wheel.Restore(path, nil)
		wants(t, "again", again, hostwheel.ErrFull)
		if again == nil || !strings.Contains(again.Error(), "0") {
			t.Errorf("again: %v", again)
		}
	})
}

// refusedFile restores from these bytes, and insists on a refusal after which nothing is restored.
func refusedFile(s *scene, path string, bytes []byte) *hostwheel.SnapshotError {
	s.Helper()
	must(s, os.WriteFile(path, bytes, 0o600))
	var refused *hostwheel.SnapshotError
	s.unchanged("a bad file", func() {
		err := s.wheel.Restore(path, func(string) string { s.Error("a value was asked for"); return "" })
		if !errors.As(err, &refused) || !errors.Is(err, hostwheel.ErrInvalid) {
			s.Fatalf("not refused as a snapshot: %v", err)
		}
		if refused.Restored != 0 || refused.Error() == "" {
			s.Errorf("%+v", refused)
		}
	})
	return refused
}

// smallFile is a snapshot of three hosts.
func smallFile(t *testing.T, backend hostwheel.Backend, path string) []byte {
	s := open(t, manual(backend))
	s.announce("a", 10*sec)
	s.announce("bb", 0)
	s.announce("ccc", time.Hour)
	s.to(5 * sec)
	must(t, s.wheel.Snapshot(path))
	bytes, err := os.ReadFile(path)
	must(t, err)
	return bytes
}

func TestAFileCutOffAnywhereIsTornAndRestoresNothing(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		bytes := smallFile(t, backend, path)
		s := open(t, manual(backend))
		s.announce("a", time.Hour)
		for n := range bytes {
			equal(t, fmt.Sprintf("fault after %d of %d bytes", n, len(bytes)), refusedFile(s, path, bytes[:n]).Fault, hostwheel.Torn)
		}
	})
}

func TestAFileWithAnyByteChangedRestoresNothing(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		bytes := smallFile(t, backend, path)
		s := open(t, manual(backend))
		for at := range bytes {
			for _, flip := range []byte{0x01, 0x80, 0xff} {
				bytes[at] ^= flip
				fault := refusedFile(s, path, bytes).Fault
				bytes[at] ^= flip
				switch {
				case at < 8:
					equal(t, fmt.Sprintf("byte %d", at), fault, hostwheel.NotASnapshot)
				// A damaged length may look like a file that ends early.
				case fault != hostwheel.Damaged && fault != hostwheel.Torn:
					t.Errorf("byte %d: fault %v", at, fault)
				}
			}
		}
		// And what it was made from is still good.
		must(t, os.WriteFile(path, bytes, 0o600))
		must(t, s.wheel.Restore(path, nil))
		equal(t, "restored", s.wheel.Stats().Registered, 3)
	})
}

func TestWhatFollowsTheEndIsDamage(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		bytes := smallFile(t, backend, path)
		s := open(t, manual(backend))
		refused := refusedFile(s, path, append(bytes[:len(bytes):len(bytes)], 0))
		if refused.Fault != hostwheel.Damaged || refused.Offset != int64(len(bytes)) {
			t.Errorf("%+v of %d bytes", refused, len(bytes))
		}
		equal(t, "twice the file", refusedFile(s, path, append(bytes[:len(bytes):len(bytes)], bytes...)).Fault, hostwheel.Damaged)
	})
}

func TestANewerVersionIsNamedAndVersionZeroIsDamage(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		bytes := smallFile(t, backend, path)
		s := open(t, manual(backend))
		table := crc32.MakeTable(crc32.Castagnoli)
		version := func(n uint32) []byte {
			changed := append([]byte(nil), bytes...)
			binary.LittleEndian.PutUint32(changed[8:], n)
			binary.LittleEndian.PutUint32(changed[60:], crc32.Checksum(changed[:60], table))
			return changed
		}
		refused := refusedFile(s, path, version(7))
		if refused.Fault != hostwheel.NewerVersion || refused.Version != 7 || !strings.Contains(refused.Error(), "7") {
			t.Errorf("%+v", refused)
		}
		// A newer file may be of another shape behind its header.
		equal(t, "cut behind the header", refusedFile(s, path, version(3)[:64]).Fault, hostwheel.NewerVersion)
		equal(t, "version 0", refusedFile(s, path, version(0)).Fault, hostwheel.Damaged)
	})
}

func TestWhatIsNoSnapshotIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		folder := t.TempDir()
		path := filepath.Join(folder, "hosts.snap")
		s := open(t, manual(backend))
		equal(t, "empty", refusedFile(s, path, nil).Fault, hostwheel.Torn)
		equal(t, "text", refusedFile(s, path, []byte("a text")).Fault, hostwheel.NotASnapshot)
		equal(t, "zeros", refusedFile(s, path, make([]byte, 4096)).Fault, hostwheel.NotASnapshot)
		equal(t, "line ends", refusedFile(s, path, []byte("\x89HWS\n\x1a\n")).Fault, hostwheel.NotASnapshot)
		s.unchanged("no file", func() {
			wants(t, "no file", s.wheel.Restore(filepath.Join(folder, "none"), nil), os.ErrNotExist)
			wants(t, "no folder", s.wheel.Restore(filepath.Join(folder, "none", "none"), nil), os.ErrNotExist)
			var refused *hostwheel.SnapshotError
			if err := s.wheel.Restore(folder, nil); !errors.As(err, &refused) || refused.Fault != hostwheel.NotASnapshot {
				t.Errorf("a folder: %v", err)
			}
		})
	})
}

func TestWhatCannotBeWrittenLeavesWhatWasThere(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		folder := t.TempDir()
		s := open(t, manual(backend))
		s.announce("a", time.Hour)
		for name, path := range map[string]string{
			"a folder that is not there": filepath.Join(folder, "none", "hosts.snap"),
			"a folder":                   folder + "/",
			"the folder itself":          folder,
			"nothing":                    "",
		} {
			if err := s.wheel.Snapshot(path); err == nil {
				t.Errorf("%s was written to", name)
			}
		}
		entries, err := os.ReadDir(folder)
		must(t, err)
		equal(t, "left behind", len(entries), 0)
	})
}

func TestASnapshotReplacesWhatIsThereAndRemovesTemporariesLeftOver(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		folder := t.TempDir()
		path := filepath.Join(folder, "hosts.snap")
		others := []string{".hosts.snap.x.1.tmp", ".hosts.snap.1.tmp", ".other.snap.1.1.tmp", "hosts.snap.1.1.tmp", ".hosts.snap.1.1.tmp2"}
		for _, name := range append(others, ".hosts.snap.1.0.tmp", ".hosts.snap.99999999.77.tmp", "hosts.snap") {
			must(t, os.WriteFile(filepath.Join(folder, name), []byte("of another"), 0o666))
		}
		s := open(t, manual(backend))
		s.announce("a", time.Hour)
		must(t, s.wheel.Snapshot(path))
		must(t, s.wheel.Snapshot(path))
		left := map[string]bool{}
		entries, err := os.ReadDir(folder)
		must(t, err)
		for _, entry := range entries {
			left[entry.Name()] = true
		}
		want := map[string]bool{"hosts.snap": true}
		for _, name := range others {
			want[name] = true
		}
		if leftOversCanBeTold {
			equal(t, "files", left, want)
		}
		next := open(t, manual(backend))
		must(t, next.wheel.Restore(path, nil))
		equal(t, "restored", next.wheel.Stats().Registered, 1)
	})
}

func TestAnnouncesGoOnWhileSnapshotsAreWritten(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "hosts.snap")
		w, err := hostwheel.New(config{Backend: backend})
		must(t, err)
		defer w.Close()
		const lasting = 2000
		for i := range lasting {
			_, _, err := w.Announce(fmt.Sprint("lasting-", i), time.Hour, "")
			must(t, err)
		}
		var over atomic.Bool
		var group sync.WaitGroup
		for g := range 2 {
			group.Add(1)
			go func() {
				defer group.Done()
				for i := 0; !over.Load(); i++ {
					m, _, err := w.Announce(fmt.Sprint("passing-", g, "-", i%500), time.Hour, "")
					if err == nil && i%2 == 0 {
						err = m.Leave()
					}
					noted(t, err)
					_, _, err = w.Announce(fmt.Sprint("lasting-", i%lasting), time.Hour, "")
					noted(t, err)
				}
			}()
		}
		var writers sync.WaitGroup
		for range 3 {
			writers.Add(1)
			go func() {
				defer writers.Done()
				for range 4 {
					if err := w.Snapshot(path); err != nil {
						t.Errorf("snapshot: %v", err)
						return
					}
					// The file is whole at any moment, and has everybody who was known throughout.
					next := open(t, manual(backend))
					if err := next.wheel.Restore(path, nil); err != nil {
						t.Errorf("restore: %v", err)
						return
					}
					for i := range lasting {
						if _, ok := next.wheel.Lookup(fmt.Sprint("lasting-", i)); !ok {
							t.Errorf("lasting-%d is not in the file", i)
							return
						}
					}
				}
			}()
		}
		writers.Wait()
		over.Store(true)
		group.Wait()
		entries, err := os.ReadDir(filepath.Dir(path))
		must(t, err)
		equal(t, "files", len(entries), 1)
	})
}
