//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package hostwheel_test

// leftOversCanBeTold: files cannot be locked here, so temporaries stay.
const leftOversCanBeTold = false
