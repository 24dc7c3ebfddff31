package hostwheel

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The conformance suite: text traces that every implementation must pass; tests/conformance/README.md of the repository
// describes them. They run over the public surface. Only where a trace says more than the surface does, they ask the
// backend: events are drained and answered later in most traces, while the package answers when a callback returns.

const traceFolder = "../../tests/conformance"

// told is what the wheel answered, or an event, in the words of the format.
type told struct {
	word   string
	member *Member[uint64]
	fields map[string]string
	events []told
}

func says(word string, member *Member[uint64], pairs ...any) told {
	t := told{word: word, member: member, fields: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		t.fields[pairs[i].(string)] = fmt.Sprint(pairs[i+1])
	}
	return t
}

func refused(err error) told {
	for _, e := range []struct {
		err  error
		name string
	}{
		{errIDLength, "id_length"}, {ErrNotFound, "not_found"}, {ErrStale, "stale"}, {errNoLeave, "stale"},
		{ErrTaken, "taken"}, {ErrFull, "full"}, {ErrClosed, "closed"}, {errAttempt, "attempt"},
	} {
		if errors.Is(err, e.err) {
			return says("error:"+e.name, nil)
		}
	}
	return says("error:"+err.Error(), nil)
}

// inMS is a length in milliseconds, with a fraction if there is one: then it equals nothing that a trace can say.
func inMS(d time.Duration) string {
	if d%time.Millisecond == 0 {
		return strconv.FormatInt(d.Milliseconds(), 10)
	}
	return d.String()
}

func tellEvent(e *Event[uint64]) told {
	superseded := 0
	if e.Superseded {
		superseded = 1
	}
	return says(e.Kind.String(), e.Member, "id", hex.EncodeToString([]byte(e.ID())), "reason", e.Reason,
		"attempt", e.Attempt, "superseded", superseded, "data", e.Value(), "interval", inMS(e.Interval),
		"last_seen", inMS(e.LastSeen), "deadline", inMS(e.Deadline), "now", inMS(e.Now), "lateness", inMS(e.Lateness),
		"away", inMS(e.Away), "held", inMS(e.Held))
}

// tracedWheel performs the operations of one trace.
type tracedWheel struct {
	*testing.T
	backend  Backend
	settings map[string]uint64
	wheel    *Wheel[uint64]
	clockMS  int64
	seen     []told
	members  map[string]*Member[uint64]
}

func (t *tracedWheel) open() error {
	length := func(key string) time.Duration {
		if t.settings[key] == 0 {
			return Off
		}
		return time.Duration(t.settings[key]) * time.Millisecond
	}
	count := func(key string) int {
		if t.settings[key] == 0 {
			return -1
		}
		return int(t.settings[key])
	}
	note := func(e *Event[uint64]) { t.seen = append(t.seen, tellEvent(e)) }
	brake := Brake{
		BurstPermille: int(t.settings["brake_burst_permille"]), BurstMin: int(t.settings["brake_burst_min"]),
		RefillPermille: int(t.settings["brake_refill_permille"]), RefillMin: int(t.settings["brake_refill_min"]),
	}
	if brake == (Brake{}) {
		brake.Off = true
	}
	config := Config[uint64]{
		Backend: t.backend,
		HostTTL: length("host_ttl_ms"), Grace: length("grace_ms"), MinInterval: length("min_interval_ms"),
		MaxInterval: length("max_interval_ms"), Watchdog: length("watchdog_ms"), Backstop: length("backstop_ms"),
		MaxHosts: count("max_hosts"), MaxOutstanding: count("max_outstanding"),
		SilenceExpected: count("silence_expected"), Brake: brake, Manual: t.settings["own_clock"] == 0,
		Leave:   func(e *Event[uint64]) Verdict { note(e); return Done },
		Suspect: note, Recovered: note,
	}
	checked, err := config.check()
	if err != nil {
		return err
	}
	checked.settleTimeout = t.settings["settle_timeout_ms"]
	wheel, err := newWheel(config, checked)
	if err != nil {
		return err
	}
	t.wheel, t.clockMS = wheel, 0
	return nil
}

func (t *tracedWheel) number(op traceLine, key string) uint64 {
	value, ok := op.fields[key]
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		t.Fatalf("line %d: %v", op.line, err)
	}
	return n
}

// heardAt is the instant of an age on the manual clock. Ages are wheel time, instants are not: before the last late look, wheel
// time was ahead of what it would be today.
func (t *tracedWheel) heardAt(age uint64) time.Time {
	at := time.UnixMilli(t.clockMS - int64(age))
	a := t.wheel.core.(interface{ stamps() *announcing }).stamps()
	if raised := time.Unix(0, int64(a.raised.Load())); at.Before(raised) {
		return at.Add(-time.Duration(a.raisedBy.Load()))
	}
	return at
}

func (p *pure) stamps() *announcing { return &p.clock.announcing }

func (t *tracedWheel) perform(op traceLine) told {
	id, err := hex.DecodeString(op.fields["id"])
	if err != nil {
		t.Fatalf("line %d: %v", op.line, err)
	}
	member := t.members[op.fields["handle"]]
	if member != nil && member.host.core != t.wheel.core {
		// Of the wheel before a restart. A member knows its wheel and cannot be shown to another one.
		return says("error:stale", nil)
	}
	switch op.word {
	case "announce":
		return t.announce(op, string(id))
	case "renew":
		return t.renew(member, t.number(op, "age"))
	case "replace":
		return t.replace(op, string(id))
	case "leave":
		known, _ := t.wheel.Lookup(string(id))
		if err := t.wheel.Leave(string(id)); err != nil {
			return refused(err)
		}
		return says("ok", known, "data", known.Value())
	case "leave_handle":
		if err := member.Leave(); err != nil {
			return refused(err)
		}
		return says("ok", member, "data", member.Value())
	case "find":
		if len(id) == 0 || len(id) > LongestID {
			// Lookup has no error to return: an id that cannot be is not there.
			return says("error:id_length", nil)
		}
		found, ok := t.wheel.Lookup(string(id))
		if !ok {
			return says("error:not_found", nil)
		}
		return says("ok", found)
	case "inspect":
		return t.inspect(member)
	case "advance":
		return t.advance(int64(t.number(op, "to")))
	case "advance_undrained":
		return t.advanceUndrained(int64(t.number(op, "to")))
	case "drain":
		return t.drained()
	case "settle":
		verdict := Done
		if _, ok := op.fields["retry"]; ok {
			verdict = Retry(time.Duration(t.number(op, "retry")) * time.Millisecond)
		}
		if err := t.wheel.core.settle(&member.host, int(t.number(op, "attempt")), verdict); err != nil {
			return refused(err)
		}
		return says("ok", nil)
	case "stats":
		return t.stats()
	case "release":
		if err := t.wheel.Release(); err != nil {
			return refused(err)
		}
	case "close":
		if err := t.wheel.Close(); err != nil {
			return refused(err)
		}
	case "restart":
		return t.restart()
	default:
		t.Fatalf("line %d: there is no operation %s", op.line, op.word)
	}
	return says("ok", nil)
}

func (t *tracedWheel) announce(op traceLine, id string) told {
	interval := time.Duration(t.number(op, "interval")) * time.Millisecond
	clamps := t.wheel.Stats().Clamps
	var options []AnnounceOption
	if age := t.number(op, "age"); age > 0 {
		options = append(options, SeenAt(t.heardAt(age)))
	}
	member, outcome, err := t.wheel.Announce(id, interval, t.number(op, "data"), options...)
	if err != nil {
		return refused(err)
	}
	return says(outcome.String(), member, "interval", t.wheel.core.effectiveInterval(interval),
		"clamped", t.wheel.Stats().Clamps-clamps)
}

func (t *tracedWheel) replace(op traceLine, id string) told {
	interval := time.Duration(t.number(op, "interval")) * time.Millisecond
	clamps := t.wheel.Stats().Clamps
	member, old, err := t.wheel.Replace(id, interval, t.number(op, "data"))
	if err != nil {
		return refused(err)
	}
	ended, data := 0, uint64(0)
	if old != nil {
		ended, data = 1, old.Value()
	}
	return says("registered", member, "interval", t.wheel.core.effectiveInterval(interval),
		"clamped", t.wheel.Stats().Clamps-clamps, "ended", ended, "ended_data", data)
}

func (t *tracedWheel) renew(member *Member[uint64], age uint64) told {
	doubted := member.Suspect()
	err := member.Renew
	if age > 0 {
		err = func() error { return member.RenewAt(t.heardAt(age)) }
	}
	if err := err(); err != nil {
		return refused(err)
	}
	if doubted && !member.Suspect() {
		return says("recovered", member)
	}
	return says("renewed", member)
}

func (t *tracedWheel) inspect(member *Member[uint64]) told {
	s, err := member.Inspect()
	if err != nil {
		return refused(err)
	}
	word := map[State]string{Live: "live", Suspected: "suspect", Taken: "taken"}[s.State]
	holder := map[Hold]string{
		NotHeld: "no", HeldBySilence: "silence", HeldByBrake: "brake", HeldByOutstanding: "outstanding",
	}[s.HeldBy]
	suspectSince, heldSince := "none", "none"
	if s.State == Suspected {
		suspectSince = inMS(s.Deadline)
	}
	if s.HeldBy != NotHeld {
		heldSince = inMS(s.HeldSince)
	}
	return says(word, member, "data", member.Value(), "interval", inMS(s.Interval), "last_seen", inMS(s.LastSeen),
		"age", inMS(s.Age), "deadline", inMS(s.Deadline), "leaves_at", inMS(s.LeavesAt), "suspect_since", suspectSince,
		"held_since", heldSince, "held_by", holder)
}

// advance delivers to callbacks, or drains as long as something comes and answers nothing.
func (t *tracedWheel) advance(to int64) told {
	t.seen = nil
	now := time.Duration(to) * time.Millisecond
	if t.settings["own_clock"] == 1 {
		if _, err := t.wheel.Advance(now); !errors.Is(err, ErrInvalid) {
			t.Fatalf("Advance with a clock of its own: %v", err)
		}
		return says("error:mode", nil)
	}
	if t.settings["callback"] == 1 || t.wheel.core.closed() {
		if _, err := t.wheel.Advance(now); err != nil {
			return refused(err)
		}
	} else {
		for again := true; again; {
			t.wheel.core.advance(now)
			again = t.drain()
		}
	}
	t.clockMS = max(t.clockMS, to)
	answer := says("ok", nil, "events", len(t.seen))
	answer.events = t.seen
	return answer
}

// advanceUndrained leaves what comes in the queue.
func (t *tracedWheel) advanceUndrained(to int64) told {
	if err := t.wheel.refused(); err != nil {
		return refused(err)
	}
	t.clockMS = max(t.clockMS, to)
	return says("ok", nil, "made", t.wheel.core.advance(time.Duration(to)*time.Millisecond))
}

// drain drains all that is in the queue, and notes it; false if there was nothing.
func (t *tracedWheel) drain() bool {
	core := t.wheel.core
	events := core.drain(math.MaxInt)
	for i := range events {
		switch events[i].kind {
		case SuspectEvent:
			core.told(events[i].host)
		case LeaveEvent:
			core.supersede(&events[i])
		}
		t.seen = append(t.seen, tellEvent(eventOf[uint64](&events[i])))
	}
	return len(events) > 0
}

func (t *tracedWheel) drained() told {
	t.seen = nil
	t.drain()
	answer := says("ok", nil, "events", len(t.seen))
	answer.events = t.seen
	return answer
}

func (t *tracedWheel) stats() told {
	s := t.wheel.Stats()
	return says("ok", nil, "live", s.Live, "suspect", s.Suspect, "registered", s.Registered, "left", s.Left,
		"leaves_ttl", s.LeavesTTL, "leaves_host_ttl", s.LeavesHostTTL, "suspects", s.Suspects,
		"recoveries", s.Recoveries, "retries", s.Retries, "superseded", s.Superseded, "clamps", s.Clamps,
		"rescues", s.Rescues, "outstanding", s.Outstanding, "waiting", s.Waiting, "silences", s.Silences,
		"silence", inMS(s.Silence), "brake", inMS(s.Brake), "away", inMS(s.Away), "now", inMS(s.Now),
		"lateness_max", inMS(s.LatenessMax))
}

func (t *tracedWheel) restart() told {
	path := filepath.Join(t.TempDir(), "hosts.snap")
	written := len(slices.Collect(t.wheel.All()))
	// The numbers of the trace are the values, which a snapshot does not hold.
	values := map[string]uint64{}
	for member := range t.wheel.All() {
		values[member.ID()] = member.Value()
	}
	if err := t.wheel.Snapshot(path); err != nil {
		t.Fatal(err)
	}
	if err := t.open(); err != nil {
		t.Fatal(err)
	}
	if err := t.wheel.Restore(path, func(id string) uint64 { return values[id] }); err != nil {
		t.Fatal(err)
	}
	return says("ok", nil, "written", written, "restored", t.wheel.Stats().Registered)
}

// nameOf is what the trace calls a member.
func (t *tracedWheel) nameOf(member *Member[uint64]) string {
	for name, known := range t.members {
		if known == member {
			return name
		}
	}
	return ""
}

func (t *tracedWheel) checkHandle(name string, member *Member[uint64], binds bool) error {
	if member == nil {
		return fmt.Errorf("handle: there is none")
	}
	if !binds {
		if known := t.nameOf(member); known != name {
			return fmt.Errorf("handle: expected %s, got %q", name, known)
		}
		return nil
	}
	for known, other := range t.members {
		if known == name || other.Handle() == member.Handle() && other.host.core == member.host.core {
			return fmt.Errorf("handle: %s and %s have the same", known, name)
		}
	}
	t.members[name] = member
	return nil
}

func (t *tracedWheel) check(expected traceLine, got told, binds bool) error {
	if got.word != expected.word {
		return fmt.Errorf("expected %s, got %s %v", expected.word, got.word, got.fields)
	}
	for key, value := range expected.fields {
		if key == "handle" {
			if err := t.checkHandle(value, got.member, binds); err != nil {
				return err
			}
		} else if found, ok := got.fields[key]; !ok || found != value {
			return fmt.Errorf("%s: expected %s, got %q", key, value, found)
		}
	}
	return nil
}

// compare returns the line of the first difference, and what it is.
func (t *tracedWheel) compare(step traceStep, got told) (int, error) {
	name := step.answer.fields["handle"]
	binds := step.answer.word == "registered" || step.op.word == "find" && name != "" && t.members[name] == nil
	if err := t.check(step.answer, got, binds); err != nil {
		return step.answer.line, err
	}
	rest := slices.Clone(got.events)
	for _, expected := range step.events {
		at := slices.IndexFunc(rest, func(e told) bool {
			return e.word == expected.word && t.nameOf(e.member) == expected.fields["handle"]
		})
		if at < 0 {
			return expected.line, fmt.Errorf("no event %s of %s", expected.word, expected.fields["handle"])
		}
		if err := t.check(expected, rest[at], false); err != nil {
			return expected.line, err
		}
		rest = slices.Delete(rest, at, at+1)
	}
	if len(rest) > 0 {
		return step.answer.line, fmt.Errorf("an event that was not expected: %s of %q %v", rest[0].word, t.nameOf(rest[0].member), rest[0].fields)
	}
	return 0, nil
}

// skips says why this runner cannot run a trace; empty if it can.
func (t *trace) skips() string {
	for _, feature := range t.needs {
		if !slices.Contains(traceFeatures, feature) {
			return "needs " + feature
		}
	}
	if t.settings["callback"] == 1 {
		for _, step := range t.steps {
			if step.op.word == "settle" {
				return "answers a leave of a wheel that calls back, which the package has no call for"
			}
		}
	}
	return ""
}

// run is the first difference of a trace, by file and line.
func (t *trace) run(test *testing.T, backend Backend) error {
	wheel := &tracedWheel{T: test, backend: backend, settings: t.settings, members: map[string]*Member[uint64]{}}
	err := wheel.open()
	steps := t.steps
	if steps[0].op.word == "open" {
		answer := says("ok", nil)
		if err != nil {
			answer = says("error:config", nil)
		}
		if line, wrong := wheel.compare(steps[0], answer); wrong != nil {
			return fmt.Errorf("%s:%d: %w", t.name, line, wrong)
		}
		steps = steps[1:]
	}
	if err != nil {
		if len(steps) > 0 || steps == nil {
			return fmt.Errorf("%s: open: %w", t.name, err)
		}
		return nil
	}
	for _, step := range steps {
		switch step.op.word {
		case "renew", "leave_handle", "inspect", "settle":
			if wheel.members[step.op.fields["handle"]] == nil {
				return fmt.Errorf("%s:%d: %s was not bound", t.name, step.op.line, step.op.fields["handle"])
			}
		}
		if line, wrong := wheel.compare(step, wheel.perform(step.op)); wrong != nil {
			return fmt.Errorf("%s:%d: %w", t.name, line, wrong)
		}
	}
	return nil
}

func readTraces(t *testing.T) []*trace {
	files, err := filepath.Glob(filepath.Join(traceFolder, "*", "*.trace"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the traces are not here: this is not a checkout of the whole repository")
	}
	var traces []*trace
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parseTrace(filepath.ToSlash(file), string(text))
		if err != nil {
			t.Fatal(err)
		}
		traces = append(traces, parsed)
	}
	return traces
}

// backends are those that were compiled in.
func backends() []Backend {
	if nativeBuilt {
		return []Backend{Pure, Native}
	}
	return []Backend{Pure}
}

func TestEveryTracePasses(t *testing.T) {
	traces := readTraces(t)
	for _, backend := range backends() {
		t.Run(backend.String(), func(t *testing.T) {
			passed, skipped := 0, 0
			for _, trace := range traces {
				if why := trace.skips(); why != "" {
					skipped++
					t.Logf("%s: skipped: %s", trace.name, why)
					continue
				}
				if err := trace.run(t, backend); err != nil {
					t.Error(err)
					continue
				}
				passed++
			}
			t.Logf("%d traces passed, %d skipped", passed, skipped)
		})
	}
}

// A difference in one line is found, in every kind of answer and on every backend.
func TestAPlantedDifferenceIsFoundWithFileAndLine(t *testing.T) {
	const text = `hostwheel-trace 1
announce id=61 interval=10000 data=7 -> registered handle=h1 interval=10000
renew handle=h1 -> renewed
inspect handle=h1 -> live last_seen=0 deadline=20000
advance to=20000 -> ok events=1
  event suspect handle=h1 id=61 lateness=0
find id=62 -> error:not_found
stats -> ok suspects=1
`
	for _, backend := range backends() {
		for _, planted := range []struct {
			from, to string
			line     int
		}{
			{"", "", 0},
			{"interval=10000\nrenew", "interval=9999\nrenew", 2},
			{"-> renewed", "-> recovered", 3},
			{"deadline=20000", "deadline=20001", 4},
			{"events=1", "events=2", 5},
			{"event suspect", "event leave", 6},
			{"lateness=0", "lateness=1", 6},
			{"  event suspect handle=h1 id=61 lateness=0\n", "", 5},
			{"error:not_found", "ok", 7},
			{"suspects=1", "suspects=0", 8},
		} {
			changed, err := parseTrace("planted", strings.Replace(text, planted.from, planted.to, 1))
			if err != nil {
				t.Fatal(err)
			}
			err = changed.run(t, backend)
			if planted.line == 0 {
				if err != nil {
					t.Errorf("%v: nothing is planted, and found is %v", backend, err)
				}
				continue
			}
			if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("planted:%d:", planted.line)) {
				t.Errorf("%v: %q in place of %q: found %v", backend, planted.to, planted.from, err)
			}
		}
	}
}

func TestATraceOfNothingDoesNotPass(t *testing.T) {
	for _, text := range []string{"", "hostwheel-trace 1\n", "hostwheel-trace 2\nstats -> ok\n", "hostwheel-trace 1\nstats\n"} {
		if _, err := parseTrace("nothing", text); err == nil {
			t.Errorf("%q is taken for a trace", text)
		}
	}
}
