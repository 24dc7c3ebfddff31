// Package hostwheel tells a scheduler, exactly and cheaply, which of its hosts have gone.
//
// Hosts announce themselves every so often and say how often. One that stops is suspect after twice its interval (its TTL), and
// leaves after a grace: [Config] has the callbacks. An announce is one compare-and-swap; nobody scans all hosts; a leave comes
// within milliseconds of its moment and never before. Time in which the process itself stood still counts against no host.
//
//	wheel, err := hostwheel.New(hostwheel.Config[*Host]{
//		Leave: func(e *hostwheel.Event[*Host]) hostwheel.Verdict {
//			// Remove the host here, if e.Handle() is still the one that you know.
//			return hostwheel.Done
//		},
//	})
//	go wheel.Run(ctx)
//	// For every announce that arrives:
//	member, outcome, err := wheel.Announce(id, interval, host)
//	// or, cheaper, by the member that the first one returned:
//	err = member.Renew()
//
// # Backends
//
// There are two, with the same results, guards and errors; one suite of traces runs on both.
//
// [Pure] is written in Go and is the default. It works with CGO_ENABLED=0, on every platform, and in bubbles of
// testing/synctest. A mutex guards its wheel, never a renew or an announce of a host that is known.
//
// [Native] is the Rust library, by cgo, on Linux: build with -tags hostwheel_native and the library as README.md says. Its
// wheel is lock-free, and a thread of its own watches it, which neither the garbage collector nor busy goroutines keep from its
// work. A renew makes no cgo call: it swaps the word in the library's own record. Choose it for very large fleets, or when
// leaves have to be within milliseconds while the process is under load. It does not know the time of synctest's bubbles.
//
// # Time
//
// Events, statistics and [Status] tell wheel time: time since [New], less the time in which nobody watched. Instants that are
// handed in ([Member.RenewAt], [SeenAt]) are those of [time.Now]. One without a monotonic reading, as it comes out of a file or
// off the wire, is taken by the wall clock of the moment.
//
// On Linux and amd64 a renew reads the processor's counter and checks it against the system's clock every 8 ms: a stamp may be
// late by a millisecond ([Stats.Margin]) and is never early.
//
// # Values
//
// The value that a host is registered with stays in Go, beside the host. The wheel lets go of it when the host has left, by its
// own goodbye or when the Leave callback answered [Done].
package hostwheel
