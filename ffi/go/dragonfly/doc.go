// Package dragonfly has hostwheel find the hosts that a Dragonfly scheduler has lost. Dragonfly's code stays as it is.
//
//	gc := dragonfly.WrapGC(pkggc.New())
//	inner, err := standard.New(cfg, gc, credentials)
//	resource, err := dragonfly.Wrap(inner, dragonfly.Options{GC: gc, Mode: dragonfly.Enforce})
//	server := rpcserver.New(cfg, resource, …, resource.ServerOptions()...)
//
// Dragonfly looks at all hosts every five minutes and removes those not heard for twice their announce interval. With
// [Enforce] a wheel does it within milliseconds after that time and a grace have passed, and the scan is a back-stop. With
// [Shadow] the scan goes on as before, the wheel removes nothing, and [Resource.Report] compares them. With [Off] all is as
// if this package were not there.
//
// # Who is alive
//
// A host is heard when it announces itself, by either version of the API, when it registers a peer by the first one, and
// when another host fetches a piece from it: that is what moves Dragonfly's own UpdatedAt. The wheel learns of announces
// from an interceptor, and asks UpdatedAt before it gives a host up, so nothing that Dragonfly counts is missed. In addition,
// and unless switched off, a host is heard as long as it reports a download on an open stream; for Dragonfly that counts for
// nothing.
//
// A host that names no interval never expires, as in Dragonfly, unless Options.HostTTL is set.
//
// # What happens to a host that is gone
//
// What the scan does: it is deleted from the host manager, and its peers leave, once. That is done on workers, never where
// the wheel works. A host that is heard meanwhile stays: all changes of one host are made under a lock that it shares with
// few others, and the news that came during the deletion puts it back.
package dragonfly
