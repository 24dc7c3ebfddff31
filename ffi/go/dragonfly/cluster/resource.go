package cluster

import (
	"fmt"
	"strings"

	pkgredis "d7y.io/dragonfly/v2/pkg/redis"
	"d7y.io/dragonfly/v2/scheduler/resource/persistent"
	"d7y.io/dragonfly/v2/scheduler/resource/persistentcache"
)

// Resource is one of the sets of hosts that schedulers share.
type Resource int

const (
	// Persistent are the hosts of persistent tasks.
	Persistent Resource = iota
	// PersistentCache are the hosts of persistent cache tasks.
	PersistentCache
	// resources is how many there are.
	resources
)

// String is the resource's name.
func (r Resource) String() string {
	switch r {
	case Persistent:
		return "persistent"
	case PersistentCache:
		return "persistent-cache"
	default:
		return fmt.Sprintf("Resource(%d)", int(r))
	}
}

// scan is the name of its scan.
func (r Resource) scan() string { return [...]string{persistent.GCHostID, persistentcache.GCHostID}[r] }

// keys are the names that one resource has in Redis.
type keys struct {
	// hosts is the set of all ids; host and after are around the id in the key of one.
	hosts, host string
	// hostPeers are around a host's id in the key of the set of its peers, and so on.
	hostPeers, taskPeers, persistentTaskPeers around
	peer                                      string
}

// around is what stands before and after an id.
type around [2]string

func (a around) key(id string) string { return a[0] + id + a[1] }

func cut(make func(cluster uint, id string) string, cluster uint) around {
	const id = "\x00"
	before, after, _ := strings.Cut(make(cluster, id), id)
	return around{before, after}
}

// keys are the resource's in a cluster. Dragonfly makes them, so they follow when it renames them.
func (r Resource) keys(cluster uint) keys {
	if r == Persistent {
		return keys{
			hosts:               pkgredis.MakePersistentHostsInScheduler(cluster),
			host:                pkgredis.MakePersistentHostKeyInScheduler(cluster, ""),
			hostPeers:           cut(pkgredis.MakePersistentCachePeersOfPersistentHostInScheduler, cluster),
			taskPeers:           cut(pkgredis.MakePersistentCachePeersOfPersistentTaskInScheduler, cluster),
			persistentTaskPeers: cut(pkgredis.MakePersistentPeersOfPersistentTaskInScheduler, cluster),
			peer:                pkgredis.MakePersistentCachePeerKeyForPersistentTaskInScheduler(cluster, ""),
		}
	}
	return keys{
		hosts:               pkgredis.MakePersistentCacheHostsInScheduler(cluster),
		host:                pkgredis.MakePersistentCacheHostKeyInScheduler(cluster, ""),
		hostPeers:           cut(pkgredis.MakePersistentCachePeersOfPersistentCacheHostInScheduler, cluster),
		taskPeers:           cut(pkgredis.MakePersistentCachePeersOfPersistentCacheTaskInScheduler, cluster),
		persistentTaskPeers: cut(pkgredis.MakePersistentPeersOfPersistentCacheTaskInScheduler, cluster),
		peer:                pkgredis.MakePersistentCachePeerKeyForPersistentCacheTaskInScheduler(cluster, ""),
	}
}
