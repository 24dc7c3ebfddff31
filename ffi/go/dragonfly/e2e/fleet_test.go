//go:build unix

package e2e

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

const (
	interval = time.Second
	// term is how long after its last announce a host of that interval leaves: the grace is at most the interval.
	term = 3 * interval
	// slow is the interval that one host changes to.
	slow = 3 * interval
	// hostTTL is what hosts that name no interval have, and half of it again as their grace.
	hostTTL = 4 * time.Second
	// stop is how long the scheduler is stopped: long enough to find every host dead, if that time counted.
	stop = term + 2*time.Second
)

// variant is a way to run the fleet.
type variant struct {
	name, mode, backend string
	scan                time.Duration
}

// variants are those to run: the wheel that is in the build, or all of them and Dragonfly's own scan if HOSTWHEEL_E2E=all.
// HOSTWHEEL_E2E_SCAN is how often Dragonfly scans there.
func variants(t *testing.T) []variant {
	scan := 10 * time.Second
	if text := os.Getenv("HOSTWHEEL_E2E_SCAN"); text != "" {
		var err error
		if scan, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	pure := variant{"pure", "enforce", "pure", time.Second}
	library := variant{"native", "enforce", "native", time.Second}
	switch all := os.Getenv("HOSTWHEEL_E2E") == "all"; {
	case all && native():
		return []variant{pure, library, {"scan", "off", "pure", scan}}
	case all:
		return []variant{pure, {"scan", "off", "pure", scan}}
	case native():
		return []variant{library}
	default:
		return []variant{pure}
	}
}

// TestFleet has host processes die, leave, return and live, and compares what ListHosts says with what happened. With
// Dragonfly's scan it only tells.
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) { testFleet(t, v) })
	}
}

// fleet is the hosts, by what becomes of them.
type fleet struct {
	t         *testing.T
	v         variant
	scheduler *scheduler
	watcher   *watcher

	healthy                   []*process // live on
	killed, seeds, nameless   []*process // are killed: normal hosts, seed peers, hosts that name no interval
	polite                    []*process // say goodbye
	returns, downloads, slows *process   // misses an announce; downloads and does nothing else; changes its interval
	unlucky                   []*process // are killed just before the scheduler stops
	deaths                    []death
	kinds                     map[string]string
	downloadFrom              time.Time
}

func testFleet(t *testing.T, v variant) {
	f := &fleet{t: t, v: v, kinds: make(map[string]string)}
	f.begin()

	// At the same time: deaths, goodbyes, one who misses an announce, one who only downloads, one who slows down.
	f.sayGoodbye()
	f.returns.order(t, fmt.Sprintf("skip %v", 2*interval+interval/2))
	f.downloads.order(t, "download")
	f.downloads.order(t, "pause")
	f.downloadFrom = time.Now().Round(0)
	f.slows.order(t, fmt.Sprintf("interval %v", slow))
	f.slows.awaitAnnounces(t, 1)
	f.kill(term, f.killed...)
	f.kill(term, f.seeds...)
	f.kill(hostTTL+hostTTL/2, f.nameless...)
	f.slows.awaitAnnounces(t, 2)
	f.kill(2*slow+slow, f.slows)
	time.Sleep(time.Until(f.downloadFrom.Add(3 * term)))
	f.finishDownload()
	f.awaitDeaths()
	calm := f.notCounted()
	f.judge(calm)

	f.deaths = nil
	f.kill(term, f.unlucky...)
	stopped := time.Now().Round(0)
	f.scheduler.Signal(syscall.SIGSTOP)
	time.Sleep(stop)
	f.scheduler.Signal(syscall.SIGCONT)
	f.awaitDeaths()
	// Who was wrongly found dead by the stop would be gone by now.
	time.Sleep(time.Until(stopped.Add(stop + term + time.Second)))
	f.watcher.after(t)
	f.judge(f.notCounted() - calm)
	f.judgeLiving()
	f.judgeReport()
}

// begin starts all, and waits until all hosts are known.
func (f *fleet) begin() {
	f.scheduler = startScheduler(f.t, "-mode", f.v.mode, "-backend", f.v.backend, "-scan", f.v.scan.String(), "-backstop",
		f.v.scan.String(), "-host-ttl", hostTTL.String())
	f.watcher = watch(f.t, f.scheduler.address)
	start := func(name string, n int, args ...string) (hosts []*process) {
		for i := range n {
			id := fmt.Sprintf("%s-%d", name, i)
			f.kinds[id] = normal
			for i, arg := range args {
				if arg == "-type" {
					f.kinds[id] = args[i+1]
				}
			}
			hosts = append(hosts, f.scheduler.startHost(f.t, id, args...))
		}
		return hosts
	}
	f.healthy = append(start("healthy", 3), start("healthy-v1", 2, "-api", "v1")...)
	f.healthy = append(f.healthy, start("healthy-seed", 1, "-type", seed)...)
	f.healthy = append(f.healthy, start("healthy-nameless", 1, "-named=false")...)
	f.killed = start("killed", 2)
	f.seeds = start("seed", 1, "-type", seed)
	f.nameless = append(start("nameless", 1, "-named=false"), start("nameless-v1", 1, "-api", "v1")...)
	f.polite = append(start("polite", 1), start("polite-v1", 1, "-api", "v1")...)
	f.unlucky = start("unlucky", 2)
	f.returns, f.downloads, f.slows = start("returns", 1)[0], start("downloads", 1)[0], start("slows", 1)[0]
	for _, hosts := range [][]*process{f.healthy, f.killed, f.seeds, f.nameless, f.polite, f.unlucky, {f.returns, f.downloads, f.slows}} {
		for _, h := range hosts {
			h.awaitAnnounces(f.t, 1)
		}
	}
}

// sayGoodbye has the polite hosts leave: who has said goodbye is in no list that is asked for afterwards.
func (f *fleet) sayGoodbye() {
	for _, h := range f.polite {
		h.Signal(syscall.SIGTERM)
		if status := h.Exit(f.t); status != 0 {
			f.t.Errorf("%s: exit status %d, want 0", h.Name, status)
		}
	}
	for _, p := range f.watcher.after(f.t) {
		for _, h := range f.polite {
			if p.listed[h.Name] {
				f.t.Errorf("%s is listed after its goodbye", h.Name)
			}
		}
	}
}

// kill kills hosts, each right after an announce.
func (f *fleet) kill(term time.Duration, hosts ...*process) {
	for _, h := range hosts {
		h.awaitAnnounces(f.t, 1)
		h.Signal(syscall.SIGKILL)
		h.Exit(f.t)
		killed := time.Now().Round(0)
		list := h.announces()
		last := list[len(list)-1]
		d := death{host: h, kind: f.kinds[h.Name], sent: last.sent, silent: last.answered, term: term}
		if killed.Sub(last.sent) > interval/2 {
			// Its next announce may have been on its way.
			d.silent = killed
		}
		f.deaths = append(f.deaths, d)
	}
}

// finishDownload ends the download of the host that does nothing else. It is heard as long as the stream is open, which is
// until now.
func (f *fleet) finishDownload() {
	finished := time.Now().Round(0)
	f.downloads.order(f.t, "finish")
	if at := missing(f.watcher.all(), f.downloads.Name, normal, f.downloadFrom); !at.IsZero() && f.v.mode != "off" {
		f.t.Errorf("%s is gone %v after its download began", f.downloads.Name, at.Sub(f.downloadFrom))
	}
	d := death{host: f.downloads, kind: normal, sent: finished, silent: time.Now().Round(0), term: term}
	f.deaths = append(f.deaths, d)
}

// awaitDeaths waits until all dead hosts are gone, as far as they ever are.
func (f *fleet) awaitDeaths() {
	limit := 20 * time.Second
	if f.v.mode == "off" {
		limit += f.v.scan
	}
	for _, d := range f.deaths {
		if f.v.mode != "off" || !slices.Contains(f.nameless, d.host) {
			f.watcher.awaitGone(f.t, limit, d.host)
		}
	}
}

func (f *fleet) notCounted() time.Duration {
	if f.v.mode == "off" {
		return 0
	}
	return f.scheduler.away(f.t)
}

// judge compares when the dead were dropped with when that was due, and tells it.
func (f *fleet) judge(away time.Duration) {
	polls := f.watcher.all()
	for _, d := range f.deaths {
		if f.v.mode != "off" {
			d.judge(f.t, polls, away)
		}
		said := "is not gone"
		if at := gone(polls, d.host.Name, d.sent); !at.IsZero() {
			said = fmt.Sprintf("gone %v after its last sign of life", at.Sub(d.silent).Round(time.Millisecond))
		}
		f.t.Logf("%-16s %s; due is %v, %v not counted", d.host.Name, said, d.term, away.Round(time.Millisecond))
	}
}

// judgeLiving checks that the living are always listed. Who by its own account was not heard for long is not judged.
func (f *fleet) judgeLiving() {
	polls := f.watcher.all()
	for _, h := range append(f.healthy, f.returns) {
		list := h.announces()
		at := missing(polls, h.Name, f.kinds[h.Name], list[0].answered)
		switch {
		case at.IsZero():
		case f.v.mode == "off":
			f.t.Logf("%s lives and is not listed, as the scan removed it", h.Name)
		case f.starved(list):
			f.t.Logf("%s got no time to announce itself, and is not judged", h.Name)
		default:
			f.t.Errorf("%s lives and is not listed at %v", h.Name, at)
		}
	}
}

// starved says whether a host did not announce itself for too long, although the scheduler was there: more than the time
// for which the one is told to be silent, or than the stop and the announces that hung in it.
func (f *fleet) starved(list []announce) bool {
	for i := range len(list) - 1 {
		gap := list[i+1].answered.Sub(list[i].sent)
		if gap > term-interval/4 && (gap < stop || gap > stop+term-interval/4) {
			return true
		}
	}
	return false
}

// judgeReport checks that each leave was counted once, and that the wheel lost none.
func (f *fleet) judgeReport() {
	if f.v.mode == "off" {
		return
	}
	report := f.scheduler.report(f.t)
	f.t.Logf("%+v", report)
	want := uint64(len(f.killed) + len(f.seeds) + len(f.nameless) + len(f.unlucky) + 2)
	if report.Removed != want || report.Rescues != 0 || report.Untracked != 0 || report.Downloads == 0 || report.Hosts != uint64(len(f.healthy)+1) {
		f.t.Errorf("want %d removed, none of them by the back-stop, %d left", want, len(f.healthy)+1)
	}
	f.scheduler.Signal(syscall.SIGTERM)
	if status := f.scheduler.Exit(f.t); status != 0 {
		f.t.Errorf("the scheduler's exit status is %d", status)
	}
}
