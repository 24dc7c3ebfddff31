package hostwheelprom

import (
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// family is a name with its help, and the time series of that name.
type family struct {
	name, help string
	kind       prometheus.ValueType
	label      string // empty: there is one series
	values     []value
}

type value struct {
	label string
	read  func(*hostwheel.Stats) float64
}

func single(read func(*hostwheel.Stats) float64) []value { return []value{{read: read}} }

func count(field func(*hostwheel.Stats) uint64) []value {
	return single(func(s *hostwheel.Stats) float64 { return float64(field(s)) })
}

func seconds(field func(*hostwheel.Stats) time.Duration) []value {
	return single(func(s *hostwheel.Stats) float64 { return field(s).Seconds() })
}

const latenessHelp = "How long after their due moment hosts were found gone, waits for a guard left out. " +
	"High while the process has CPU: a callback is slow, or there are too few of them at a time."

// families are all metrics but the histogram and the backend.
var families = []family{
	{
		name: "hosts", kind: gauge, label: "state",
		help: "Hosts known and not gone. live: within their TTL; suspect: past it and within their grace. " +
			"Many suspects at a time point at the network rather than at the hosts.",
		values: []value{
			// A host that says goodbye leaves one of the two counts a moment before the other.
			{"live", func(s *hostwheel.Stats) float64 { return float64(s.Live - min(s.Live, s.Suspect)) }},
			{"suspect", func(s *hostwheel.Stats) float64 { return float64(min(s.Live, s.Suspect)) }},
		},
	},
	{
		name: "hosts_peak", kind: gauge,
		help:   "The most hosts known at a time so far. Memory follows it; near MaxHosts, raise that.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Records }),
	},
	{
		name: "registrations_total", kind: counter,
		help: "Hosts that were registered, those that came back after they had left included. " +
			"A rate above that of new hosts says that hosts flap.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Registered }),
	},
	{
		name: "leaves_total", kind: counter, label: "reason",
		help: "Hosts that left, each once. ttl: its own interval ran out; host_ttl: it announced no interval and the host TTL ran " +
			"out; backstop: the wheel had lost it (report that as a bug); goodbye: it said so itself.",
		values: []value{
			{"ttl", func(s *hostwheel.Stats) float64 { return float64(s.LeavesTTL) }},
			{"host_ttl", func(s *hostwheel.Stats) float64 { return float64(s.LeavesHostTTL) }},
			{"backstop", func(s *hostwheel.Stats) float64 { return float64(s.LeavesBackstop) }},
			{"goodbye", func(s *hostwheel.Stats) float64 { return float64(s.Left) }},
		},
	},
	{
		name: "suspicions_total", kind: counter,
		help:   "Times that a host became suspect: its TTL passed without an announce.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Suspects }),
	},
	{
		name: "recoveries_total", kind: counter,
		help: "Times that a suspect was heard again. Near the suspicions: announces get lost or come late, and without the grace " +
			"these hosts would have been taken for dead.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Recoveries }),
	},
	{
		name: "leave_retries_total", kind: counter,
		help:   "Leaves handed out again, because the callback asked for it or failed. Rising: look at what it depends on.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Retries }),
	},
	{
		name: "superseded_leaves_total", kind: counter,
		help: "Leaves handed out after their host had come back. The callback must compare handles before it deletes; rising: " +
			"callbacks lag behind.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Superseded }),
	},
	{
		name: "callback_panics_total", kind: counter,
		help:   "Callbacks that panicked. 0 in a healthy system; the log has the stacks.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Panics }),
	},
	{
		name: "outstanding_leaves", kind: gauge,
		help:   "Leaves handed out, or about to be, that no callback has accepted yet. Growing: callbacks are stuck or too slow.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Outstanding }),
	},
	{
		name: "waiting_hosts", kind: gauge,
		help: "Hosts that are due and held back: by silence, by the brake, or because too many leaves are outstanding. An announce " +
			"still saves them. If you know that they are gone, call Release to let them pass the brake.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Waiting }),
	},
	{
		name: "silence_seconds_total", kind: counter,
		help:   "Time in which nobody at all was heard and so nobody left. Rising: look for what cuts the announces off from here.",
		values: seconds(func(s *hostwheel.Stats) time.Duration { return s.Silence }),
	},
	{
		name: "silences_total", kind: counter,
		help:   "Times that a silence began.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Silences }),
	},
	{
		name: "brake_seconds_total", kind: counter,
		help: "Time in which leaves waited for the brake. Rising: very many hosts are leaving at once; find out whether they are " +
			"gone or only cut off.",
		values: seconds(func(s *hostwheel.Stats) time.Duration { return s.Brake }),
	},
	{
		name: "away_seconds_total", kind: counter,
		help: "Time in which the wheel could not watch, and which counts against no host. Rising: the process is stopped, starved " +
			"of CPU, or its machine sleeps.",
		values: seconds(func(s *hostwheel.Stats) time.Duration { return s.Away }),
	},
	{
		name: "wheel_seconds_total", kind: counter,
		help: "Wheel time. It gains a second each second while hosts are known and somebody watches; alert when it stands still " +
			"though hosts are known.",
		values: seconds(func(s *hostwheel.Stats) time.Duration { return s.Now }),
	},
	{
		name: "clamped_announces_total", kind: counter,
		help:   "Announces whose interval was outside of the configured bounds and was clamped. Rising: fix those hosts, or the bounds.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Clamps }),
	},
	{
		name: "backstop_sweeps_total", kind: counter,
		help:   "Passes of the back-stop over all records. The pure backend has none.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Sweeps }),
	},
	{
		name: "backstop_rescues_total", kind: counter,
		help:   "Records that the wheel had lost and the back-stop found. 0 in a healthy system; anything else is a bug to report.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Rescues }),
	},
	{
		name: "memory_refusals_total", kind: counter,
		help:   "How often the system refused memory for an event. Rising: the process is short of memory, and leaves are late for it.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.MemoryRefusals }),
	},
	{
		name: "leave_lateness_max_seconds", kind: gauge,
		help:   "The latest leave so far, waits for a guard left out.",
		values: seconds(func(s *hostwheel.Stats) time.Duration { return s.LatenessMax }),
	},
	{
		name: "clock_margin_seconds", kind: gauge,
		help:   "By how much the stamp of an announce may be late. Leaves are later by up to as much.",
		values: seconds(func(s *hostwheel.Stats) time.Duration { return s.Margin }),
	},
	{
		name: "observer_visits_total", kind: counter,
		help:   "Hosts that the wheel looked at: its work. About one per host and interval is usual.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.Visits }),
	},
	{
		name: "observer_wakeups_total", kind: counter,
		help:   "Times that the wheel woke up to look.",
		values: count(func(s *hostwheel.Stats) uint64 { return s.WakeUps }),
	},
}
