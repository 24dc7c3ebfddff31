//go:build !(linux && amd64)

package counter

// Read is not used here.
func Read() uint64 { return 0 }

// Usable says that nothing is known of a counter.
func Usable() bool { return false }
