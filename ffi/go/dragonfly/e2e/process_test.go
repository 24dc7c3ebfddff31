//go:build unix

package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly"
	"github.com/hostwheel/hostwheel/ffi/go/dragonfly/internal/processes"
)

// asHost has the test binary be the host command.
const asHost = "HOSTWHEEL_TEST_AS_HOST"

func TestMain(m *testing.M) {
	if os.Getenv(asHost) == "" {
		flag.Parse()
		os.Exit(m.Run())
	}
	if err := hostCommand(os.Args[1:]); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// process is the scheduler or a host.
type process struct{ *processes.Process }

// start starts a process, which ends with the test.
func start(t *testing.T, name string, command *exec.Cmd) *process {
	t.Helper()
	return &process{processes.Start(t, name, command)}
}

// announce is one that was answered, by the host's own account.
type announce struct{ sent, answered time.Time }

// order tells a host something, and waits until it was done.
func (p *process) order(t *testing.T, order string) {
	t.Helper()
	if err := p.Tell(order); err != nil {
		t.Fatal(err)
	}
	p.Line(t, "obeyed "+order)
}

// announces are the announces of a host that were answered up to now.
func (p *process) announces() []announce {
	var list []announce
	for _, line := range p.Lines() {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "announced" {
			list = append(list, announce{instant(fields[1]), instant(fields[2])})
		}
	}
	return list
}

func instant(text string) time.Time {
	// What cannot be read is a time that passes no check.
	nanos, _ := strconv.ParseInt(text, 10, 64)
	return time.Unix(0, nanos)
}

// awaitAnnounces waits for some more announces of a host.
func (p *process) awaitAnnounces(t *testing.T, more int) {
	t.Helper()
	want := len(p.announces()) + more
	p.Await(t, "announce", func(lines []string) bool {
		n := 0
		for _, line := range lines {
			if strings.HasPrefix(line, "announced ") {
				n++
			}
		}
		return n >= want
	})
}

// native says whether the native backend is in this build.
func native() bool {
	wheel, err := hostwheel.New(hostwheel.Config[int]{Backend: hostwheel.Native})
	if errors.Is(err, hostwheel.ErrInvalid) {
		return false
	}
	_ = wheel.Close()
	return true
}

// scheduler is Dragonfly's scheduler as a process.
type scheduler struct {
	*process
	address, pages string
}

// buildScheduler builds the scheduler. It is built without the race detector: Dragonfly writes and reads some fields of its
// hosts without synchronisation.
func buildScheduler(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "scheduler")
	build := []string{"build", "-o", program}
	if native() {
		build = append(build, "-tags", "hostwheel_native")
	}
	if output, err := exec.Command("go", append(build, "../scheduler")...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	return program
}

// startScheduler builds and starts the scheduler.
func startScheduler(t *testing.T, args ...string) *scheduler {
	t.Helper()
	return runScheduler(t, buildScheduler(t), args...)
}

// runScheduler starts a scheduler that was built.
func runScheduler(t *testing.T, program string, args ...string) *scheduler {
	t.Helper()
	args = append(args, "-listen", "127.0.0.1:0", "-metrics", "127.0.0.1:0", "-folder", t.TempDir())
	s := &scheduler{process: start(t, "scheduler", exec.Command(program, args...))}
	line := s.Line(t, "INFO serving ")
	s.address, s.pages = processes.Field(line, "grpc"), processes.Field(line, "metrics")
	return s
}

// startHost starts a host.
func (s *scheduler) startHost(t *testing.T, id string, args ...string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, append([]string{"-scheduler", s.address, "-id", id}, args...)...)
	command.Env = append(os.Environ(), asHost+"=1")
	return start(t, id, command)
}

func (s *scheduler) page(t *testing.T, page string) []byte {
	t.Helper()
	answer, err := http.Get("http://" + s.pages + page)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", page, answer.Status, err)
	}
	return body
}

// report is what the wheel did, by the scheduler's account.
func (s *scheduler) report(t *testing.T) (r dragonfly.Report) {
	t.Helper()
	if err := json.Unmarshal(s.page(t, "/report"), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// away is the time that the wheel did not count, because nobody watched.
func (s *scheduler) away(t *testing.T) time.Duration {
	t.Helper()
	for line := range strings.Lines(string(s.page(t, "/metrics"))) {
		if text, ok := strings.CutPrefix(line, "hostwheel_away_seconds_total "); ok {
			seconds, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(seconds * float64(time.Second))
		}
	}
	t.Fatal("/metrics does not tell of time that was not counted")
	return 0
}
