//go:build linux

package main

import (
	"os"
	"runtime/debug"
	_ "unsafe" // for go:linkname

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// logLevels are those of Dragonfly's log. The package is internal, and its level can be set from outside only by the
// scheduler's own command line (server.logLevel). Empty if Dragonfly calls them otherwise one day.
//
//go:linkname logLevels d7y.io/dragonfly/v2/internal/dflog.levels
var logLevels []zap.AtomicLevel

// muteLog has Dragonfly's log go nowhere, and returns the standard error that it went to.
func muteLog() *os.File {
	old, err := unix.Dup(unix.Stderr)
	must(err)
	nowhere, err := unix.Open(os.DevNull, unix.O_WRONLY, 0)
	must(err)
	must(unix.Dup2(nowhere, unix.Stderr))
	must(unix.Close(nowhere))
	stderr := os.NewFile(uintptr(old), "stderr")
	must(debug.SetCrashOutput(stderr, debug.CrashOptions{}))
	return stderr
}

// canSilence says whether the log can be switched off.
func canSilence() bool { return len(logLevels) > 0 }

// logFrom has Dragonfly log what is at least as grave as that. An announce is logged as information.
func logFrom(level zapcore.Level) {
	for _, l := range logLevels {
		l.SetLevel(level)
	}
}
