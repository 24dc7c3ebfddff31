package hostwheel

import "time"

// LatenessBounds are the upper bounds of the lateness counts in [Stats].
var LatenessBounds = [17]time.Duration{
	1 * time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond, 8 * time.Millisecond, 16 * time.Millisecond,
	32 * time.Millisecond, 64 * time.Millisecond, 128 * time.Millisecond, 256 * time.Millisecond, 512 * time.Millisecond,
	1024 * time.Millisecond, 2048 * time.Millisecond, 4096 * time.Millisecond, 8192 * time.Millisecond,
	16_384 * time.Millisecond, 32_768 * time.Millisecond, 65_536 * time.Millisecond,
}

// Stats are the wheel's counters at one moment. Counters never decrease.
type Stats struct {
	// Live is the number of hosts known and not handed out as a leave: live and suspect.
	Live uint64
	// Suspect is how many of these are suspects.
	Suspect uint64
	// Registered is the number of registrations since New.
	Registered uint64
	// Left is the number of polite leaves since New.
	Left uint64
	// LeavesTTL, LeavesHostTTL and LeavesBackstop are leaves by reason, counted once however often handed out.
	LeavesTTL, LeavesHostTTL, LeavesBackstop uint64
	// Suspects and Recoveries are the numbers of these events.
	Suspects, Recoveries uint64
	// Retries is the number of leaves handed out again.
	Retries uint64
	// Panics is the number of callbacks that panicked.
	Panics uint64
	// Rescues is the number of records that the wheel had lost and the back-stop found: 0 in a healthy system, and always
	// in the pure backend.
	Rescues uint64
	// Sweeps is the number of passes of the back-stop.
	Sweeps uint64
	// Superseded is the number of leaves handed out after the id had come back.
	Superseded uint64
	// Clamps is the number of announces whose interval was clamped.
	Clamps uint64
	// Outstanding is the number of leaves handed out or about to be, and not yet answered with Done.
	Outstanding uint64
	// Waiting is the number of due hosts that wait: for the brake, for silence to end, or for outstanding leaves.
	Waiting uint64
	// Silence is the time in which nobody was heard and nobody left for that; Silences is how often that began.
	Silence  time.Duration
	Silences uint64
	// Brake is the time in which leaves waited for the brake.
	Brake time.Duration
	// Away is the time in which nobody watched, and which counted against no host.
	Away time.Duration
	// Now is wheel time since New.
	Now time.Duration
	// Margin is by how much a stamp may be later than the announce.
	Margin time.Duration
	// Visits is the number of records that the observer looked at.
	Visits uint64
	// WakeUps is how many times the observer woke up; on the manual clock: was advanced.
	WakeUps uint64
	// Lateness counts leaves at most as late as LatenessBounds says (cumulative), at their first hand-out.
	Lateness [len(LatenessBounds)]uint64
	// LatenessSum and LatenessMax are over all leaves. Here and in the counts the time in which a guard held a leave back is
	// left out.
	LatenessSum, LatenessMax time.Duration
	// Records is the peak of hosts known at a time.
	Records uint64
	// MemoryRefusals is how often the system refused memory for an event; the host was kept as it was, and tried again 10 ms
	// later at the earliest. Always 0 in the pure backend, whose process ends then as any Go process does.
	MemoryRefusals uint64
}

// State says what a host is at the moment.
type State int

const (
	// Live: within its TTL, or past it by less than the wheel has noticed.
	Live State = iota + 1
	// Suspected: past its TTL, within its grace.
	Suspected
	// Taken: handed out as a leave that was not answered with Done yet.
	Taken
)

// Hold says what holds a due host back.
type Hold int

const (
	// NotHeld: nothing.
	NotHeld Hold = iota
	// HeldBySilence: nobody at all is heard.
	HeldBySilence
	// HeldByBrake: very many hosts leave at once.
	HeldByBrake
	// HeldByOutstanding: MaxOutstanding leaves wait for their answers.
	HeldByOutstanding
)

// Status is what decides one host's fate. Moments are wheel time since New.
type Status struct {
	Handle uint64
	State  State
	// Interval is the effective interval; 0 if the host announced without one.
	Interval time.Duration
	LastSeen time.Duration
	// Age is how long ago that was.
	Age time.Duration
	// Deadline is when its TTL ends, and since when it is suspect if it is.
	Deadline time.Duration
	// LeavesAt is when it leaves if it is not heard: the deadline and the grace.
	LeavesAt time.Duration
	// NextLook is when the wheel plans to look at it next; Looked is false before its first look.
	NextLook time.Duration
	Looked   bool
	// HeldBy is what holds it back though it is due, at this moment, and HeldSince since when.
	HeldBy    Hold
	HeldSince time.Duration
}

// late notes how late a leave is.
func (s *Stats) late(lateness time.Duration) {
	for i := len(LatenessBounds) - 1; i >= 0 && lateness <= LatenessBounds[i]; i-- {
		s.Lateness[i]++
	}
	s.LatenessSum += lateness
	s.LatenessMax = max(s.LatenessMax, lateness)
}
