package main

import (
	"flag"
	"io"
	"log/slog"
	"os"
	"testing"
)

// asCommand has the test binary be the scheduler command: the tests start it anew as their processes, built with the same
// tags and the same race detector.
const asCommand = "HOSTWHEEL_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) == "" {
		flag.Parse()
		if !testing.Verbose() {
			slog.SetDefault(slog.New(slog.DiscardHandler))
		}
		os.Exit(m.Run())
	}
	go func() {
		// The test holds the other end. However it ends, so do we.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	main()
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"unknown"},
		{"serve", "-backend", "quantum"},
		{"serve", "-unknown"},
		{"host", "superfluous"},
	} {
		if status := run(t.Context(), args); status != 2 {
			t.Errorf("%q: status %d, want 2", args, status)
		}
	}
	for _, args := range [][]string{
		{"host", "-interval", "0s"},
		{"serve", "-min-interval", "-1s"},
		{"serve", "-listen", "nowhere:-1"},
	} {
		if status := run(t.Context(), args); status != 1 {
			t.Errorf("%q: status %d, want 1", args, status)
		}
	}
	if status := run(t.Context(), []string{"serve", "-help"}); status != 0 {
		t.Errorf("-help: status %d, want 0", status)
	}
}
