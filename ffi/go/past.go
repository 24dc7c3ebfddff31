package hostwheel

import (
	"math"
	"sync"
	"time"
)

// suspicious announces missed in a row bring a host back as a suspect.
const suspicious = 3

// earlier is what earlier runs of the scheduler say of a host.
type earlier struct {
	// misses are announces missed in a row.
	misses uint8
	// olderMS is by how much longer ago the host was last heard than its age in this run says.
	olderMS uint64
}

// past knows the earlier runs of all hosts.
//
// A restart excuses an announce: from a run's last snapshot to the next run's start nobody watched, or nobody remembers. One
// excuse is fair, and one at each restart lets a dead host stay for ever. So a snapshot counts, for each host, the announces
// that were expected, a whole number of intervals after the last one that was heard, while the run watched: since its start
// and up to the snapshot. They are misses, and add up over the runs until the host is heard. Near both ends of that time an
// announce is excused as well, as hosts keep their beat only so well.
//
// A renew costs nothing for it: whether a host was heard in this run is told by its last announce.
type past struct {
	mu sync.Mutex
	// The last restore, in wheel time: when it began and ended. gapMS from the snapshot until it, if it is known.
	restored, gapKnown bool
	began, ended       time.Duration
	gapMS              uint64
	// hosts with misses, or with an age that the restore has cut, by handle, until a snapshot finds that they were heard or
	// have left.
	hosts map[uint64]earlier
}

// note keeps what a file said of a host.
func (p *past) note(handle uint64, e earlier) {
	if e == (earlier{}) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hosts == nil {
		p.hosts = map[uint64]earlier{}
	}
	p.hosts[handle] = e
}

// ends notes that a restore began and ended, from a file that was begun gap before, if that is known.
func (p *past) ends(began, ended, gap time.Duration, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restored, p.began, p.ended = true, began, ended
	p.gapMS, p.gapKnown = uint64(gap/time.Millisecond), known
}

// judge is what a snapshot says of a host with this status and effective interval. known are the hosts to remember after it.
func (p *past) judge(s Status, interval tick, known map[uint64]earlier) earlier {
	ms := func(d time.Duration) uint64 { return uint64(max(d, 0) / time.Millisecond) }
	now, age := s.LastSeen+s.Age, ms(s.Age)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.restored {
		return earlier{misses: missed(age, uint64(interval), ms(now))}
	}
	if age <= ms(now-p.ended) {
		return earlier{misses: missed(age, uint64(interval), ms(now-p.began))}
	}
	before, ok := p.hosts[s.Handle]
	if ok {
		known[s.Handle] = before
	}
	if !p.gapKnown {
		return before
	}
	older := before.olderMS + p.gapMS
	misses := missed(age+older, uint64(interval), ms(now-p.began))
	return earlier{misses: uint8(min(int(before.misses)+int(misses), math.MaxUint8)), olderMS: older}
}

// forget keeps only these hosts.
func (p *past) forget(known map[uint64]earlier) {
	p.mu.Lock()
	p.hosts = known
	p.mu.Unlock()
}

// missed is how many announces of a host, heard last ageMS ago, were expected in the last watchedMS, less those near its ends.
func missed(ageMS, intervalMS, watchedMS uint64) uint8 {
	// Hosts announce with some jitter, and a scheduler is busy when it starts.
	edge := intervalMS/50 + 1000
	if intervalMS == 0 || watchedMS < 2*edge {
		return 0
	}
	expectedBy := func(ago uint64) uint64 { return saturatingSub(ageMS, ago) / intervalMS }
	// Those expected at least an edge ago, less those expected before the watch, or just after it began.
	by := expectedBy(edge)
	return uint8(min(by-min(expectedBy(watchedMS-edge+1), by), math.MaxUint8))
}
