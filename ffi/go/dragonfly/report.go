package dragonfly

import (
	"fmt"
	"strings"
	"time"

	"github.com/hostwheel/hostwheel/ffi/go"
)

// Report is what was done since Wrap.
type Report struct {
	Mode    string
	Backend string
	// Hosts is how many hosts the wheel knows now.
	Hosts uint64
	// Removed is how many hosts were removed, by the wheel or its back-stop.
	Removed uint64
	// Rescues is how many of these the back-stop removed: the wheel had lost them, or had no room for them. 0 if all is well.
	Rescues uint64
	// HeardElsewhere is how often a host past its TTL stayed because Dragonfly heard of it otherwise, or it downloads.
	HeardElsewhere uint64
	// Downloads is how often it was for a download.
	Downloads uint64
	// PutBack is how many hosts were heard in the moment in which they were deleted, and stayed.
	PutBack uint64
	// Superseded is how many hosts came back, or said goodbye, before they were deleted.
	Superseded uint64
	// Untracked is how many hosts that expire the wheel does not have now. The back-stop watches them.
	Untracked uint64
	// Comparison is for the mode Shadow; nil in others.
	Comparison *Comparison `json:",omitempty"`
}

// Comparison is what the wheel would have done, beside what the scan did.
type Comparison struct {
	// Found is how many hosts the wheel would have removed. Each of them is in one of the next four as well.
	Found uint64
	// Agreed is how many of them the scan removed later: by GainedMean in the mean, by GainedMax at most.
	Agreed                uint64
	GainedMean, GainedMax time.Duration
	// Wrong is how many of them came back before the scan looked.
	Wrong uint64
	// Dropped is how many of them said goodbye after that.
	Dropped uint64
	// Pending is how many of them the scan has not removed now.
	Pending uint64
	// ScanFirst is how many hosts the scan removed that the wheel would not have yet: they were in their grace, downloading,
	// or nobody had watched for a while.
	ScanFirst uint64
	// Late is how often a host was heard again after its TTL, and LateMax how long after it at most.
	Late    uint64
	LateMax time.Duration
	// Graces tell how many of these would have been removed wrongly with which grace. A grace is at most the host's interval.
	Graces []GraceCount
	// Wrongs are the latest wrong removals, at most 100.
	Wrongs []WrongRemoval
}

// GraceCount is how many hosts would have been removed wrongly with a grace.
type GraceCount struct {
	Grace time.Duration
	Wrong uint64
}

// WrongRemoval is a host that would have been removed and came back.
type WrongRemoval struct {
	ID       string
	Interval time.Duration
	// Grace would have saved it; only if Saveable, as a grace is at most the interval.
	Grace    time.Duration
	Saveable bool
	// At is when it would have been removed.
	At time.Time
}

// Report tells what was done since Wrap.
func (r *Resource) Report() Report {
	w := r.watch
	if w == nil {
		return Report{Mode: Off.String()}
	}
	report := Report{
		Mode:           w.Mode.String(),
		Backend:        w.wheel.Backend().String(),
		Hosts:          w.wheel.Stats().Live,
		Removed:        w.counted.removed.Load(),
		Rescues:        w.counted.rescues.Load(),
		HeardElsewhere: w.counted.heardElsewhere.Load(),
		Downloads:      w.counted.downloads.Load(),
		PutBack:        w.counted.putBack.Load(),
		Superseded:     w.counted.superseded.Load(),
		Untracked:      uint64(w.counted.untracked.Load()),
	}
	if w.Mode == Shadow {
		compared := w.compared.told()
		report.Comparison = &compared
	}
	return report
}

// String is the report for an operator to read.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mode %s, backend %s, %d hosts\n", r.Mode, r.Backend, r.Hosts)
	fmt.Fprintf(&b, "removed %d, of these %d by the back-stop; %d not in the wheel\n", r.Removed, r.Rescues, r.Untracked)
	fmt.Fprintf(&b, "stayed past their TTL as they were heard elsewhere: %d, of these downloading %d; "+
		"came back, or said goodbye, in the last moment: %d\n", r.HeardElsewhere, r.Downloads, r.PutBack+r.Superseded)
	if c := r.Comparison; c != nil {
		c.write(&b)
	}
	return b.String()
}

func (c *Comparison) write(b *strings.Builder) {
	const unit = time.Millisecond
	fmt.Fprintf(b, "the wheel would have removed %d: the scan removed %d of them later (by %v in the mean, %v at most), %d came back, "+
		"%d said goodbye, %d are still there\n",
		c.Found, c.Agreed, c.GainedMean.Round(unit), c.GainedMax.Round(unit), c.Wrong, c.Dropped, c.Pending)
	fmt.Fprintf(b, "the scan alone removed %d\n", c.ScanFirst)
	fmt.Fprintf(b, "heard again after their TTL: %d, at most %v after it; wrongly removed with a grace of\n", c.Late, c.LateMax.Round(unit))
	for _, g := range c.Graces {
		fmt.Fprintf(b, "  %6v (or the host's interval, if that is less): %d\n", g.Grace, g.Wrong)
	}
}

var _ interface {
	Stats() hostwheel.Stats
	Backend() hostwheel.Backend
} = (*Resource)(nil)
