package cluster

import (
	"context"
	"time"
)

// finder looks for hosts that this scheduler does not know: at all of them as fast as Options.Rate allows at first, and then
// through all ids in each Options.Discover, page by page.
type finder struct {
	watch *Watch

	// resource, an index of Options.Resources, and cursor are where the next page begins.
	resource int
	cursor   uint64
	// pages are those of this pass so far, and last those of the one before; 0 in the first.
	pages, last int
	// failed: a page of this pass could not be read, so hosts may be missing.
	failed bool
	// full: the wheel took no more hosts in this pass.
	full bool
}

// run looks until ctx ends.
func (f *finder) run(ctx context.Context) {
	for wait := time.Duration(0); sleep(ctx, wait); wait = f.step(ctx) {
	}
}

// step looks at a page, and returns how long to wait before the next one.
func (f *finder) step(ctx context.Context) time.Duration {
	w := f.watch
	r := w.Resources[f.resource]
	ids, next, err := w.store.page(ctx, r, f.cursor)
	sent := 1
	if err == nil {
		var unknown []string
		for _, id := range ids {
			if !w.knows(id) {
				unknown = append(unknown, id)
			}
		}
		if !f.full {
			sent += len(unknown)
			err = f.read(ctx, r, unknown)
		}
	}
	if err != nil {
		// The cursor may mean nothing to the next Redis; what is missed thereby is found in the next pass.
		f.failed = true
		w.failed("look at a page of ids", err)
		return time.Second
	}
	f.pages++
	if f.cursor = next; next == 0 {
		if f.resource++; f.resource == len(w.Resources) {
			f.end()
		}
	}
	pause := time.Duration(sent) * time.Second / time.Duration(w.Rate)
	if f.last > 0 {
		pause = max(pause, w.Discover/time.Duration(f.expected()))
	}
	return pause
}

// expected is about how many pages this pass has: as many as the last one, or more if hosts have come since.
func (f *finder) expected() int {
	w := f.watch
	return max(f.last, len(w.Resources)*(int(w.wheel.Stats().Live)/w.Page+1))
}

// end ends a pass.
func (f *finder) end() {
	w := f.watch
	if f.last == 0 && !f.failed {
		w.logger.Info("hostwheel/cluster: all hosts in Redis are known", "hosts", w.wheel.Stats().Live)
	}
	if !f.failed {
		f.last = f.pages
		w.counted.passes.Add(1)
	}
	w.full.Store(f.full)
	f.resource, f.pages, f.failed, f.full = 0, 0, false, false
}

// read has the wheel know hosts.
func (f *finder) read(ctx context.Context, r Resource, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	records, err := f.watch.store.read(ctx, r, ids)
	if err != nil {
		return err
	}
	for i, record := range records {
		h, ok := record.parse()
		switch {
		case ok:
			f.full = !f.watch.learn(ids[i], h) || f.full
		case record.exists():
			f.watch.unreadable(ids[i], r, record)
		default:
			// It has left since the page was read, or has an id and nothing else.
			f.watch.counted.empty.Add(1)
		}
	}
	return nil
}
