package counter

import (
	"os"
	"strings"
	"sync"
)

// Read is the counter at about this moment: the processor may read it a little before what the program does before it has
// ended, and that is the point, as it does not wait for that.
//
//go:noescape
func Read() uint64

// Usable says whether the counter goes on evenly and means the same on all processors. The kernel has found out: it tells the
// time by the counter only then.
var Usable = sync.OnceValue(func() bool {
	source, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	return err == nil && strings.TrimSpace(string(source)) == "tsc"
})
