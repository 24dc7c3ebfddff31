//! The driver: starts the fleet, carries out the plan, and takes down what the scheduler tells.
//!
//! It alone knows the truth: which host it killed, stopped or asked to leave, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::common::account;
use crate::common::account::SnapshotFile;
use crate::common::process::Process;
use crate::common::program::{self, Failure};
use crate::common::{host, system};
use crate::history::History;
use crate::observation::Observation;
use crate::plan::{Fate, HostPlan, Plan};
use crate::scheduler;

/// How long the whole fleet may take to get registered, and the scheduler to finish.
const PATIENCE_NS: u64 = 30_000_000_000;

/// How long after its stop the scheduler must have told of itself before it may be killed.
const NOTICED_NS: u64 = 300_000_000;

/// The longest sleep of the driver, so that Ctrl-C is answered at once.
const NAP: Duration = Duration::from_millis(50);

/// What is to be done next. The order matters only among things due at the same moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Strike(usize),
    BringBack(usize),
    CutOff,
    Mend,
    StopScheduler,
    ContinueScheduler,
    KillScheduler,
    StartScheduler,
}

struct Driver<'a> {
    plan: &'a Plan,
    interrupted: &'a AtomicBool,
    bar: ProgressBar,
    scheduler: Process,
    /// Between the scheduler's end and its return.
    down: bool,
    told: Receiver<Result<Observation, String>>,
    snapshot: SnapshotFile,
    port: u16,
    /// `None` once the host was killed.
    hosts: Vec<Option<Process>>,
    incarnations: Vec<u32>,
    running: usize,
    /// Deeds by the time at which they are due, in ns of the monotonic clock.
    agenda: BinaryHeap<Reverse<(u64, Deed)>>,
    history: History,
}

/// Carries out the plan and returns what happened. Ends early, and leaves no child behind, when `interrupted` gets true.
pub fn run(plan: &Plan, interrupted: &Arc<AtomicBool>) -> Result<History, Failure> {
    // One pipe for each host, and some more for its start, for the scheduler and for the driver itself.
    system::allow_open_files(plan.hosts.len() as u64 + 64)?;
    let snapshot = SnapshotFile::new("fleet");
    let (scheduler, told) = start_scheduler(plan, &snapshot, 0)?;
    let mut driver = Driver {
        plan,
        interrupted,
        bar: ProgressBar::hidden(),
        scheduler,
        down: false,
        told,
        snapshot,
        port: 0,
        hosts: Vec::new(),
        incarnations: vec![0; plan.hosts.len()],
        running: 0,
        agenda: BinaryHeap::new(),
        history: History::default(),
    };
    driver.history.hosts.resize_with(plan.hosts.len(), Default::default);
    driver.assemble()?;
    driver.carry_out()?;
    driver.finish()?;
    Ok(driver.history)
}

/// Starts the scheduler on a port, 0 for any.
fn start_scheduler(
    plan: &Plan,
    snapshot: &SnapshotFile,
    port: u16,
) -> io::Result<(Process, Receiver<Result<Observation, String>>)> {
    let args = [
        plan.grace.as_millis().to_string(),
        port.to_string(),
        snapshot.path().to_string_lossy().into_owned(),
        plan.brake.to_string(),
    ];
    let mut scheduler = Process::start(scheduler::ROLE, &args, Stdio::piped())?;
    let output = scheduler.take_stdout().ok_or_else(|| io::Error::other("the scheduler has no output"))?;
    Ok((scheduler, account::follow(output)?))
}

impl Driver<'_> {
    /// Starts all hosts and waits until each was heard.
    fn assemble(&mut self) -> Result<(), Failure> {
        let patience = system::monotonic_ns() + PATIENCE_NS;
        while self.port == 0 {
            self.listen(NAP, patience, "the scheduler did not open its socket")?;
        }
        self.bar =
            ProgressBar::new(self.plan.hosts.len() as u64).with_style(program::bar("{pos}/{len} hosts registered"));
        for number in 0..self.plan.hosts.len() {
            let process = self.start_host(number, self.plan.hosts[number].interval)?;
            self.hosts.push(Some(process));
            self.listen(Duration::ZERO, patience, "the hosts took too long to start")?;
        }
        while self.history.registered() < self.plan.hosts.len() {
            self.listen(NAP, patience, "not all hosts were heard in time")?;
            self.bar.set_position(self.history.registered() as u64);
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    fn start_host(&mut self, number: usize, interval: Duration) -> io::Result<Process> {
        self.incarnations[number] += 1;
        let args = [
            format!("127.0.0.1:{}", self.port),
            number.to_string(),
            self.incarnations[number].to_string(),
            interval.as_millis().to_string(),
        ];
        let process = Process::start(host::ROLE, &args, Stdio::null())?;
        self.set_running(self.running + 1);
        Ok(process)
    }

    fn set_running(&mut self, running: usize) {
        self.running = running;
        self.history.running.push((system::monotonic_ns(), running));
    }

    /// Waits for an observation, and takes down all that are there.
    fn listen(&mut self, wait: Duration, until_ns: u64, else_why: &str) -> Result<(), Failure> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        if system::monotonic_ns() > until_ns {
            return Err(Failure::Broken(else_why.to_owned()));
        }
        if self.down {
            thread::sleep(wait);
            return Ok(());
        }
        let mut next = self.told.recv_timeout(wait);
        loop {
            match next {
                Ok(Ok(Observation::Port(port))) => self.port = port,
                Ok(observation) => self.history.note(observation?)?,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) if self.history.ended_ns > 0 => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Broken("the scheduler ended before the run did".to_owned()));
                }
            }
            next = self.told.recv_timeout(Duration::ZERO);
        }
    }

    /// The run itself: deeds when they are due, observations in between.
    fn carry_out(&mut self) -> Result<(), Failure> {
        let started = system::monotonic_ns();
        let end = started + self.plan.length.as_nanos() as u64;
        self.history.started_ns = started;
        let hosts = self.plan.hosts.iter().enumerate().filter(|(_, host)| host.fate != Fate::Untouched);
        let strikes = hosts.map(|(number, host)| (host.at, Deed::Strike(number)));
        let Plan { cut, stop, restart, .. } = self.plan;
        let cut = cut.iter().flat_map(|cut| [(cut.start, Deed::CutOff), (cut.end, Deed::Mend)]);
        let own = [
            (stop.start, Deed::StopScheduler),
            (stop.end, Deed::ContinueScheduler),
            (restart.start, Deed::KillScheduler),
            (restart.end, Deed::StartScheduler),
        ];
        for (at, deed) in strikes.chain(cut).chain(own) {
            self.agenda.push(Reverse((started + at.as_nanos() as u64, deed)));
        }
        self.bar = ProgressBar::new(self.plan.length.as_secs()).with_style(program::bar("{pos}/{len} s  {wide_msg}"));
        self.say(&format!("all {} hosts are registered", self.plan.hosts.len()));
        loop {
            let now = system::monotonic_ns();
            if now >= end {
                break;
            }
            let due = self.agenda.peek().map_or(end, |Reverse((due, _))| *due);
            let wait = Duration::from_nanos(due.min(end).saturating_sub(now)).min(NAP);
            self.listen(wait, u64::MAX, "")?;
            self.show_progress(now - started);
            let now = system::monotonic_ns();
            while let Some(Reverse((due, deed))) = self.agenda.peek().copied() {
                if due > now {
                    break;
                }
                self.agenda.pop();
                self.execute(deed, now)?;
            }
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    fn execute(&mut self, deed: Deed, now: u64) -> Result<(), Failure> {
        match deed {
            Deed::Strike(number) => self.strike(number, now)?,
            Deed::BringBack(number) => {
                // A last datagram may have been under way when the fate struck; the silence counts from the last one read.
                let due = self.return_due(number);
                if due > now {
                    self.agenda.push(Reverse((due, deed)));
                } else {
                    self.bring_back(number)?;
                }
            }
            Deed::CutOff => {
                self.scheduler.say(&format!("{}\n", scheduler::CUT))?;
                self.say("all hosts are cut off from the scheduler: their announces are lost");
            }
            Deed::Mend => {
                self.scheduler.say(&format!("{}\n", scheduler::MEND))?;
                self.say("all hosts are heard again");
            }
            Deed::StopScheduler => {
                let length = (self.plan.stop.end - self.plan.stop.start).as_secs_f64();
                self.say(&format!("the scheduler itself is stopped for {length:.1} s, longer than any TTL"));
                self.history.stop_ns.start = system::monotonic_ns();
                self.scheduler.stop()?;
            }
            Deed::ContinueScheduler => {
                self.scheduler.go_on()?;
                self.history.stop_ns.end = system::monotonic_ns();
                self.say("the scheduler goes on, with all announces of that time in its socket");
            }
            Deed::KillScheduler => {
                // Only what it has told before can be judged: it must have noticed its stop.
                if self.history.counts.last().is_none_or(|count| count.at_ns < self.history.stop_ns.end + NOTICED_NS) {
                    self.agenda.push(Reverse((now + NAP.as_nanos() as u64, deed)));
                    return Ok(());
                }
                self.scheduler.kill()?;
                self.history.restart_ns.start = system::monotonic_ns();
                // What it had said before is still to be read.
                while let Ok(observation) = self.told.recv() {
                    self.history.note(observation?)?;
                }
                self.down = true;
                self.say("the scheduler is killed (SIGKILL)");
            }
            Deed::StartScheduler => {
                if !self.down {
                    // Not killed yet.
                    self.agenda.push(Reverse((now + NAP.as_nanos() as u64, deed)));
                    return Ok(());
                }
                (self.scheduler, self.told) = start_scheduler(self.plan, &self.snapshot, self.port)?;
                self.down = false;
                self.say("a new scheduler starts from the last snapshot");
            }
        }
        Ok(())
    }

    /// Lets a host's fate begin.
    fn strike(&mut self, number: usize, now: u64) -> Result<(), Failure> {
        let HostPlan { fate, new_interval, .. } = self.plan.hosts[number];
        let Some(process) = &mut self.hosts[number] else {
            return Ok(());
        };
        match fate {
            Fate::Untouched => return Ok(()),
            Fate::IntervalChanged => {
                process.say(&format!("{}{}\n", host::INTERVAL, new_interval.as_millis()))?;
                return Ok(());
            }
            Fate::Left => process.say(&format!("{}\n", host::LEAVE))?,
            Fate::StoppedShort | Fate::StoppedLong => process.stop()?,
            Fate::Killed | Fate::RestartedBefore | Fate::RestartedAfter => {
                process.kill()?;
                self.hosts[number] = None;
            }
        }
        self.set_running(self.running - 1);
        if !matches!(fate, Fate::Left | Fate::Killed) {
            self.agenda.push(Reverse((self.return_due(number).max(now), Deed::BringBack(number))));
        }
        Ok(())
    }

    fn return_due(&self, number: usize) -> u64 {
        let last = self.history.hosts[number].heard.last().map_or(0, |heard| heard.at_ns);
        last + self.plan.hosts[number].silence.as_nanos() as u64
    }

    /// Ends a host's silence.
    fn bring_back(&mut self, number: usize) -> Result<(), Failure> {
        if let Some(process) = &mut self.hosts[number] {
            process.go_on()?;
            self.set_running(self.running + 1);
        } else {
            self.hosts[number] = Some(self.start_host(number, self.plan.hosts[number].interval)?);
        }
        Ok(())
    }

    /// Lets the scheduler finish, and looks who is alive.
    fn finish(&mut self) -> Result<(), Failure> {
        self.scheduler.say(&format!("{}\n", scheduler::FINISH))?;
        let patience = system::monotonic_ns() + PATIENCE_NS;
        while self.history.ended_ns == 0 {
            self.listen(NAP, patience, "the scheduler did not finish in time")?;
        }
        if !self.scheduler.wait()? {
            return Err(Failure::Broken("the scheduler failed at its end".to_owned()));
        }
        for (number, process) in self.hosts.iter_mut().enumerate() {
            let fate = self.plan.hosts[number].fate;
            let alive = match process {
                Some(process) => process.is_running()?,
                None => false,
            };
            let meant_to_live = !matches!(fate, Fate::Killed | Fate::Left);
            if meant_to_live && !alive {
                return Err(Failure::Broken(format!("host {number} ended by itself: is the machine out of memory?")));
            }
            self.history.hosts[number].alive = alive;
        }
        Ok(())
    }

    /// A line above the progress bar, with the time of the run.
    fn say(&self, what: &str) {
        let seconds = (system::monotonic_ns() - self.history.started_ns) as f64 / 1e9;
        self.bar.suspend(|| println!("{seconds:7.1} s  {what}"));
    }

    fn show_progress(&self, elapsed_ns: u64) {
        self.bar.set_position(elapsed_ns / 1_000_000_000);
        if let Some(count) = self.history.counts.last() {
            let (known, suspect) = (count.known, count.suspect);
            let live = known.saturating_sub(suspect);
            self.bar
                .set_message(format!("{} really run; the scheduler sees {live} live, {suspect} suspect", self.running));
        }
    }
}
