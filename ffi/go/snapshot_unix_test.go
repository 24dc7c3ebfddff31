//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package hostwheel_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// leftOversCanBeTold: files can be locked, so a temporary that nobody writes is known as one.
const leftOversCanBeTold = true

func TestAPipeIsNoSnapshotAndNobodyWaitsForItsWriter(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		path := filepath.Join(t.TempDir(), "pipe")
		must(t, syscall.Mkfifo(path, 0o600))
		s := open(t, manual(backend))
		var refused *hostwheel.SnapshotError
		if err := s.wheel.Restore(path, nil); !errors.As(err, &refused) || refused.Fault != hostwheel.NotASnapshot {
			t.Errorf("a pipe: %v", err)
		}
	})
}

func TestATemporaryThatSomebodyWritesIsLeftAlone(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		folder := t.TempDir()
		busy := filepath.Join(folder, ".hosts.snap.1.1.tmp")
		file, err := os.Create(busy)
		must(t, err)
		defer file.Close()
		must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
		s := open(t, manual(backend))
		must(t, s.wheel.Snapshot(filepath.Join(folder, "hosts.snap")))
		if _, err := os.Stat(busy); err != nil {
			t.Errorf("it was removed under its writer: %v", err)
		}
	})
}

func TestASymbolicLinkIsReplacedAndNotFollowed(t *testing.T) {
	onEach(t, func(t *testing.T, backend hostwheel.Backend) {
		folder := t.TempDir()
		target, link := filepath.Join(folder, "target"), filepath.Join(folder, "hosts.snap")
		must(t, os.WriteFile(target, []byte("of another"), 0o600))
		must(t, os.Symlink(target, link))
		s := open(t, manual(backend))
		s.announce("a", time.Hour)
		must(t, s.wheel.Snapshot(link))
		kept, err := os.ReadFile(target)
		must(t, err)
		equal(t, "the target", string(kept), "of another")
		info, err := os.Lstat(link)
		must(t, err)
		equal(t, "a plain file", info.Mode().IsRegular(), true)
	})
}
