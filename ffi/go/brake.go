package hostwheel

// tokenParts is the milliseconds in the minute that refills are counted by: a token is this many parts, so that a refill
// of one token a minute is one part per tick and nothing is lost to rounding.
const tokenParts = 60_000

// bucket is the brake: leaves pass a token bucket whose size follows the fleet, which is the most hosts alive within the
// last host TTL, so that it does not shrink with the very loss that it brakes. No state of it can stick: tokens come back
// with time alone, at least one a minute, whatever the fleet.
type bucket struct {
	brake      Brake
	fleet      peak
	parts      uint64
	refilledAt tick
	// released leaves may pass without a token: those that waited when the queue was released.
	released uint64
}

func (b *bucket) init(brake Brake, hostTTL, now tick) {
	b.brake = brake
	b.fleet.window = max(hostTTL/tick(len(b.fleet.most)), 1)
	b.fleet.current = now / b.fleet.window
	b.refilledAt = now
	b.parts = b.burst() * tokenParts
}

func (b *bucket) share(permille, least int) uint64 {
	return max(b.fleet.peak()*uint64(permille)/1000, uint64(least), 1)
}

// burst is how many leaves may pass at once.
func (b *bucket) burst() uint64 { return b.share(b.brake.BurstPermille, b.brake.BurstMin) }

// refill is how many may pass per minute after that.
func (b *bucket) refill() uint64 { return b.share(b.brake.RefillPermille, b.brake.RefillMin) }

// look notes the time and how many hosts are alive.
func (b *bucket) look(now tick, alive uint64) {
	before := b.burst()
	b.fleet.note(now, alive)
	burst := b.burst()
	// A fleet that grows has its larger burst at once.
	grown := saturatingSub(burst, before) * tokenParts
	refill := b.refill()
	// More time than fills the bucket would only overflow.
	passed := min(saturatingSub(now, b.refilledAt), burst*tokenParts/refill+1)
	b.refilledAt = now
	b.parts = min(b.parts+grown+passed*refill, burst*tokenParts)
}

// open says whether a leave may pass now.
func (b *bucket) open() bool {
	return b.brake.Off || b.released > 0 || b.parts >= tokenParts
}

// pass notes that a leave has passed.
func (b *bucket) pass() {
	switch {
	case b.brake.Off:
	case b.released > 0:
		b.released--
	default:
		b.parts = saturatingSub(b.parts, tokenParts)
	}
}

// opensAt is when the next leave may pass, if none may now.
func (b *bucket) opensAt() tick {
	refill := b.refill()
	return b.refilledAt + (saturatingSub(tokenParts, b.parts)+refill-1)/refill
}

// peak is the most hosts alive within a sliding time, to within an eighth of it.
type peak struct {
	window  tick
	most    [8]uint64
	current tick
}

func (p *peak) note(now tick, alive uint64) {
	current := now / p.window
	windows := tick(len(p.most))
	for passed := range min(current-p.current, windows) {
		p.most[(current-passed)%windows] = 0
	}
	p.current = current
	p.most[current%windows] = max(p.most[current%windows], alive)
}

func (p *peak) peak() uint64 {
	most := uint64(0)
	for _, n := range p.most {
		most = max(most, n)
	}
	return most
}
