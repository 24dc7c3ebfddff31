package hostwheel_test

import (
	"os"
	"testing"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// For a test of the repository (ffi/tests/go.rs), which names a file that the Rust core wrote, and one to write for it.
func TestASnapshotOfTheRustCore(t *testing.T) {
	in, out := os.Getenv("HOSTWHEEL_SNAPSHOT_IN"), os.Getenv("HOSTWHEEL_SNAPSHOT_OUT")
	if in == "" || out == "" {
		t.Skip("no file of the Rust core is named")
	}
	s := open(t, manual(hostwheel.Pure))
	must(t, s.wheel.Restore(in, func(id string) string { return "value of " + id }))
	equal(t, "hosts", s.wheel.Stats().Live, 4)
	m, ok := s.wheel.Lookup("worker-1")
	if !ok || m.Value() != "value of worker-1" {
		t.Fatalf("worker-1 is not there: %v", m)
	}
	equal(t, "interval", s.status(m).Interval, 30*sec)
	equal(t, "age", s.status(m).Age, 30*sec)
	must(t, s.wheel.Snapshot(out))
}
