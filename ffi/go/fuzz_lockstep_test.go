package hostwheel

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"testing"
)

// FuzzOp is an operation of a trace in numbers, for fuzzing: whatever the text says, it is one that has an answer.
type FuzzOp struct {
	Word, ID, Handle string
	// Names is what the trace calls a host that this operation registers.
	Names string
	// In milliseconds; so short that none of their sums overflows.
	Interval, Age, To, Retry uint64
	Data, Attempt            uint64
	Retries                  bool
}

// FuzzTrace is what fuzzing makes of a text.
type FuzzTrace struct {
	// Settings are those of traces.
	Settings map[string]uint64
	Ops      []FuzzOp
}

const (
	// More operations find what fewer find.
	fuzzedOps = 100
	// Eight years, twice of which wheel time can hold.
	fuzzedTime = 1 << 38
)

// ReadFuzzTrace reads any text; nil if it is no trace.
func ReadFuzzTrace(text string) *FuzzTrace {
	read, err := parseTrace("fuzzed", text)
	if err != nil {
		return nil
	}
	f := &FuzzTrace{Settings: read.settings}
	for _, step := range read.steps[:min(len(read.steps), fuzzedOps)] {
		fields := step.op.fields
		id, err := hex.DecodeString(fields["id"])
		if err != nil {
			continue
		}
		op := FuzzOp{Word: step.op.word, ID: string(id), Handle: fields["handle"], Names: step.answer.fields["handle"]}
		_, op.Retries = fields["retry"]
		for key, to := range map[string]*uint64{
			"interval": &op.Interval, "age": &op.Age, "to": &op.To, "retry": &op.Retry, "data": &op.Data, "attempt": &op.Attempt,
		} {
			number, _ := strconv.ParseUint(fields[key], 10, 64)
			if *to = number; key != "data" {
				*to %= fuzzedTime
			}
		}
		f.Ops = append(f.Ops, op)
	}
	return f
}

// Lockstep runs a trace on both backends and compares all that they say. What the rules leave open (see the rules for authors
// in tests/conformance/README.md) is left out: guards, small queues, registrations with an age, figures in between.
func Lockstep(t *testing.T, f *FuzzTrace) error {
	settings := map[string]uint64{}
	for key, value := range f.Settings {
		settings[key] = value % fuzzedTime
	}
	for _, key := range []string{
		"silence_expected", "brake_burst_permille", "brake_burst_min", "brake_refill_permille", "brake_refill_min", "own_clock",
	} {
		settings[key] = 0
	}
	settings["max_hosts"] = min(settings["max_hosts"], 4096)
	settings["max_outstanding"] = 4096
	settings["settle_timeout_ms"] = max(settings["settle_timeout_ms"], 1)
	var sides []*tracedWheel
	var refusals []error
	for _, backend := range []Backend{Pure, Native} {
		side := &tracedWheel{T: t, backend: backend, settings: settings, members: map[string]*Member[uint64]{}}
		refusals = append(refusals, side.open())
		sides = append(sides, side)
	}
	if (refusals[0] == nil) != (refusals[1] == nil) {
		return fmt.Errorf("opening: %v and %v", refusals[0], refusals[1])
	}
	if refusals[0] != nil {
		return nil
	}
	for at, op := range f.Ops {
		var said []string
		for _, side := range sides {
			said = append(said, side.fuzzed(op, at))
		}
		if said[0] != said[1] {
			return fmt.Errorf("operation %d, %+v: pure: %s, native: %s", at, op, said[0], said[1])
		}
	}
	return nil
}

// fuzzed performs one operation and returns all that it said.
func (t *tracedWheel) fuzzed(op FuzzOp, at int) string {
	line := traceLine{word: op.Word, fields: map[string]string{"id": hex.EncodeToString([]byte(op.ID)), "handle": op.Handle}}
	for key, value := range map[string]uint64{
		"interval": op.Interval, "age": op.Age, "to": op.To, "data": op.Data, "attempt": op.Attempt,
	} {
		line.fields[key] = strconv.FormatUint(value, 10)
	}
	member := t.members[op.Handle]
	switch op.Word {
	case "announce":
		if _, known := t.wheel.Lookup(op.ID); !known {
			line.fields["age"] = "0"
		}
	case "renew", "leave_handle", "inspect":
		if member == nil {
			return ""
		}
	case "settle":
		if member == nil || t.settings["callback"] == 1 {
			return ""
		}
		if op.Retries {
			line.fields["retry"] = strconv.FormatUint(op.Retry, 10)
		}
	case "leave", "find", "advance", "close":
	default:
		return ""
	}
	got := t.perform(line)
	if got.word == "registered" {
		name := op.Names
		if name == "" || t.members[name] != nil {
			name = fmt.Sprint("operation ", at)
		}
		t.members[name] = got.member
	}
	said := []string{fmt.Sprint(got.word, t.nameOf(got.member), got.fields)}
	for _, event := range got.events {
		said = append(said, fmt.Sprint(event.word, t.nameOf(event.member), event.fields))
	}
	slices.Sort(said[1:])
	if op.Word == "advance" && got.word == "ok" {
		said = append(said, fmt.Sprint(t.stats()))
	}
	return fmt.Sprint(said)
}
