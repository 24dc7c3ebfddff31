package hostwheel

import (
	"errors"
	"fmt"
)

// The errors of the wheel. Whatever fails leaves the wheel as it was. They come wrapped where there is more to say, so
// compare with [errors.Is].
var (
	// ErrClosed: the wheel is closed. Open another.
	ErrClosed = errors.New("hostwheel: the wheel is closed: open another")
	// ErrStale: the member's host has left. Announce it by its id and use the new member.
	ErrStale = errors.New("hostwheel: the host has left: announce it by its id and use the new member")
	// ErrTaken: the host was handed out as a leave. Announce it by its id; it comes back as another member.
	ErrTaken = errors.New("hostwheel: the host was handed out as a leave: announce it by its id, it comes back as another member")
	// ErrNotFound: no host of that id is known.
	ErrNotFound = errors.New("hostwheel: no host of that id is known: it has left already or never announced")
	// ErrFull: MaxHosts hosts are known, leaves that wait for an answer included.
	ErrFull = errors.New("hostwheel: MaxHosts hosts are known, unanswered leaves included: raise it, or let hosts leave and try again")
	// ErrInvalid: an argument, a setting, a file or a call that does not fit the wheel's mode. The text says which.
	ErrInvalid = errors.New("hostwheel: invalid")
	// ErrPoisoned: the native core failed by a bug of its own and refuses all further work. The pure backend has no such state.
	ErrPoisoned = errors.New("hostwheel: the wheel failed by a bug of its own: please report it, and open another")
)

// invalid is an ErrInvalid that says what is wrong.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// errZeroTime: an instant that was never set.
var errZeroTime = invalid("the zero time is no instant at which a host was heard")

var errIDLength = invalid("the host id must have 1 to %d bytes", LongestID)

// Why an answer to a leave was refused. Callers of the package answer by what their callback returns, so they never meet
// these.
var (
	errNoLeave = errors.New("hostwheel: no leave of that host waits for an answer")
	errAttempt = errors.New("hostwheel: that attempt was answered already or replaced by a later one")
)

// FileFault says what is wrong with a snapshot file.
type FileFault int

// The faults of a snapshot file.
const (
	// NotASnapshot: the file does not begin like a snapshot, or is no plain file.
	NotASnapshot FileFault = iota + 1
	// NewerVersion: a later version of hostwheel wrote it.
	NewerVersion
	// Torn: it ends early.
	Torn
	// Damaged: what it says contradicts its checksums or itself.
	Damaged
	// Changed: somebody wrote to it in place while it was read.
	Changed
)

// SnapshotError says why a snapshot file was refused. It is an [ErrInvalid].
type SnapshotError struct {
	Fault FileFault
	// Offset is where in the file the damaged part begins, in bytes.
	Offset int64
	// Version is that of a newer file.
	Version uint32
	// Restored is the number of hosts that had been restored before; 0 unless the file changed.
	Restored int
}

// Error says what is wrong and what to do.
func (e *SnapshotError) Error() string {
	const nothing = "nothing was restored"
	switch e.Fault {
	case NotASnapshot:
		return "hostwheel: the file is not a snapshot: " + nothing
	case NewerVersion:
		return fmt.Sprintf("hostwheel: the snapshot has format %d, this package reads up to %d: %s", e.Version, formatVersion, nothing)
	case Torn:
		return "hostwheel: the snapshot ends early: " + nothing
	case Damaged:
		return fmt.Sprintf("hostwheel: the snapshot is damaged at byte %d: %s", e.Offset, nothing)
	default:
		return fmt.Sprintf("hostwheel: the snapshot was written to while it was read; %d hosts were restored before that", e.Restored)
	}
}

// Unwrap makes it an ErrInvalid.
func (e *SnapshotError) Unwrap() error { return ErrInvalid }
