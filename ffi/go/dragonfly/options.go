package dragonfly

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"d7y.io/dragonfly/v2/scheduler/config"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// Mode says what is done about hosts that are gone.
type Mode int

const (
	// Off leaves all to Dragonfly's scan. No wheel is made.
	Off Mode = iota
	// Shadow leaves all to Dragonfly's scan, and reports what the wheel would have done.
	Shadow
	// Enforce has the wheel remove hosts. The scan does nothing but look, now and then, for hosts that the wheel lost.
	Enforce
)

// String is the mode's name.
func (m Mode) String() string {
	switch m {
	case Off:
		return "off"
	case Shadow:
		return "shadow"
	case Enforce:
		return "enforce"
	default:
		return "unknown"
	}
}

// ParseMode is the mode of that name.
func ParseMode(name string) (Mode, error) {
	for _, m := range []Mode{Off, Shadow, Enforce} {
		if m.String() == name {
			return m, nil
		}
	}
	return Off, fmt.Errorf("%w: the mode %q is unknown: want off, shadow or enforce", ErrOptions, name)
}

// DefaultBackstop is how often Enforce looks for hosts that the wheel lost, if Options.Backstop is 0.
const DefaultBackstop = time.Hour

// DefaultDownloadTimeout is how long a silent stream counts, if Options.DownloadTimeout is 0: what Dragonfly waits for a piece.
const DefaultDownloadTimeout = config.DefaultSchedulerPieceDownloadTimeout

// Options say how hosts are watched. Of the zero value only GC must be set, for all modes but Off. Fields that
// [hostwheel.Config] has as well mean the same there; what is 0 takes the default there.
type Options struct {
	Mode Mode
	// GC is what standard.New was given.
	GC *GC
	// HostTTL is the TTL of hosts that name no interval. 0: they never expire, as in Dragonfly.
	HostTTL time.Duration
	// IgnoreDownloads: a host that reports a download on an open stream is not heard by that.
	IgnoreDownloads bool
	// DownloadTimeout is how long after its latest message an open stream counts. A host that loses its power does not close
	// it. Default: [DefaultDownloadTimeout].
	DownloadTimeout time.Duration
	// Backstop is how often Enforce looks for hosts that the wheel lost. It does so at the first of Dragonfly's scans after
	// that time. Default: [DefaultBackstop].
	Backstop time.Duration

	// Backend chooses the implementation of the wheel.
	Backend hostwheel.Backend
	// Grace is how long a host past twice its interval is waited for, at most one interval; hostwheel.Off: for a millisecond,
	// in which Dragonfly is asked whether it heard of it.
	Grace time.Duration
	// MinInterval is what intervals below it are raised to.
	MinInterval time.Duration
	// MaxHosts is the most hosts that the wheel knows. Further ones are left to the back-stop, which then looks each time that
	// Dragonfly scans.
	MaxHosts int
	// Workers is how many goroutines remove hosts.
	Workers int
	// Brake bounds how many hosts are removed at once.
	Brake hostwheel.Brake
	// SilenceExpected is how many announces must have been due, and none heard, before nobody is removed any more.
	SilenceExpected int
	// Logger is told what concerns the wheel as a whole. Default: slog.Default(). What concerns one host goes to Dragonfly's
	// log of that host.
	Logger *slog.Logger
}

// ErrOptions: the options contradict each other or name what does not exist. The text says which.
var ErrOptions = errors.New("hostwheel/dragonfly: invalid options")

func (o *Options) check() error {
	switch {
	case o.Mode < Off || o.Mode > Enforce:
		return fmt.Errorf("%w: the mode %d is unknown", ErrOptions, int(o.Mode))
	case o.Mode == Off:
		return nil
	case o.GC == nil:
		return fmt.Errorf("%w: GC is nil: wrap the one that standard.New gets", ErrOptions)
	case o.HostTTL < 0 || o.Backstop < 0 || o.DownloadTimeout < 0:
		return fmt.Errorf("%w: HostTTL, Backstop or DownloadTimeout is negative", ErrOptions)
	}
	switch o.Grace {
	case 0:
		o.Grace = hostwheel.DefaultGrace
	case hostwheel.Off:
		o.Grace = time.Millisecond
	}
	if o.MinInterval == 0 {
		o.MinInterval = hostwheel.DefaultMinInterval
	}
	if o.DownloadTimeout == 0 {
		o.DownloadTimeout = DefaultDownloadTimeout
	}
	if o.Backstop == 0 {
		o.Backstop = DefaultBackstop
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}
