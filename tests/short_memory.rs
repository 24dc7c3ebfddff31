//! A process short of memory: whatever the system refuses, and when, the wheel ends in an error or goes on, and loses no host.
//!
//! Each run is a process of its own, which limits its address space (`RLIMIT_AS`) or its data (`RLIMIT_DATA`), in steps of 64 KiB, before
//! or after it opens a wheel; registers hosts until there is no memory; eats what is left; has the hosts expire; and gives memory
//! back. Without arguments every tenth step is run; `HOSTWHEEL_MEMORY_STEPS=200` runs all of so many (`.ci/long memory`).

use std::process::{Command, ExitCode, Stdio, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hostwheel::{AnnounceError, Brake, Clock, Config, Event, EventKind, Events, HostWheel, OpenError, Verdict};

const STEP: u64 = 64 << 10;

/// How a run ended, as its exit code.
mod ended {
    /// All that was registered has left.
    pub const WELL: i32 = 0;
    /// The wheel did not open.
    pub const UNOPENED: i32 = 10;
    /// Some call returned what it must not.
    pub const WRONG_ERROR: i32 = 20;
    /// Hosts were lost, or left twice.
    pub const WRONG_LEAVES: i32 = 21;
    /// The hosts did not leave in time.
    pub const STUCK: i32 = 22;
}

/// Ends this process at once: destructors may need memory.
fn end(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Callbacks,
    Drained,
    Manual,
}

const MODES: [(&str, Mode); 3] = [("callbacks", Mode::Callbacks), ("drained", Mode::Drained), ("manual", Mode::Manual)];

/// Which limit is set, and after how many hosts were announced; `None`: before the wheel opens.
const LIMITS: [(&str, libc::__rlimit_resource_t, usize); 2] =
    [("as", libc::RLIMIT_AS, 0), ("data", libc::RLIMIT_DATA, 5)];

/// What the process has of what is limited, by a column of `/proc/self/statm`.
fn used(column: usize) -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("it can be read");
    let pages: u64 = statm.split_whitespace().nth(column).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    // SAFETY: reads the limit.
    let set = unsafe { libc::setrlimit(resource, &libc::rlimit { rlim_cur: to, rlim_max: libc::RLIM_INFINITY }) };
    assert_eq!(set, 0);
}

/// All memory that there is, in smaller and smaller pieces, each linked to the one before it.
struct Eaten(*mut *mut libc::c_void);

impl Eaten {
    fn all() -> Eaten {
        let mut last = Eaten(std::ptr::null_mut());
        for size in [1 << 20, 64 << 10, 4 << 10, 256, 32, 16] {
            // SAFETY: plain allocations, large enough for a link.
            while let Some(piece) = unsafe { libc::malloc(size).cast::<*mut libc::c_void>().as_mut() } {
                *piece = last.0.cast();
                last = Eaten(piece);
            }
        }
        last
    }

    fn give_back(self) {
        let mut piece = self.0;
        while !piece.is_null() {
            // SAFETY: each link is the piece before, or null.
            unsafe {
                let before = (*piece).cast();
                libc::free(piece.cast());
                piece = before;
            }
        }
    }
}

/// The wheel of a run, with the count of what has left.
struct Run {
    wheel: HostWheel,
    events: Option<Events>,
    batch: Vec<Event>,
    left: Arc<AtomicU64>,
    now: Duration,
}

impl Run {
    fn open(mode: Mode) -> Result<Run, OpenError> {
        let ms = Duration::from_millis;
        let config = Config {
            clock: if mode == Mode::Manual { Clock::Manual } else { Config::default().clock },
            min_interval: ms(20),
            grace: ms(20),
            settle_timeout: ms(200),
            brake: Brake::OFF,
            silence_expected: 0,
            // Few, so that the address space for them is no matter.
            max_hosts: 4096,
            ..Config::default()
        };
        let left = Arc::new(AtomicU64::new(0));
        let (wheel, events) = if mode == Mode::Drained {
            let (wheel, events) = HostWheel::drained(config)?;
            (wheel, Some(events))
        } else {
            let count = left.clone();
            let handler = move |event: &Event| {
                // Each host's second attempt is its end.
                if event.attempt() == 1 {
                    return Verdict::Retry(ms(5));
                }
                count.fetch_add(1, Ordering::Relaxed);
                Verdict::Done
            };
            (HostWheel::start(config, handler)?, None)
        };
        Ok(Run { wheel, events, batch: Vec::new(), left, now: Duration::ZERO })
    }

    /// Registers hosts with ids of several lengths until the system refuses memory, or `most`.
    fn register(&self, most: u64) -> u64 {
        let mut id = [0; 200];
        for host in 0..most {
            id[..8].copy_from_slice(&(host + 1).to_le_bytes());
            match self.wheel.announce(&id[..8 + (host as usize * 37) % 192], Duration::from_millis(20)) {
                Ok(_) => {}
                Err(AnnounceError::NoMemory) => return host,
                Err(_) => end(ended::WRONG_ERROR),
            }
        }
        most
    }

    /// Lets some time pass, and answers what there is to answer.
    fn pass(&mut self, manual: bool) {
        thread::sleep(Duration::from_millis(1));
        if manual {
            self.now += Duration::from_millis(1);
            if self.wheel.advance(self.now).is_err() {
                end(ended::WRONG_ERROR);
            }
        }
        let Some(events) = &mut self.events else { return };
        self.batch.clear();
        events.drain(&mut self.batch, 64);
        for event in self.batch.iter().filter(|event| event.kind() == EventKind::Leave) {
            if self.wheel.settle(event.handle(), event.attempt(), Verdict::Done).is_ok() {
                self.left.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// One run, in a process of its own.
fn run(mode: Mode, (_, resource, column): (&str, libc::__rlimit_resource_t, usize), opened: bool, bytes: u64) -> ! {
    if !opened {
        limit(resource, used(column) + bytes);
    }
    let mut run = match Run::open(mode) {
        Ok(run) => run,
        Err(OpenError::Os(_)) => end(ended::UNOPENED),
        Err(_) => end(ended::WRONG_ERROR),
    };
    let mut registered = if opened { run.register(10) } else { 0 };
    if opened {
        limit(resource, used(column) + bytes);
    } else {
        registered += run.register(3000);
    }
    let eaten = Eaten::all();
    let manual = mode == Mode::Manual;
    for _ in 0..150 {
        run.pass(manual);
    }
    eaten.give_back();
    // An allocator may keep what it was given back where the wheel's thread finds none of it.
    limit(resource, libc::RLIM_INFINITY);
    let began = Instant::now();
    while run.left.load(Ordering::Relaxed) < registered {
        run.pass(manual);
        if began.elapsed() > Duration::from_secs(30) {
            eprintln!("{} of {registered} have left: {:?}", run.left.load(Ordering::Relaxed), run.wheel.stats());
            end(ended::STUCK);
        }
    }
    // Nobody leaves twice.
    for _ in 0..20 {
        run.pass(manual);
    }
    let stats = run.wheel.stats();
    let leaves = stats.leaves_ttl + stats.leaves_host_ttl + stats.leaves_backstop;
    let right = run.left.load(Ordering::Relaxed) == registered && leaves == registered && stats.live == 0;
    end(if right { ended::WELL } else { ended::WRONG_LEAVES });
}

/// Runs that wait at a time, as they do most of the time.
const TOGETHER: usize = 8;

/// Runs all steps of one kind; returns whether all went well.
fn sweep(name: &str, arguments: [&str; 3], steps: &[u64]) -> bool {
    let (mut well, mut unopened, mut wrong) = (0, 0, 0);
    let own = std::env::current_exe().expect("it has a path");
    for together in steps.chunks(TOGETHER) {
        let start = |step: &u64| {
            let mut child = Command::new(&own);
            child.args(arguments).arg((step * STEP).to_string()).stdout(Stdio::null());
            child.spawn().expect("it starts")
        };
        let children: Vec<_> = together.iter().map(start).collect();
        for (mut child, step) in children.into_iter().zip(together) {
            let status = child.wait().expect("it ends");
            match status.code() {
                Some(ended::WELL) => well += 1,
                Some(ended::UNOPENED) => unopened += 1,
                _ => {
                    wrong += 1;
                    eprintln!("{name}, {} KiB: {status}", (step * STEP) >> 10);
                }
            }
        }
    }
    println!("{name}: {well} went on, {unopened} did not open, {wrong} wrong");
    wrong == 0
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, resource, opened, bytes] = &arguments[..]
        && let Ok(bytes) = bytes.parse()
    {
        let mode = MODES.iter().find(|(name, _)| name == mode).expect("a mode").1;
        let resource = *LIMITS.iter().find(|(name, ..)| name == resource).expect("a limit");
        run(mode, resource, opened == "opened", bytes);
    }
    // As the other tests do: a filter that does not name this one leaves it out.
    if arguments.iter().any(|argument| !argument.starts_with('-') && !"short_memory".contains(argument.as_str())) {
        return ExitCode::SUCCESS;
    }
    let all: Option<u64> = std::env::var("HOSTWHEEL_MEMORY_STEPS").ok().and_then(|steps| steps.parse().ok());
    let (steps, stride) = all.map_or((200, 10), |steps| (steps, 1));
    let steps: Vec<u64> = (0..steps).step_by(stride).collect();
    let mut well = true;
    for (mode, _) in MODES {
        for (resource, ..) in LIMITS {
            for (opened, say) in [("closed", "limited before it opens"), ("opened", "limited after 10 hosts")] {
                let name = format!("{mode}, RLIMIT_{}, {say}", resource.to_uppercase());
                well &= sweep(&name, [mode, resource, opened], &steps);
            }
        }
    }
    if well { ExitCode::SUCCESS } else { exit(1) }
}
