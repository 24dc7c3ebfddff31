// Package cluster finds the hosts that a cluster of Dragonfly schedulers has lost. Such schedulers share their persistent and
// persistent cache hosts in Redis, and each of them loads all of these every five minutes. With this package, each has a
// hostwheel wheel of them, and asks Redis only of hosts that it has not heard itself.
//
//	s.gc = cluster.WrapGC(gc)                       // around the one of package dragonfly, or Dragonfly's own
//	s.persistentResource, err = persistent.New(cfg, s.gc, rdb, credentials)
//	s.persistentCacheResource, err = persistentcache.New(cfg, s.gc, rdb, credentials)
//	watch, err := cluster.New(cluster.Options{Redis: rdb, ClusterID: cfg.Manager.SchedulerClusterID, GC: s.gc})
//	go watch.Run(ctx)
//	server := rpcserver.New(cfg, …, watch.ServerOptions()...)
//
// # Who is gone
//
// A host announces itself to one scheduler or to several, and each that hears it writes the second to its updated_at. A host is gone
// when that is older than twice its interval, the grace, a second and Options.Skew. A scheduler that has not heard a host
// for its TTL asks Redis, and goes by the answer. One that has asked in vain deletes the host by a script, which does nothing if
// updated_at has changed since: so of several schedulers just one deletes a host, and one that hears nobody deletes none that
// others have heard.
//
// Three more things count against no host: time in which Redis took no writes, or stood still, as announces were lost then; the
// time before this scheduler had learned of the host, but for one interval; and, as in every wheel, time in which the scheduler
// itself stood still, or heard nobody at all. And Redis's own clock must agree, to within the skew.
//
// # What Redis is asked
//
// Once, all ids and of each host two fields; then all ids again in each Options.Discover, and two fields of those that are new; a
// small write every two seconds, which tells whether Redis takes writes; and for each host that this scheduler has not heard
// for its TTL, one read, and one script if it is to be deleted. While nobody dies and each scheduler hears each host, that is
// a command in five minutes for each thousand hosts.
package cluster
