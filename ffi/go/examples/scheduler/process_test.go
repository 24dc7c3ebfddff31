//go:build unix

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a scheduler or a host, and what it has logged.
type process struct {
	name    string
	command *exec.Cmd
	exited  chan struct{} // closed when it has exited and its whole log was read

	mu    sync.Mutex
	lines []string
	// announced are the announces that were answered, by the host's own account.
	announced []announcement
	grew      chan struct{} // closed at the next line
}

// announcement is when a host sent an announce and had its answer. The log rounds times down to milliseconds.
type announcement struct{ sent, answered time.Time }

// start starts the command in a process of its own, which ends with the test.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{
		name:    name,
		command: exec.Command(program, args...),
		exited:  make(chan struct{}),
		grew:    make(chan struct{}),
	}
	p.command.Env = append(os.Environ(), asCommand+"=1")
	// The write end stays open as long as the test runs.
	if _, err := p.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	log, err := p.command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go p.follow(log)
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.exited
		if t.Failed() {
			t.Logf("the log of %s:\n%s", name, strings.Join(p.lines, "\n"))
		}
	})
	return p
}

// follow reads the log until the process has exited.
func (p *process) follow(log io.Reader) {
	defer close(p.exited)
	scanner := bufio.NewScanner(log)
	for scanner.Scan() {
		p.mu.Lock()
		line := scanner.Text()
		p.lines = append(p.lines, line)
		if strings.Contains(line, "msg=announced ") {
			p.announced = append(p.announced, announcement{instant(line, "sent"), instant(line, "answered")})
		}
		close(p.grew)
		p.grew = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.command.Wait()
}

// field is the value of a key in a line of the log.
func field(line, key string) string {
	_, rest, _ := strings.Cut(line, " "+key+"=")
	value, _, _ := strings.Cut(rest, " ")
	return value
}

func instant(line, key string) time.Time {
	// A time that cannot be read is the zero time, which no check passes.
	at, _ := time.Parse(time.RFC3339Nano, field(line, key))
	return at
}

// announcements are those up to now.
func (p *process) announcements() []announcement {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.announced[:len(p.announced):len(p.announced)]
}

// await waits until what is logged satisfies a condition.
func (p *process) await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		p.mu.Lock()
		met, grew := condition(), p.grew
		p.mu.Unlock()
		if met {
			return
		}
		select {
		case <-grew:
		case <-p.exited:
			t.Fatalf("%s has exited: no %s", p.name, what)
		case <-timeout:
			t.Fatalf("%s: no %s within a minute", p.name, what)
		}
	}
}

// awaitAnnounce waits for one more announce.
func (p *process) awaitAnnounce(t *testing.T) {
	t.Helper()
	before := len(p.announcements())
	p.await(t, "announce", func() bool { return len(p.announced) > before })
}

// awaitLine waits for a line with a message, and returns it.
func (p *process) awaitLine(t *testing.T, message string) string {
	t.Helper()
	found := ""
	p.await(t, message, func() bool {
		for _, line := range p.lines {
			if strings.Contains(line, "msg="+message+" ") {
				found = line
			}
		}
		return found != ""
	})
	return found
}

func (p *process) signal(s syscall.Signal) {
	// Refused if it has exited already.
	_ = p.command.Process.Signal(s)
}

// exit waits for the exit of a process that is about to, and returns its status.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not exit", p.name)
	}
	return p.command.ProcessState.ExitCode()
}
