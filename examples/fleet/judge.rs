//! The judge: holds what the scheduler saw against what the driver did, and against the library's promises.
//!
//! A promise is judged by what reached the scheduler's socket: a datagram lost on the way, or a host that got no
//! processor, is not the library's doing. Such a host may miss its expectation without a promise being broken; it is
//! counted apart.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::history::{History, HostHistory, Life};
use crate::observation::{Event, Heard, LEAVE_EVENT, REGISTERED, RESTORED};
use crate::plan::{CALM_AFTER, EDGE, Fate, Plan, leaves_after};
use crate::scheduler;

/// How much of a stop the wheel may count at most: it vouches for that long after each look at the clock.
const LOOK_AHEAD_NS: u64 = scheduler::MIN_INTERVAL.as_nanos() as u64;

/// How soon after a stop the scheduler's samples show that the wheel has noticed it.
const NOTICED_WITHIN_NS: u64 = 200_000_000;

/// What the library promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    NeverEarly,
    NeverLost,
    ExactlyOnce,
    OneHandlePerLife,
    SuspectFirst,
    PoliteLeaveIsSilent,
    AnnounceAccepted,
    TableFollows,
    BrakeHolds,
    CutCostsNobody,
}

impl Promise {
    pub const ALL: [Promise; 10] = [
        Promise::NeverEarly,
        Promise::NeverLost,
        Promise::ExactlyOnce,
        Promise::OneHandlePerLife,
        Promise::SuspectFirst,
        Promise::PoliteLeaveIsSilent,
        Promise::AnnounceAccepted,
        Promise::TableFollows,
        Promise::BrakeHolds,
        Promise::CutCostsNobody,
    ];
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Promise::NeverEarly => "never early, no false leave of a host whose announces reach the socket",
            Promise::NeverLost => "never lost, a host that has gone leaves",
            Promise::ExactlyOnce => "exactly once, one leave for each incarnation",
            Promise::OneHandlePerLife => "a handle names one incarnation of one host for ever",
            Promise::SuspectFirst => "no host leaves before its suspect event went out",
            Promise::PoliteLeaveIsSilent => "a host that leaves by itself fires nothing",
            Promise::AnnounceAccepted => "every announce of a well-formed host is accepted",
            Promise::TableFollows => "the scheduler's table holds the hosts that live, and no other",
            Promise::BrakeHolds => "no more leaves at a time than the brake lets pass",
            Promise::CutCostsNobody => "a cut of all hosts is taken for that, and costs none of them",
        })
    }
}

/// A broken promise.
#[derive(Debug)]
pub struct Breach {
    pub promise: Promise,
    /// `None`: it is not about a single one.
    pub host: Option<usize>,
    pub what: String,
}

/// How a fate came out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub hosts: usize,
    pub as_expected: usize,
    /// Of the others, those for which what reached the socket explains it.
    pub excused: usize,
}

/// A death that was found.
#[derive(Clone, Copy, Debug)]
pub struct Detection {
    pub interval: Duration,
    /// From the last announce to the leave, in real time.
    pub silence: Duration,
    /// From the moment at which the leave was due, less the time not counted and the time held back.
    pub lateness: Duration,
    /// For how long a guard held it back.
    pub held: Duration,
    /// Time in between that counted against nobody.
    pub away: Duration,
    /// Whether it was due at a moment at which the scheduler stood still, and so could only be found afterwards.
    pub due_in_stop: bool,
}

/// The judgement.
#[derive(Debug, Default)]
pub struct Verdict {
    pub tallies: Vec<(Fate, Tally)>,
    /// Hosts that ran all through the scheduler's own stop, and how many of them are known as before.
    pub through_stop: Tally,
    /// Hosts that ran all through the scheduler's restart, and how many of them are known as before.
    pub through_restart: Tally,
    pub detections: Vec<Detection>,
    pub breaches: Vec<Breach>,
}

impl Verdict {
    /// How many leaves were false.
    pub fn false_leaves(&self) -> usize {
        self.breaches.iter().filter(|breach| breach.promise == Promise::NeverEarly).count()
    }
}

/// Judges a run.
pub fn judge(plan: &Plan, history: &History) -> Verdict {
    let mut verdict = Verdict { tallies: Fate::ALL.map(|fate| (fate, Tally::default())).into(), ..Verdict::default() };
    verdict.tallies.retain(|(fate, _)| plan.has(*fate));
    for (host, error) in &history.refused {
        verdict.breaches.push(Breach {
            promise: Promise::AnnounceAccepted,
            host: Some(*host as usize),
            what: format!("the wheel refused an announce: {error}"),
        });
    }
    for (number, host) in history.hosts.iter().enumerate() {
        let court = Court { plan, history, number, host };
        let before = verdict.breaches.len();
        court.judge(&mut verdict);
        let innocent = verdict.breaches.len() == before;
        let fate = plan.hosts[number].fate;
        if let Some((_, tally)) = verdict.tallies.iter_mut().find(|(of, _)| *of == fate) {
            tally.add(court.is_as_expected(fate), innocent);
        }
        if let Some(as_before) = court.came_through_stop() {
            verdict.through_stop.add(as_before, innocent);
        }
        if let Some(as_before) = court.came_through_restart() {
            verdict.through_restart.add(as_before, innocent);
        }
    }
    if plan.cut.is_some() {
        judge_cut(history, &mut verdict);
    }
    if plan.brake {
        judge_brake(plan, history, &mut verdict);
    }
    verdict
}

/// No fate strikes before all hosts are heard again after the cut, so nobody leaves until then.
fn judge_cut(history: &History, verdict: &mut Verdict) {
    let calm_ns = history.cut_ns.end.saturating_add(nanos(CALM_AFTER));
    let leaves = history.hosts.iter().flat_map(HostHistory::leaves).filter(|leave| leave.at_ns < calm_ns);
    let mut accuse = |host: Option<usize>, what: String| {
        verdict.breaches.push(Breach { promise: Promise::CutCostsNobody, host, what });
    };
    for leave in leaves {
        let after = seconds(leave.at_ns.saturating_sub(history.cut_ns.start));
        accuse(Some(leave.host as usize), format!("a leave {after:.3} s after the cut began"));
    }
    if history.silence_ns().is_none() {
        accuse(None, "the wheel did not tell of a silence, or not of its end".to_owned());
    }
}

/// Follows the leaves after the restart through a bucket as the scheduler's brake has it.
fn judge_brake(plan: &Plan, history: &History, verdict: &mut Verdict) {
    // One each for the rounding of the bucket and for a callback that was held up before it took the time.
    const TOLERANCE: f64 = 2.0;
    let brake = scheduler::narrow_brake();
    let hosts = plan.hosts.len() as f64;
    let share = |permille: u32, min: u32| (hosts * f64::from(permille) / 1000.0).max(f64::from(min));
    let burst = share(brake.burst_permille, brake.burst_min);
    let per_second = share(brake.refill_permille, brake.refill_min) / 60.0;
    let events = history.hosts.iter().flat_map(|host| &host.events);
    let after = events.filter(|event| event.kind == LEAVE_EVENT && event.at_ns > history.restart_ns.end);
    let mut leaves: Vec<&Event> = after.collect();
    leaves.sort_by_key(|leave| leave.at_ns);
    let (mut level, mut before_ns) = (0.0, 0);
    for leave in leaves {
        level = f64::max(level - seconds(leave.at_ns - before_ns) * per_second, 0.0) + 1.0;
        before_ns = leave.at_ns;
        if level > burst + TOLERANCE {
            let what = format!("a leave beyond the burst of {burst:.0} and the refill of {per_second:.1} a second");
            verdict.breaches.push(Breach { promise: Promise::BrakeHolds, host: Some(leave.host as usize), what });
        }
    }
}

impl Tally {
    fn add(&mut self, as_expected: bool, innocent: bool) {
        self.hosts += 1;
        self.as_expected += usize::from(as_expected);
        self.excused += usize::from(!as_expected && innocent);
    }
}

/// One host's case.
struct Court<'a> {
    plan: &'a Plan,
    history: &'a History,
    number: usize,
    host: &'a HostHistory,
}

impl Court<'_> {
    fn judge(&self, verdict: &mut Verdict) {
        let (lives, strays) = self.host.lives();
        for event in strays {
            let what = format!("an event of kind {} under handle {:#x}, which it never had", event.kind, event.handle);
            self.accuse(verdict, Promise::OneHandlePerLife, what);
        }
        for (index, life) in lives.iter().enumerate() {
            self.judge_handle(life, verdict);
            self.judge_restart(life, verdict);
            self.judge_gaps(life, verdict);
            self.judge_leaves(life, verdict);
            self.judge_end(life, lives.get(index + 1), verdict);
        }
        let lives_on =
            lives.last().is_some_and(|life| life.leaves.is_empty() && life.left.is_none() && !self.is_forgotten(life));
        if self.host.kept != lives_on {
            let what =
                if lives_on { "the table lacks a host that has not left" } else { "the table has a host that left" };
            self.accuse(verdict, Promise::TableFollows, what.to_owned());
        }
    }

    /// Whether the scheduler was killed before a snapshot had the host.
    fn is_forgotten(&self, life: &Life) -> bool {
        self.host.forgotten.contains(&life.handle)
    }

    fn accuse(&self, verdict: &mut Verdict, promise: Promise, what: String) {
        verdict.breaches.push(Breach { promise, host: Some(self.number), what });
    }

    /// How long after an announce the host leaves.
    fn leaves_after_ns(&self, heard: &Heard) -> u64 {
        leaves_after(Duration::from_millis(heard.interval_ms), self.plan.grace).as_nanos() as u64
    }

    /// The first announce of a handle registers, unless a snapshot did, and no later one does.
    fn judge_handle(&self, life: &Life, verdict: &mut Verdict) {
        for (index, heard) in life.heard.iter().enumerate().filter(|(_, heard)| heard.outcome != RESTORED) {
            let first = index == 0;
            if (heard.outcome == REGISTERED) != first {
                let what = format!("announce {index} under handle {:#x} had outcome {}", life.handle, heard.outcome);
                self.accuse(verdict, Promise::OneHandlePerLife, what);
            }
        }
    }

    /// A snapshot has whoever was known well before the crash, and grants the rest of a TTL.
    fn judge_restart(&self, life: &Life, verdict: &mut Verdict) {
        let known_ns = life.heard.first().map_or(u64::MAX, |heard| heard.at_ns);
        // The scheduler was stopped shortly before it was killed, so the last snapshots but one are from before that.
        if self.is_forgotten(life) && known_ns + nanos(4 * scheduler::SNAPSHOT_EVERY) < self.history.stop_ns.start {
            let what = "known long before the last snapshot, and not restored from it".to_owned();
            self.accuse(verdict, Promise::NeverLost, what);
        }
        for heard in life.heard.iter().filter(|heard| heard.outcome == RESTORED) {
            let age_ns = heard.sent_ns - heard.at_ns;
            // Whole milliseconds, rounded up; and the walk that tells of it comes some time after the restore.
            if age_ns > heard.interval_ms * 1_000_000 + nanos(EDGE) {
                let what = format!("restored with an age of {:.3} s, more than its interval", seconds(age_ns));
                self.accuse(verdict, Promise::NeverEarly, what);
            }
        }
    }

    /// A silence that was long enough must have ended the life.
    fn judge_gaps(&self, life: &Life, verdict: &mut Verdict) {
        // A restart grants at least an interval and a grace; and in a silence nobody leaves.
        let cut = &self.history.cut_ns;
        let in_cut = |pair: &[&Heard]| pair[0].at_ns < cut.end && pair[1].at_ns > cut.start;
        for pair in life.heard.windows(2).filter(|pair| pair[1].outcome != RESTORED && !in_cut(pair)) {
            let silence = self.counted(pair[0].at_ns, pair[1].at_ns);
            if silence > self.leaves_after_ns(pair[0]) + nanos(EDGE) {
                let what = format!("silent for {:.3} s and renewed, without a leave", seconds(silence));
                self.accuse(verdict, Promise::NeverLost, what);
            }
        }
    }

    fn judge_leaves(&self, life: &Life, verdict: &mut Verdict) {
        if life.leaves.len() > 1 {
            let what = format!("{} leaves under handle {:#x}", life.leaves.len(), life.handle);
            self.accuse(verdict, Promise::ExactlyOnce, what);
        }
        for leave in &life.leaves {
            if life.left.is_some() {
                let what = format!("a leave under handle {:#x}, which it had given back", life.handle);
                self.accuse(verdict, Promise::PoliteLeaveIsSilent, what);
            }
            // An announce that was renewed after the leave went out counts as well: it must not have been.
            let Some(last) = life.heard.last() else { continue };
            if let Some(what) = self.why_false(last, leave) {
                self.accuse(verdict, Promise::NeverEarly, what);
                continue;
            }
            let warned = life.suspects.iter().any(|suspect| (last.at_ns..=leave.at_ns).contains(&suspect.at_ns));
            if !self.plan.grace.is_zero() && !warned {
                self.accuse(verdict, Promise::SuspectFirst, "a leave without a suspect event before it".to_owned());
            }
            let away_ns = self.away_since(last, leave);
            let silence_ns = leave.at_ns - last.at_ns;
            let waited_ns = silence_ns - self.leaves_after_ns(last) - away_ns;
            verdict.detections.push(Detection {
                interval: Duration::from_millis(last.interval_ms),
                silence: Duration::from_nanos(silence_ns),
                lateness: Duration::from_nanos(waited_ns.saturating_sub(leave.held_ns)),
                held: Duration::from_nanos(leave.held_ns),
                away: Duration::from_nanos(away_ns),
                due_in_stop: due_in_stop(&self.history.stop_ns, last.at_ns + self.leaves_after_ns(last)),
            });
        }
    }

    /// Why a leave must not have been, if so.
    fn why_false(&self, last: &Heard, leave: &Event) -> Option<String> {
        let leaves_after = self.leaves_after_ns(last);
        let due = last.at_ns + leaves_after + self.away_since(last, leave);
        if leave.at_ns < due {
            return Some(format!("a leave {:.6} s before it was due", seconds(due - leave.at_ns)));
        }
        // The same without the wheel's own account of its absence: the driver knows when it stopped the scheduler.
        let stop = &self.history.stop_ns;
        let stopped = leave.at_ns.min(stop.end).saturating_sub(last.at_ns.max(stop.start));
        let watched = leave.at_ns - last.at_ns - stopped;
        if watched + LOOK_AHEAD_NS < leaves_after {
            return Some(format!(
                "a leave after {:.3} s, of which the scheduler was stopped {:.3} s",
                seconds(watched + stopped),
                seconds(stopped)
            ));
        }
        let mut announces = self.host.heard.iter().filter(|heard| heard.outcome != RESTORED);
        let next = announces.find(|heard| heard.at_ns > last.at_ns)?;
        (next.sent_ns + nanos(EDGE) < last.at_ns + leaves_after).then(|| {
            let waited = seconds(leave.at_ns.saturating_sub(next.sent_ns));
            format!("a leave of a host whose next announce had been in the socket for {waited:.3} s")
        })
    }

    /// A life ends by a leave or a goodbye, or goes on.
    fn judge_end(&self, life: &Life, next: Option<&Life>, verdict: &mut Verdict) {
        let Some(last) = life.heard.last() else { return };
        if !life.leaves.is_empty() || life.left.is_some() || self.is_forgotten(life) {
            return;
        }
        if let Some(next) = next {
            let what = format!("handle {:#x} follows {:#x} without a leave", next.handle, life.handle);
            self.accuse(verdict, Promise::NeverLost, what);
            return;
        }
        let silence = self.counted(last.at_ns, self.history.ended_ns);
        if silence > self.leaves_after_ns(last) + nanos(EDGE) {
            let what = format!("silent for {:.3} s when the run ended, and no leave", seconds(silence));
            self.accuse(verdict, Promise::NeverLost, what);
        }
    }

    /// The time that the wheel must have counted at least between two moments.
    fn counted(&self, from_ns: u64, to_ns: u64) -> u64 {
        // What was read right after the scheduler's stop is not owed that stop, even if the wheel noticed it only then.
        let noticed = self.history.stop_ns.end + NOTICED_WITHIN_NS;
        let unowed = if (self.history.stop_ns.end..noticed).contains(&from_ns) { noticed } else { from_ns };
        to_ns.saturating_sub(from_ns).saturating_sub(self.history.away_between(unowed, to_ns.max(unowed)))
    }

    /// Time between the announce and the leave that the wheel left uncounted.
    ///
    /// An announce that is read after a stop, but before the wheel has looked at the clock, is set down at the moment at
    /// which wheel time stood still, and so the wheel reports the whole stop as after it. In real time it was before.
    fn away_since(&self, last: &Heard, leave: &Event) -> u64 {
        if leave.at_ns >= last.at_ns + self.leaves_after_ns(last) + leave.away_ns {
            return leave.away_ns;
        }
        leave.away_ns.saturating_sub(self.history.away_between(last.at_ns, last.at_ns + NOTICED_WITHIN_NS))
    }

    /// For a host that announced itself while the scheduler was stopped: whether it is still the host that it was before.
    fn came_through_stop(&self) -> Option<bool> {
        let stop = &self.history.stop_ns;
        let before = self.host.heard.iter().rfind(|heard| heard.at_ns < stop.start)?;
        let mut meanwhile = self.host.heard.iter().filter(|heard| stop.contains(&heard.sent_ns)).peekable();
        meanwhile.peek()?;
        Some(meanwhile.all(|heard| heard.handle == before.handle))
    }

    /// For a host that announced itself before the scheduler was killed and after it was back, and that neither left nor
    /// died in between: whether it is still the host that it was before.
    fn came_through_restart(&self) -> Option<bool> {
        let restart = &self.history.restart_ns;
        let before = self.host.heard.iter().rfind(|heard| heard.at_ns < restart.start && heard.outcome != RESTORED)?;
        let after = self.host.heard.iter().find(|heard| heard.at_ns >= restart.end)?;
        let away = self.host.left.iter().any(|left| left.handle == before.handle)
            || self.host.leaves().any(|leave| leave.handle == before.handle && leave.at_ns < after.at_ns);
        (!away).then_some(after.handle == before.handle)
    }

    fn is_as_expected(&self, fate: Fate) -> bool {
        let (lives, _) = self.host.lives();
        // What a snapshot alone brought back, its end having come after the snapshot, is no life of the host's.
        let own = |life: &Life| life.heard.iter().any(|heard| heard.outcome != RESTORED);
        let lives: Vec<Life> = lives.into_iter().filter(own).collect();
        let (leaves, kept) = (lives.iter().map(|life| life.leaves.len()).sum::<usize>(), self.host.kept);
        let as_planned = match fate {
            Fate::Untouched | Fate::StoppedShort | Fate::RestartedBefore | Fate::IntervalChanged => {
                (leaves, lives.len(), kept) == (0, 1, true)
            }
            Fate::Killed => (leaves, lives.len(), kept) == (1, 1, false),
            Fate::StoppedLong | Fate::RestartedAfter => (leaves, lives.len(), kept) == (1, 2, true),
            Fate::Left => (leaves, lives.len(), kept) == (0, 1, false) && self.host.left.len() == 1,
        };
        as_planned && kept == self.host.alive
    }
}

/// Whether a moment lies in that first part of the stop which the wheel still counted.
fn due_in_stop(stop: &Range<u64>, due_ns: u64) -> bool {
    (stop.start..stop.start + LOOK_AHEAD_NS).contains(&due_ns)
}

fn nanos(length: Duration) -> u64 {
    length.as_nanos() as u64
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
