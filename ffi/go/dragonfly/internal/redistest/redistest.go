//go:build unix

// Package redistest has a redis-server for a test, which can be killed and started again.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server on a port of its own, which writes each command to its disk before it answers.
type Server struct {
	t       testing.TB
	folder  string
	Address string
	command *exec.Cmd
	// Client is for the test's own questions.
	Client *redis.Client
}

// Start starts a redis-server, which ends with the test. Without the program, the test is skipped, or fails if
// HOSTWHEEL_REQUIRE_REDIS is 1.
func Start(t testing.TB) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("HOSTWHEEL_REQUIRE_REDIS") == "1" {
			t.Fatal("there is no redis-server: install it (Debian: redis-server)")
		}
		t.Skip("there is no redis-server")
	}
	s := &Server{t: t, folder: t.TempDir(), Address: free(t)}
	s.Client = redis.NewClient(&redis.Options{Addr: s.Address, ReadTimeout: 30 * time.Second})
	t.Cleanup(func() {
		s.Client.Close()
		s.Kill()
	})
	s.Restart()
	return s
}

// free is an address that nobody listens on.
func free(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// Kill kills it. What it has answered is on its disk.
func (s *Server) Kill() {
	if s.command == nil {
		return
	}
	// Refused if it has exited already.
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
	s.command = nil
}

// Stop has it stand still, and Continue go on.
func (s *Server) Stop() { _ = s.command.Process.Signal(syscall.SIGSTOP) }

// Continue ends a Stop.
func (s *Server) Continue() { _ = s.command.Process.Signal(syscall.SIGCONT) }

// Restart starts it again after Kill, with what is on its disk, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	host, port, _ := strings.Cut(s.Address, ":")
	s.command = exec.Command("redis-server", "--bind", host, "--port", port, "--dir", s.folder, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--notify-keyspace-events", "Eg", "--loglevel", "warning")
	var said strings.Builder
	s.command.Stdout, s.command.Stderr = &said, &said
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	for began := time.Now(); s.Client.Ping(context.Background()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			s.Kill()
			s.t.Fatalf("redis-server does not answer within a minute:\n%s", said.String())
		}
	}
}

// Calls is how often each command was called since the server was started.
func (s *Server) Calls() map[string]int {
	s.t.Helper()
	info, err := s.Client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	calls := map[string]int{}
	for line := range strings.Lines(info) {
		var n int
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
		if _, err := fmt.Sscanf(rest, "calls=%d", &n); found && err == nil {
			calls[name] = n
		}
	}
	return calls
}
