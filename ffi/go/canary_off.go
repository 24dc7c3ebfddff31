//go:build !hostwheel_canary

package hostwheel

// Bugs that fuzzing can plant, to see that it finds them. Without the tag they are constants, and nothing of them is built.
const (
	canaryTagOnly      = false
	canaryNarrowLength = false
	canaryEarly        = false
	canaryOldNews      = false
)
