package hostwheel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Reading conformance traces; tests/conformance/README.md of the repository describes them.

// traceFeatures are what this runner has.
var traceFeatures = []string{"guards", "queue", "callback", "clock", "snapshot", "replace"}

var traceSettings = map[string]uint64{
	"host_ttl_ms": 3_600_000, "grace_ms": 15_000, "min_interval_ms": 1000, "max_interval_ms": 2_073_600_000,
	"watchdog_ms": 0, "backstop_ms": 300_000, "settle_timeout_ms": 60_000, "max_hosts": 4096, "max_outstanding": 4096,
	"silence_expected": 0, "brake_burst_permille": 0, "brake_burst_min": 0, "brake_refill_permille": 0,
	"brake_refill_min": 0, "callback": 0, "own_clock": 0,
}

// traceLine is one line's word and its fields.
type traceLine struct {
	line   int
	word   string
	fields map[string]string
}

// traceStep is an operation, its answer, and the events that come with it.
type traceStep struct {
	op, answer traceLine
	events     []traceLine
}

type trace struct {
	name     string
	needs    []string
	settings map[string]uint64
	steps    []traceStep
}

func parseLine(line int, words []string) (traceLine, error) {
	if len(words) == 0 {
		return traceLine{}, fmt.Errorf("a word is missing")
	}
	parsed := traceLine{line: line, word: words[0], fields: map[string]string{}}
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return traceLine{}, fmt.Errorf("%s is not of the form key=value", word)
		}
		parsed.fields[key] = value
	}
	return parsed, nil
}

func parseTrace(name, text string) (*trace, error) {
	t := &trace{name: name, settings: map[string]uint64{}}
	for key, value := range traceSettings {
		t.settings[key] = value
	}
	headed := false
	for at, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if comment := slices.IndexFunc(words, func(word string) bool { return word[0] == '#' }); comment >= 0 {
			words = words[:comment]
		}
		if len(words) == 0 {
			continue
		}
		if !headed {
			if !slices.Equal(words, []string{"hostwheel-trace", "1"}) {
				return nil, fmt.Errorf("%s:%d: a trace begins with: hostwheel-trace 1", name, at+1)
			}
			headed = true
			continue
		}
		if err := t.add(at+1, words); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, at+1, err)
		}
	}
	if len(t.steps) == 0 {
		return nil, fmt.Errorf("%s: there is no operation", name)
	}
	return t, nil
}

func (t *trace) add(line int, words []string) error {
	switch words[0] {
	case "needs":
		t.needs = append(t.needs, words[1:]...)
		return nil
	case "config":
		parsed, err := parseLine(line, words)
		if err != nil {
			return err
		}
		for key, value := range parsed.fields {
			if _, ok := traceSettings[key]; !ok {
				return fmt.Errorf("there is no setting %s", key)
			}
			if t.settings[key], err = strconv.ParseUint(value, 10, 64); err != nil {
				return err
			}
		}
		return nil
	case "event":
		event, err := parseLine(line, words[1:])
		if err != nil {
			return err
		}
		if len(t.steps) == 0 || event.fields["handle"] == "" {
			return fmt.Errorf("an event follows an operation and names its handle")
		}
		last := &t.steps[len(t.steps)-1]
		last.events = append(last.events, event)
		return nil
	}
	arrow := slices.Index(words, "->")
	if arrow < 0 {
		return fmt.Errorf("there is no ->")
	}
	op, err := parseLine(line, words[:arrow])
	if err != nil {
		return err
	}
	answer, err := parseLine(line, words[arrow+1:])
	if err != nil {
		return err
	}
	t.steps = append(t.steps, traceStep{op: op, answer: answer})
	return nil
}
