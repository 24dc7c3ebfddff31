//go:build unix

// Package processes runs programs in tests, and follows what they say.
package processes

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program, and what it has said.
type Process struct {
	Name    string
	command *exec.Cmd
	orders  io.Writer
	exited  chan struct{} // closed when it has exited and all that it said was read

	mu    sync.Mutex
	lines []string
	grew  chan struct{} // closed at the next line
}

// Start starts a program, which ends with the test.
func Start(t testing.TB, name string, command *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Name: name, command: command, exited: make(chan struct{}), grew: make(chan struct{})}
	var err error
	if p.orders, err = command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	said, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go p.follow(said)
	t.Cleanup(func() {
		p.Signal(syscall.SIGKILL)
		<-p.exited
		if t.Failed() {
			t.Logf("the last words of %s:\n%s", name, strings.Join(p.lines[max(0, len(p.lines)-40):], "\n"))
		}
	})
	return p
}

func (p *Process) follow(said io.Reader) {
	defer close(p.exited)
	scanner := bufio.NewScanner(said)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, scanner.Text())
		close(p.grew)
		p.grew = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.command.Wait()
}

// Lines are those that it has said up to now.
func (p *Process) Lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines[:len(p.lines):len(p.lines)]
}

// Await waits until what was said satisfies a condition.
func (p *Process) Await(t testing.TB, what string, condition func(lines []string) bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		p.mu.Lock()
		met, grew := condition(p.lines), p.grew
		p.mu.Unlock()
		if met {
			return
		}
		select {
		case <-grew:
		case <-p.exited:
			t.Fatalf("%s has exited: no %s", p.Name, what)
		case <-timeout:
			t.Fatalf("%s: no %s within a minute", p.Name, what)
		}
	}
}

// Line waits for a line with some words in it, and returns the latest one.
func (p *Process) Line(t testing.TB, words string) string {
	t.Helper()
	found := ""
	p.Await(t, words, func(lines []string) bool {
		for _, line := range lines {
			if strings.Contains(line, words) {
				found = line
			}
		}
		return found != ""
	})
	return found
}

// Tell writes a line to its standard input.
func (p *Process) Tell(line string) error {
	_, err := fmt.Fprintln(p.orders, line)
	return err
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) {
	// Refused if it has exited already.
	_ = p.command.Process.Signal(s)
}

// Exit waits for the exit of a process that is about to, and returns its status.
func (p *Process) Exit(t testing.TB) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not exit", p.Name)
	}
	return p.command.ProcessState.ExitCode()
}

// Field is the value of a key in a line of slog's.
func Field(line, key string) string {
	_, rest, _ := strings.Cut(line, " "+key+"=")
	value, _, _ := strings.Cut(rest, " ")
	return value
}
