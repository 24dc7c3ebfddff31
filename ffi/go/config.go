package hostwheel

import (
	"log/slog"
	"runtime"
	"time"
)

const (
	// LongestID is the longest host id in bytes.
	LongestID = 1024
	// Longest is the longest duration that any setting takes: 24 days.
	Longest = 24 * 24 * time.Hour
	// MostHosts is the greatest MaxHosts: 2^28.
	MostHosts = 1 << 28
	// DefaultGrace is the Grace of the zero Config, DefaultMinInterval its MinInterval.
	DefaultGrace       = 15 * time.Second
	DefaultMinInterval = time.Second
	// Off switches a setting off whose zero value stands for a default: Grace, Watchdog, Backstop.
	Off time.Duration = -1

	mostOutstanding = 1 << 24
	mostWorkers     = 1 << 16
)

// Backend names an implementation of the wheel.
type Backend int

const (
	// DefaultBackend is the best one that was compiled in.
	DefaultBackend Backend = iota
	// Pure is written in Go, and works on every platform.
	Pure
	// Native is the Rust core by way of cgo.
	Native
)

// String is the backend's name.
func (b Backend) String() string {
	switch b {
	case DefaultBackend:
		return "default"
	case Pure:
		return "pure"
	case Native:
		return "native"
	default:
		return "unknown"
	}
}

// ParseBackend is the backend of that name: "default", "pure" or "native".
//
// Errors: ErrInvalid.
func ParseBackend(name string) (Backend, error) {
	for b := DefaultBackend; b <= Native; b++ {
		if b.String() == name {
			return b, nil
		}
	}
	return DefaultBackend, invalid("the backend %q is unknown: want default, pure or native", name)
}

// Brake bounds how many hosts leave at once. Leaves pass a token bucket that follows the fleet, the most hosts alive within
// the last host TTL. It holds max(BurstMin, BurstPermille of the fleet) leaves and gets max(RefillMin, RefillPermille of
// the fleet) back each minute. What does not pass waits, and an announce still saves it.
//
// The zero value is the default: 200, 100, 200, 100. As soon as one number is set, all four mean what they say.
type Brake struct {
	// Off lets every leave pass when it is due. So does a brake both of whose burst numbers are 0.
	Off bool
	// The burst: its share of the fleet in thousandths, and its least value.
	BurstPermille, BurstMin int
	// The refill per minute, likewise.
	RefillPermille, RefillMin int
}

// Config says how a wheel behaves. A zero field takes its default, so the zero Config suits a scheduler whose hosts
// announce every few seconds to hours. All durations are rounded up to milliseconds and at most [Longest].
type Config[V any] struct {
	// HostTTL is the TTL of a host that announces without an interval; its effective interval is half of it. Default: 1 h.
	HostTTL time.Duration
	// Grace is how long a host past its TTL stays suspect before it leaves, at most its own interval. It covers one lost
	// announce. Off is the literal TTL, without a suspect stage. Default: 15 s.
	Grace time.Duration
	// MinInterval is what announced intervals below it are raised to. Default: 1 s.
	MinInterval time.Duration
	// MaxInterval is what announced intervals above it are lowered to. (Intervals above 34.9 minutes count in whole seconds,
	// rounded up, this one as well.) Default: 24 days.
	MaxInterval time.Duration
	// Watchdog: the wheel looks at the clock at least this often while it knows a host. Time between looks that were further
	// apart than planned counts against no host. Off believes the clock, also for the time in which Run does not run.
	// Default: 1 s.
	Watchdog time.Duration
	// Backstop is how often the native backend sweeps all its records. The pure backend cannot lose a host's hint, and has
	// nothing to sweep. Default: 5 min.
	Backstop time.Duration
	// MaxHosts is the most hosts known at a time, unanswered leaves included, 1 to [MostHosts]. Default: 2^24.
	MaxHosts int
	// MaxOutstanding is the most leaves handed out and not yet answered with Done, 1 to 2^24; further due hosts wait.
	// Default: 65,536.
	MaxOutstanding int
	// Workers is how many goroutines Run calls back on, 1 to 65,536. Events of one member come one at a time and in order,
	// whatever their number. Default: GOMAXPROCS.
	Workers int
	// Brake bounds mass leaves.
	Brake Brake
	// SilenceExpected is how many announces must have been due, and none heard, before the wheel holds that it is cut off
	// itself and lets nobody leave until somebody is heard, one host TTL at the longest. It begins when nobody was heard for
	// clearly longer than ever in the last two intervals of the slowest host, or than the interval of the host that is due.
	// Negative switches it off. Default: 20.
	SilenceExpected int
	// Backend chooses the implementation.
	Backend Backend
	// Manual gives the wheel a clock that moves in Advance only, for tests. Callbacks run inside Advance. An instant of time,
	// as RenewAt takes it, counts from the Unix epoch then: time.UnixMilli(5000) is 5 s after New.
	Manual bool
	// Logger is told of panics in callbacks. Default: slog.Default() at that moment.
	Logger *slog.Logger

	// Leave is called when a host is gone. Remove it if the member is still the one that you know, and answer Done or
	// Retry(after). Nil accepts every leave.
	Leave func(*Event[V]) Verdict
	// Suspect is called when a host's TTL has passed; it leaves after the grace, and not before this has returned. Who learns
	// of the host's life elsewhere answers here with RenewAt. May be nil.
	Suspect func(*Event[V])
	// Recovered is called when a suspect was heard again. May be nil.
	Recovered func(*Event[V])
	// Guard is told what the guards do: when silence and brake begin and end to hold hosts, when the wheel was away, when its
	// clock fell back. One call at a time, in order; it should not take long. May be nil.
	Guard func(GuardEvent)
}

// settings are a checked configuration with its defaults filled in, as a backend takes them. A duration of 0 is off.
type settings struct {
	terms
	watchdog, backstop, settleTimeout tick

	maxHosts        int
	maxOutstanding  int
	brake           Brake
	silenceExpected int
	manual          bool
}

// span is the bounds and the default of a duration.
type span struct {
	name         string
	value, usual time.Duration
	least        time.Duration // 0: may be switched off
}

func (s span) check() (tick, error) {
	switch {
	case s.value == 0:
		s.value = s.usual
	case s.value == Off && s.least == 0:
		return 0, nil
	case s.value < 0:
		return 0, invalid("%s is negative", s.name)
	}
	if s.value > Longest {
		return 0, invalid("%s must be at most 24 days", s.name)
	}
	if s.value < s.least {
		return 0, invalid("%s must be at least %v", s.name, s.least)
	}
	return ceilTicks(s.value), nil
}

func checkCount(name string, value *int, usual, most int) error {
	if *value == 0 {
		*value = usual
	}
	if *value < 1 || *value > most {
		return invalid("%s must be between 1 and %d", name, most)
	}
	return nil
}

// check fills the defaults in, and says what is wrong.
func (c *Config[V]) check() (settings, error) {
	s := settings{settleTimeout: ceilTicks(Longest), manual: c.Manual}
	for _, d := range []struct {
		span
		to *tick
	}{
		{span{"HostTTL", c.HostTTL, time.Hour, 2 * time.Millisecond}, &s.hostTTL},
		{span{"Grace", c.Grace, DefaultGrace, 0}, &s.grace},
		{span{"MinInterval", c.MinInterval, DefaultMinInterval, 1}, &s.minInterval},
		{span{"MaxInterval", c.MaxInterval, Longest, 1}, &s.maxInterval},
		{span{"Watchdog", c.Watchdog, time.Second, 0}, &s.watchdog},
		{span{"Backstop", c.Backstop, 5 * time.Minute, 0}, &s.backstop},
	} {
		length, err := d.check()
		if err != nil {
			return s, err
		}
		*d.to = length
	}
	if s.minInterval > s.maxInterval {
		return s, invalid("MinInterval must not be above MaxInterval")
	}
	for _, n := range []struct {
		name        string
		value       *int
		usual, most int
	}{
		{"MaxHosts", &c.MaxHosts, 1 << 24, MostHosts},
		{"MaxOutstanding", &c.MaxOutstanding, 65_536, mostOutstanding},
		{"Workers", &c.Workers, min(runtime.GOMAXPROCS(0), mostWorkers), mostWorkers},
	} {
		if err := checkCount(n.name, n.value, n.usual, n.most); err != nil {
			return s, err
		}
	}
	s.maxHosts, s.maxOutstanding = c.MaxHosts, c.MaxOutstanding
	s.silenceExpected = c.SilenceExpected
	if s.silenceExpected == 0 {
		s.silenceExpected = 20
	}
	if c.Backend < DefaultBackend || c.Backend > Native {
		return s, invalid("Backend %d is unknown", int(c.Backend))
	}
	var err error
	s.brake, err = c.Brake.check()
	return s, err
}

func (b Brake) check() (Brake, error) {
	if b == (Brake{}) {
		return Brake{BurstPermille: 200, BurstMin: 100, RefillPermille: 200, RefillMin: 100}, nil
	}
	if min(b.BurstPermille, b.BurstMin, b.RefillPermille, b.RefillMin) < 0 {
		return b, invalid("Brake has a negative number")
	}
	if b.BurstPermille == 0 && b.BurstMin == 0 {
		b.Off = true
	}
	if !b.Off && b.RefillPermille == 0 && b.RefillMin == 0 {
		return b, invalid("Brake has a burst and no refill: give it one, or set Off")
	}
	return b, nil
}
