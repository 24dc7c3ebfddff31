package hostwheel

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// Snapshot writes all hosts that All yields to a file, for Restore after a restart. The format is that of the Rust core,
// which reads it as well; values are not in it.
//
// The file is replaced whole or not at all, whatever happens to the process or the machine meanwhile, and is durable when
// this returns (on Windows as far as the system promises it for a rename). Only its owner may read it. Announces go on; a
// host that is known throughout is in the file, one that comes or goes meanwhile may be. A leave that was handed out and
// not answered with Done is not. It works after Close as well.
//
// Errors: what the system said; the file that was there is untouched then, unless the error says that it is the sync of
// the folder that failed.
func (w *Wheel[V]) Snapshot(path string) error {
	return replaceFile(path, func(file io.Writer) error {
		out, err := newSnapshotWriter(file, headerNow())
		if err != nil {
			return err
		}
		unheard := map[uint64]earlier{}
		w.core.each(func(h *host) bool {
			s, gone := w.core.inspect(h)
			if gone != nil || s.State == Taken {
				return true
			}
			err = out.write(fileRecord{
				id:         h.id,
				intervalMS: uint32(min(s.Interval/time.Millisecond, math.MaxUint32)),
				ageMS:      uint64(s.Age / time.Millisecond),
				suspect:    s.State == Suspected,
				earlier:    w.past.judge(s, w.core.effectiveInterval(s.Interval), unheard),
			})
			return err == nil
		})
		if err != nil {
			return err
		}
		if err := out.finish(); err != nil {
			return err
		}
		w.past.forget(unheard)
		return nil
	})
}

// Restore announces all hosts of a file that Snapshot, or the Rust core, wrote, each with the value that value returns for
// its id (nil: the zero value), its interval and the age that it had, but at most one interval of age. Time between the
// snapshot and the restore counts against no host, as nobody watched. So each restored host has at least one interval and
// its grace from now on to be heard. Suspects come back live. A host that has missed three announces in a row over the last
// runs, while they watched, has no more than what was left of its grace. A host that the wheel knows already is left as it is.
//
// The whole file is checked before the first host is announced: one that is torn, damaged, foreign or newer restores
// nothing.
//
// Errors: what the system said, among it [os.ErrNotExist]; [SnapshotError], which is an ErrInvalid; ErrFull and ErrClosed,
// with the number of hosts restored before that.
func (w *Wheel[V]) Restore(path string, value func(id string) V) error {
	if err := w.refused(); err != nil {
		return err
	}
	file, err := openSnapshot(path)
	if err != nil {
		return err
	}
	// Open throughout: a rename over it does not matter then.
	defer file.Close()
	header, whole, err := readSnapshot(file, func(fileRecord) error { return nil })
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("hostwheel: read the snapshot: %w", err)
	}
	restored, began, last := 0, time.Duration(0), (*Member[V])(nil)
	gap, gapKnown := header.age(headerNow())
	_, again, err := readSnapshot(file, func(r fileRecord) error {
		m, err := w.restoreHost(r, value)
		if m != nil {
			if restored++; restored == 1 {
				began = w.nowBy(m)
			}
			last = m
		}
		return err
	})
	if last != nil {
		w.past.ends(began, max(began, w.nowBy(last)), gap, gapKnown)
	}
	var refused *SnapshotError
	switch {
	case errors.As(err, &refused), err == nil && again != whole:
		// Whatever is wrong now was right a moment ago.
		return &SnapshotError{Fault: Changed, Restored: restored}
	case err != nil:
		return fmt.Errorf("hostwheel: %d hosts were restored before: %w", restored, err)
	}
	return nil
}

func openSnapshot(path string) (*os.File, error) {
	// Asked first: to open a pipe would wait for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("hostwheel: read the snapshot: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &SnapshotError{Fault: NotASnapshot}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("hostwheel: read the snapshot: %w", err)
	}
	return file, nil
}

// nowBy is the wheel time at which the member is looked at; 0 if it has left.
func (w *Wheel[V]) nowBy(m *Member[V]) time.Duration {
	s, err := m.Inspect()
	if err != nil {
		return 0
	}
	return s.LastSeen + s.Age
}

// readSnapshot reads a whole file and hands each host on.
func readSnapshot(file io.Reader, each func(fileRecord) error) (fileHeader, fingerprint, error) {
	r, err := newSnapshotReader(file)
	if err != nil {
		return fileHeader{}, fingerprint{}, err
	}
	for {
		records, err := r.next()
		if err != nil {
			return fileHeader{}, fingerprint{}, err
		}
		if len(records) == 0 {
			return r.header, r.seen, nil
		}
		for _, record := range records {
			if err := each(record); err != nil {
				return fileHeader{}, fingerprint{}, err
			}
		}
	}
}

// restoreHost announces one host of a file, and returns it; nil if it was known already.
func (w *Wheel[V]) restoreHost(r fileRecord, value func(id string) V) (*Member[V], error) {
	if w.core.find(r.id) != nil {
		return nil, nil
	}
	interval := lengthOf(tick(r.intervalMS))
	// At least 1 ms, which has passed since: news with an age changes nothing for a host that another goroutine announces
	// between the look above and ours.
	age := min(max(r.ageMS, 1), w.core.effectiveInterval(interval))
	if r.earlier.misses >= suspicious {
		// A suspect, with what is left of its grace, if only a moment.
		ttl, grace := w.core.life(interval)
		age = min(max(r.ageMS, ttl), ttl+max(grace, 1)-1)
	}
	var v V
	if value != nil {
		v = value(r.id)
	}
	m, outcome, err := w.announce(r.id, call{dated: true, aged: true, age: age, sets: true, interval: interval}, v)
	if err != nil || outcome != Registered {
		return nil, err
	}
	// A file may claim any age; this is the most that is written.
	older := min(saturatingSub(min(r.ageMS, math.MaxInt64)+r.earlier.olderMS, age), math.MaxUint32)
	w.past.note(m.host.handle, earlier{misses: r.earlier.misses, olderMS: older})
	return m, nil
}

// headerNow tells when the file is written. Where the system does not tell the boot and the time since, they are zero:
// not known.
func headerNow() fileHeader {
	h := fileHeader{wallNS: uint64(time.Now().UnixNano())}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return h
	}
	name, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return h
	}
	// In hundredths of a second, the time that the machine slept included.
	seconds, _, _ := strings.Cut(string(uptime), " ")
	since, err := strconv.ParseFloat(seconds, 64)
	id, wrong := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(name)), "-", ""))
	if err != nil || wrong != nil || len(id) != len(h.bootID) {
		return h
	}
	h.bootNS = uint64(since * float64(time.Second))
	copy(h.bootID[:], id)
	return h
}
