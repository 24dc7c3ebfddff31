//! The driver: starts everything, makes the faults happen, and takes down what the scheduler tells.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::common::account::SnapshotFile;
use crate::common::process::Process;
use crate::common::program::{self, Failure};
use crate::common::{account, host, system};
use crate::history::{DeedKind, Epoch, History};
use crate::observation::{Observation, Sample};
use crate::plan::{Fault, Plan, ROOM};
use crate::relay::{Relay, Weather};
use crate::{crowd, scheduler};

/// How long the whole fleet may take to get registered, and the scheduler to finish.
const PATIENCE_NS: u64 = 30_000_000_000;

/// The longest sleep of the driver, so that Ctrl-C is answered at once.
const NAP: Duration = Duration::from_millis(50);

/// Numbers of crowds' hosts begin here; those of the next crowd so much further.
pub const CROWDS: u32 = 20_000;
const NEXT_CROWD: u32 = 1000;

/// What is to be done at a moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    /// The fault of that place in the plan.
    Strike(usize),
    /// A host that was stopped goes on.
    Continue(usize),
    /// A host starts again.
    BringBack(usize),
    CalmWeather,
    ContinueScheduler,
    StartScheduler,
    EndCrowd,
}

struct Driver<'a> {
    plan: &'a Plan,
    interrupted: &'a AtomicBool,
    bar: ProgressBar,
    /// `None` between the scheduler's death and its return.
    scheduler: Option<Process>,
    stopped: bool,
    told: Receiver<Result<Observation, String>>,
    snapshot: SnapshotFile,
    relay: Relay,
    /// `None` while the host is dead.
    hosts: Vec<Option<Process>>,
    incarnations: Vec<u32>,
    intervals: Vec<Duration>,
    crowd: Option<(Process, u32, u32)>,
    crowds: u32,
    /// Deeds by the time at which they are due, in ns of the monotonic clock.
    agenda: BinaryHeap<Reverse<(u64, Deed)>>,
    history: History,
}

/// Carries out the plan and returns what happened. Ends early, and leaves no child behind, when `interrupted` gets true.
pub fn run(plan: &Plan, interrupted: &Arc<AtomicBool>) -> Result<History, Failure> {
    // One pipe for each host, and some more for its start, for the scheduler and for the driver itself.
    system::allow_open_files(plan.intervals.len() as u64 + 64)?;
    let snapshot = SnapshotFile::new("chaos");
    let (process, told) = start_scheduler(plan, &snapshot, 0, 0)?;
    let patience = system::monotonic_ns() + PATIENCE_NS;
    let port = match told.recv_timeout(Duration::from_nanos(PATIENCE_NS)) {
        Ok(Ok(Observation::Port(port))) => port,
        _ => return Err(Failure::Broken("the scheduler did not open its socket".to_owned())),
    };
    let mut driver = Driver {
        plan,
        interrupted,
        bar: ProgressBar::hidden(),
        scheduler: Some(process),
        stopped: false,
        told,
        snapshot,
        relay: Relay::start(SocketAddr::from(([127, 0, 0, 1], port)), plan.seed)?,
        hosts: Vec::new(),
        incarnations: vec![0; plan.intervals.len()],
        intervals: plan.intervals.clone(),
        crowd: None,
        crowds: 0,
        agenda: BinaryHeap::new(),
        history: History::default(),
    };
    driver.assemble(patience)?;
    driver.carry_out(port)?;
    driver.finish()
}

/// Starts a scheduler, the `number`th after the first, on a port, 0 for any.
fn start_scheduler(
    plan: &Plan,
    snapshot: &SnapshotFile,
    port: u16,
    number: usize,
) -> io::Result<(Process, Receiver<Result<Observation, String>>)> {
    let args = [
        port.to_string(),
        snapshot.path().to_string_lossy().into_owned(),
        (plan.intervals.len() + ROOM).to_string(),
        number.to_string(),
    ];
    let mut scheduler = Process::start(scheduler::ROLE, &args, Stdio::piped())?;
    let output = scheduler.take_stdout().ok_or_else(|| io::Error::other("the scheduler has no output"))?;
    Ok((scheduler, account::follow(output)?))
}

impl Driver<'_> {
    /// Starts all hosts and waits until each was heard.
    fn assemble(&mut self, patience: u64) -> Result<(), Failure> {
        self.bar =
            ProgressBar::new(self.plan.intervals.len() as u64).with_style(program::bar("{pos}/{len} hosts registered"));
        for number in 0..self.plan.intervals.len() {
            let process = self.start_host(number)?;
            self.hosts.push(Some(process));
            self.listen(Duration::ZERO)?;
        }
        let registered = |history: &mut History| history.epoch().samples.last().map_or(0, |sample| sample.live);
        while registered(&mut self.history) < self.plan.intervals.len() as u64 {
            if system::monotonic_ns() > patience {
                return Err(Failure::Broken("not all hosts were heard in time".to_owned()));
            }
            self.listen(NAP)?;
            self.bar.set_position(registered(&mut self.history));
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    fn start_host(&mut self, number: usize) -> io::Result<Process> {
        self.incarnations[number] += 1;
        let args = [
            self.relay.address.to_string(),
            number.to_string(),
            self.incarnations[number].to_string(),
            self.intervals[number].as_millis().to_string(),
        ];
        Process::start(host::ROLE, &args, Stdio::null())
    }

    /// Waits for an observation, and takes down all that are there.
    fn listen(&mut self, wait: Duration) -> Result<(), Failure> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        if self.scheduler.is_none() {
            thread::sleep(wait);
            return Ok(());
        }
        let mut next = self.told.recv_timeout(wait);
        loop {
            match next {
                Ok(observation) => self.history.epoch().note(observation?),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) if self.history.epoch().ended_ns.is_some() => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Broken("the scheduler ended before the run did".to_owned()));
                }
            }
            next = self.told.recv_timeout(Duration::ZERO);
        }
    }

    /// The run itself: deeds when they are due, observations in between.
    fn carry_out(&mut self, port: u16) -> Result<(), Failure> {
        let started = system::monotonic_ns();
        let end = started + self.plan.length.as_nanos() as u64;
        self.history.started_ns = started;
        for (place, planned) in self.plan.faults.iter().enumerate() {
            self.agenda.push(Reverse((started + planned.at.as_nanos() as u64, Deed::Strike(place))));
        }
        self.bar = ProgressBar::new(self.plan.length.as_secs()).with_style(program::bar("{pos}/{len} s  {wide_msg}"));
        let mut struck = 0;
        loop {
            let now = system::monotonic_ns();
            if now >= end {
                break;
            }
            let due = self.agenda.peek().map_or(end, |Reverse((due, _))| *due);
            self.listen(Duration::from_nanos(due.min(end).saturating_sub(now)).min(NAP))?;
            self.show_progress(now - started, struck);
            let now = system::monotonic_ns();
            while let Some(Reverse((due, deed))) = self.agenda.peek().copied() {
                if due > now {
                    break;
                }
                self.agenda.pop();
                match deed {
                    Deed::Strike(place) => {
                        struck += 1;
                        self.strike(&self.plan.faults[place].fault)?;
                    }
                    _ => self.undo(deed, port)?,
                }
            }
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    fn after(&mut self, length: Duration, deed: Deed) {
        self.agenda.push(Reverse((system::monotonic_ns() + length.as_nanos() as u64, deed)));
    }

    /// Makes a fault happen.
    fn strike(&mut self, fault: &Fault) -> Result<(), Failure> {
        match *fault {
            Fault::Kill { host, .. } | Fault::Pause { host, .. } | Fault::Goodbye { host, .. } => {
                self.strike_host(host, fault)?;
            }
            Fault::Interval { host, to } => {
                self.intervals[host] = to;
                match self.running_host(host)? {
                    Some(process) => process.say(&format!("{}{}\n", host::INTERVAL, to.as_millis()))?,
                    None => self.history.skipped += 1,
                }
            }
            Fault::Weather { weather, length } => {
                let name = match (weather.cut_percent, weather.loss_percent, weather.delay_ms) {
                    (100, ..) => "partition, 100 %",
                    (50, ..) => "partition, 50 %",
                    (_, 0, 0) => "duplicates",
                    (_, 0, _) => "delay",
                    (_, _, 0) => "loss",
                    _ => "loss, delay and duplicates",
                };
                self.note(name);
                self.relay.set(weather);
                self.after(length, Deed::CalmWeather);
            }
            Fault::StopScheduler { length } => {
                self.note("scheduler stopped");
                self.running_scheduler()?.stop()?;
                self.stopped = true;
                let now = system::monotonic_ns();
                self.history.epoch().stops.push(now..now);
                self.after(length, Deed::ContinueScheduler);
            }
            Fault::KillScheduler { down } => {
                self.note("scheduler killed");
                self.running_scheduler()?.kill()?;
                // What it had said before is still to be read.
                while let Ok(observation) = self.told.recv() {
                    self.history.epoch().note(observation?);
                }
                self.scheduler = None;
                self.after(down, Deed::StartScheduler);
            }
            Fault::Stall { length } => {
                self.command("callback stalls", &format!("stall {}", length.as_millis()), Some(length))?;
            }
            Fault::Deaf { length } => {
                self.command("consumer does not read", &format!("deaf {}", length.as_millis()), Some(length))?;
            }
            Fault::Panic { times } => self.command("callback panics", &format!("panic {times}"), None)?,
            Fault::Silent { times } => self.command("leaves not answered", &format!("silent {times}"), None)?,
            Fault::Retry { times, after } => {
                self.command("retries", &format!("retry {times} {}", after.as_millis()), None)?;
            }
            Fault::Crowd { hosts, length } => {
                self.note("crowd, table full");
                let (first, hosts) = (CROWDS + self.crowds * NEXT_CROWD, hosts as u32);
                self.crowds += 1;
                let args = [self.relay.address.to_string(), first.to_string(), hosts.to_string()];
                self.crowd = Some((Process::start(crowd::ROLE, &args, Stdio::null())?, first, hosts));
                self.after(length, Deed::EndCrowd);
            }
        }
        Ok(())
    }

    fn note(&mut self, name: &'static str) {
        self.history.campaign.push(name);
    }

    /// The plan stops and kills it one after the other.
    fn running_scheduler(&mut self) -> Result<&mut Process, Failure> {
        self.scheduler.as_mut().ok_or_else(|| Failure::Broken("the plan wants a scheduler that is down".to_owned()))
    }

    /// Tells the consumer to misbehave. One that is stopped reads it when it goes on; one that is down never.
    fn command(&mut self, name: &'static str, command: &str, stall: Option<Duration>) -> Result<(), Failure> {
        let Some(process) = &mut self.scheduler else {
            self.history.skipped += 1;
            return Ok(());
        };
        process.say(&format!("{command}\n"))?;
        if let Some(length) = stall {
            let now = system::monotonic_ns();
            self.history.epoch().stalls.push(now..now + length.as_nanos() as u64);
        }
        self.note(name);
        Ok(())
    }

    /// A host that is neither dead nor stopped.
    fn running_host(&mut self, host: usize) -> io::Result<Option<&mut Process>> {
        let Some(process) = &mut self.hosts[host] else { return Ok(None) };
        Ok(process.is_running()?.then_some(process))
    }

    fn strike_host(&mut self, host: usize, fault: &Fault) -> Result<(), Failure> {
        let Some(process) = self.running_host(host)? else {
            self.history.skipped += 1;
            return Ok(());
        };
        let (kind, away) = match *fault {
            Fault::Pause { length, .. } => {
                process.stop()?;
                (DeedKind::Pause, length)
            }
            Fault::Goodbye { back_after, .. } => {
                process.say(&format!("{}\n", host::LEAVE))?;
                (DeedKind::Goodbye, back_after)
            }
            Fault::Kill { back_after, .. } => {
                process.kill()?;
                self.hosts[host] = None;
                (DeedKind::Kill, back_after)
            }
            _ => return Ok(()),
        };
        self.history.deed(host as u32, system::monotonic_ns(), kind);
        // Some of the last ones stay dead.
        let end = self.history.started_ns + (self.plan.length - crate::plan::QUIET).as_nanos() as u64;
        if kind == DeedKind::Pause {
            self.after(away, Deed::Continue(host));
        } else if system::monotonic_ns() + (away.as_nanos() as u64) < end {
            self.after(away, Deed::BringBack(host));
        }
        Ok(())
    }

    /// What ends a fault.
    fn undo(&mut self, deed: Deed, port: u16) -> Result<(), Failure> {
        match deed {
            Deed::Strike(_) => {}
            Deed::Continue(host) => {
                if let Some(process) = &mut self.hosts[host] {
                    process.go_on()?;
                }
                self.history.deed(host as u32, system::monotonic_ns(), DeedKind::Back);
            }
            Deed::BringBack(host) => {
                // First: one that says goodbye and gets no answer would go on saying it.
                self.hosts[host] = None;
                self.hosts[host] = Some(self.start_host(host)?);
                self.history.deed(host as u32, system::monotonic_ns(), DeedKind::Back);
            }
            Deed::CalmWeather => self.relay.set(Weather::default()),
            Deed::ContinueScheduler => {
                self.running_scheduler()?.go_on()?;
                self.stopped = false;
                if let Some(stop) = self.history.epoch().stops.last_mut() {
                    stop.end = system::monotonic_ns();
                }
            }
            Deed::StartScheduler => {
                let number = self.history.epochs.len();
                let (process, told) = start_scheduler(self.plan, &self.snapshot, port, number)?;
                (self.scheduler, self.told) = (Some(process), told);
                self.history.epochs.push(Epoch::default());
            }
            Deed::EndCrowd => {
                if let Some((mut process, first, hosts)) = self.crowd.take() {
                    process.kill()?;
                    let now = system::monotonic_ns();
                    for host in first..first + hosts {
                        self.history.deed(host, now, DeedKind::CrowdDies);
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets the scheduler finish, and looks who is alive.
    fn finish(mut self) -> Result<History, Failure> {
        // Hosts first: the scheduler's last word must not be older than what is held against it.
        for (number, process) in self.hosts.iter_mut().enumerate() {
            if let Some(process) = process
                && process.is_running()?
            {
                self.history.running.push(number as u32);
            }
        }
        self.running_scheduler()?.say(&format!("{}\n", scheduler::FINISH))?;
        let patience = system::monotonic_ns() + PATIENCE_NS;
        while self.history.epoch().ended_ns.is_none() {
            self.listen(NAP)?;
            if system::monotonic_ns() > patience {
                return Err(Failure::Broken("the scheduler did not finish in time".to_owned()));
            }
        }
        if !self.running_scheduler()?.wait()? {
            return Err(Failure::Broken("the scheduler failed at its end".to_owned()));
        }
        self.history.passages = self.relay.end()?;
        Ok(self.history)
    }

    fn show_progress(&mut self, elapsed_ns: u64, struck: usize) {
        self.bar.set_position(elapsed_ns / 1_000_000_000);
        let scheduler = match (&self.scheduler, self.stopped) {
            (None, _) => "down",
            (_, true) => "stopped",
            _ => "runs",
        };
        if let Some(sample) = self.history.epoch().samples.last() {
            let Sample { live, suspect, waiting, .. } = *sample;
            self.bar.set_message(format!(
                "{struck} faults; the scheduler {scheduler} and knows {live}, {suspect} of them suspect, {waiting} waiting"
            ));
        }
    }
}
