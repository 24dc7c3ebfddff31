package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// The defaults of Options.
const (
	DefaultSkew      = 5 * time.Second
	DefaultDiscover  = 5 * time.Minute
	DefaultPage      = 1000
	DefaultRate      = 10_000
	DefaultHeartbeat = 2 * time.Second
	DefaultWorkers   = 64
)

// Options say how hosts are watched. Redis, ClusterID and GC must be set. Fields that [hostwheel.Config] has as well mean the
// same there; what is 0 takes the default there, or here.
type Options struct {
	// Redis is what persistent.New was given. Redis 5 or later; no Redis Cluster, in which Dragonfly's own scripts do not work.
	Redis redis.UniversalClient
	// ClusterID is config.Manager.SchedulerClusterID: part of all keys.
	ClusterID uint
	// GC is what persistent.New and persistentcache.New were given.
	GC *GC
	// Resources are those whose hosts are watched. Default: all of which GC has the scan.
	Resources []Resource

	// Skew is by how much the clocks of two schedulers, and that of Redis, may differ. Default: [DefaultSkew].
	Skew time.Duration
	// LeavePeers deletes the peers of a host that is gone in the same step. Dragonfly's scan leaves them, to be found without a
	// host, until their tasks end.
	LeavePeers bool
	// Removed is told of each host that this scheduler deleted, on a worker. Of several schedulers that run this one is told, or
	// none if Redis failed after it did the work. May be nil.
	Removed func(Removal)

	// Discover is how long one look at all ids takes, by which hosts are found that only others have heard. Choose it at most
	// as long as the hosts' interval, so that a host is known here before it can be gone. Default: [DefaultDiscover].
	Discover time.Duration
	// Page is about how many ids Redis is asked for at a time. Default: [DefaultPage].
	Page int
	// Rate bounds the commands a second of the first load and of looks at all ids. Default: [DefaultRate].
	Rate int
	// Heartbeat is how often Redis is asked whether it takes writes. An outage that it misses must be shorter than the grace that
	// hosts have: at most 5 s. One whose answer is more than 3 s late counts as an outage itself. Default: [DefaultHeartbeat].
	Heartbeat time.Duration

	// Backend chooses the implementation of the wheel.
	Backend hostwheel.Backend
	// HostTTL is the TTL of hosts that name no interval. 0: they never expire, as in Dragonfly.
	HostTTL time.Duration
	// Grace is how long a host past twice its interval is waited for, at most one interval. hostwheel.Off: not at all.
	Grace time.Duration
	// MinInterval is what intervals below it are raised to.
	MinInterval time.Duration
	// MaxHosts is the most hosts that the wheel knows. If there are more, Dragonfly's scan goes on.
	MaxHosts int
	// Workers is how many hosts are asked for or deleted at a time. Default: [DefaultWorkers].
	Workers int
	// Brake bounds how many hosts this scheduler deletes at once.
	Brake hostwheel.Brake
	// SilenceExpected is how many announces must have been due, and none heard, neither here nor by others, before nobody is
	// deleted any more.
	SilenceExpected int
	// Logger is told of deletions, outages and what else an operator should know. Default: slog.Default().
	Logger *slog.Logger
}

// ErrOptions: the options contradict each other or name what does not exist. The text says which.
var ErrOptions = errors.New("hostwheel/cluster: invalid options")

func (o *Options) check() error {
	switch {
	case o.Redis == nil:
		return fmt.Errorf("%w: Redis is nil", ErrOptions)
	case o.GC == nil:
		return fmt.Errorf("%w: GC is nil: wrap the one that persistent.New gets", ErrOptions)
	case o.Skew < 0 || o.Discover < 0 || o.Heartbeat < 0 || o.HostTTL < 0 || o.Page < 0 || o.Rate < 0:
		return fmt.Errorf("%w: Skew, Discover, Heartbeat, HostTTL, Page or Rate is negative", ErrOptions)
	case slices.ContainsFunc(o.Resources, func(r Resource) bool { return r < 0 || r >= resources }):
		return fmt.Errorf("%w: a resource is unknown: want Persistent or PersistentCache", ErrOptions)
	case len(o.Resources) > 1 && o.Resources[0] == o.Resources[1] || len(o.Resources) > int(resources):
		return fmt.Errorf("%w: a resource named twice", ErrOptions)
	case o.Heartbeat > 5*time.Second:
		return fmt.Errorf("%w: a Heartbeat of %v misses outages that living hosts would not survive: at most 5 s", ErrOptions, o.Heartbeat)
	}
	o.Skew = either(o.Skew, DefaultSkew)
	o.Discover = either(o.Discover, DefaultDiscover)
	o.Page = either(o.Page, DefaultPage)
	o.Rate = either(o.Rate, DefaultRate)
	o.Heartbeat = either(o.Heartbeat, DefaultHeartbeat)
	o.Workers = either(o.Workers, DefaultWorkers)
	o.MinInterval = either(o.MinInterval, hostwheel.DefaultMinInterval)
	if o.Grace = either(o.Grace, hostwheel.DefaultGrace); o.Grace == hostwheel.Off {
		o.Grace = 0
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// either is a value, or what it is if it is not set.
func either[T int | time.Duration](value, unset T) T {
	if value == 0 {
		return unset
	}
	return value
}

// margin is what a host is waited for beyond its TTL and its grace: its updated_at is in whole seconds, of another clock.
func (o *Options) margin() time.Duration { return time.Second + o.Skew }

// expires says whether a host that said that interval ever expires.
func (o *Options) expires(interval time.Duration) bool { return interval > 0 || o.HostTTL > 0 }

// announced is the interval that the wheel is told for one that a host said: hosts that never expire are looked at once in a
// long while.
func (o *Options) announced(interval time.Duration) time.Duration {
	if !o.expires(interval) {
		return hostwheel.Longest
	}
	return max(interval, 0)
}

// told is that interval as the wheel tells it back.
func (o *Options) told(interval time.Duration) time.Duration {
	if interval = o.announced(interval); interval == 0 {
		return 0
	}
	return min(max(interval, o.MinInterval), hostwheel.Longest)
}

// effective is the interval that the wheel goes by.
func (o *Options) effective(interval time.Duration) time.Duration {
	if told := o.told(interval); told > 0 {
		return told
	}
	return o.HostTTL / 2
}

// due is the age at which a host may be deleted.
func (o *Options) due(interval time.Duration) time.Duration {
	effective := o.effective(interval)
	return 2*effective + min(o.Grace, effective) + o.margin()
}
