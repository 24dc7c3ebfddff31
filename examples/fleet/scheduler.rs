//! The scheduler: keeps a table of hosts, and lets hostwheel say which of them have gone.
//!
//! This file is the example to copy from. The main thread reads announces from a UDP socket and hands them to the wheel;
//! the wheel calls [`LeaveHost`] on its own thread when a host has gone, and the host is removed from the table if its
//! handle is still the one in the table. Everything that happens is written to standard output for the driver, by a
//! third thread, so that a slow reader never holds up an announce or a callback. A fourth takes a snapshot of the wheel
//! twice a second; a scheduler that finds one when it starts goes on with the hosts in it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use hostwheel::{Brake, Config, EventKind, GuardEvent, Handle, Handler, HostWheel, Outcome, Verdict};
use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::common::account::{Account, Commands, Snapshots};
use crate::common::system;
use crate::common::wire::{self, Kind, Packet};
use crate::observation::{self as told, Count, Heard, Left, Observation, Restored, Stats};

/// The first argument of a process that is the scheduler.
pub const ROLE: &str = "scheduler-process";

/// What the driver writes to end the run.
pub const FINISH: &str = "finish";

/// What the driver writes to have all announces lost from now on, and read again.
pub const CUT: &str = "cut";
pub const MEND: &str = "mend";

/// The shortest interval that the scheduler accepts.
pub const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// How often a snapshot is taken. What registers or leaves between the last one and a crash is not in it.
pub const SNAPSHOT_EVERY: Duration = Duration::from_millis(500);

/// A brake under which a fifth of the fleet needs several seconds to leave.
pub fn narrow_brake() -> Brake {
    Brake { burst_permille: 50, burst_min: 1, refill_permille: 3000, refill_min: 60 }
}

const SAMPLE_EVERY_NS: u64 = 100_000_000;
/// Room for what a large fleet announces while the scheduler is stopped.
const SOCKET_BUFFER: i32 = 16 << 20;

const SOCKET: Token = Token(0);
const COMMANDS: Token = Token(1);

/// What the scheduler keeps of a host. A real one keeps its load, its addresses, its tasks here.
struct Metadata {
    handle: Handle,
    incarnation: u32,
}

/// The scheduler's table of hosts, shared by the receive loop and the callback.
#[derive(Default)]
struct Table {
    hosts: HashMap<u32, Metadata>,
    mismatches: u64,
}

type SharedTable = Arc<Mutex<Table>>;

/// Each critical section is a single update, so the table stays consistent whoever panicked.
fn lock(table: &SharedTable) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The id under which the wheel knows a host.
fn host_id(number: u32) -> String {
    format!("host-{number:04}")
}

fn host_number(id: &[u8]) -> Option<u32> {
    std::str::from_utf8(id).ok()?.strip_prefix("host-")?.parse().ok()
}

/// What the wheel calls.
struct LeaveHost {
    table: SharedTable,
    out: Account<Observation>,
}

impl LeaveHost {
    fn tell(&self, at_ns: u64, event: &hostwheel::Event) -> Option<u32> {
        let host = host_number(event.id())?;
        let kind = match event.kind() {
            EventKind::Suspect => told::SUSPECT_EVENT,
            EventKind::Recovered => told::RECOVERED_EVENT,
            _ => told::LEAVE_EVENT,
        };
        self.out.tell(Observation::Event(told::Event {
            at_ns,
            host: host.into(),
            kind,
            handle: event.handle().as_raw(),
            lateness_ns: event.lateness().as_nanos() as u64,
            away_ns: event.away().as_nanos() as u64,
            held_ns: event.held().as_nanos() as u64,
            attempt: event.attempt().into(),
            superseded: event.superseded().into(),
        }));
        Some(host)
    }
}

impl Handler for LeaveHost {
    fn leave(&mut self, event: &hostwheel::Event) -> Verdict {
        if let Some(host) = self.tell(system::monotonic_ns(), event) {
            let mut table = lock(&self.table);
            // The host may have come back under another handle in the meantime; then the entry is its new life's.
            if table.hosts.get(&host).is_some_and(|known| known.handle == event.handle()) {
                table.hosts.remove(&host);
            } else {
                table.mismatches += 1;
            }
        }
        Verdict::Done
    }

    fn suspect(&mut self, event: &hostwheel::Event) {
        self.tell(system::monotonic_ns(), event);
    }

    fn recovered(&mut self, event: &hostwheel::Event) {
        self.tell(system::monotonic_ns(), event);
    }

    // A real scheduler logs these: they tell that the wheel holds itself, and not its hosts, for the trouble.
    fn guard(&mut self, event: &GuardEvent) {
        self.out.tell(Observation::Guard { at_ns: system::monotonic_ns(), what: event.kind().name().to_owned() });
    }
}

/// Runs the scheduler. Arguments: process id of the driver, grace in ms, port (0 for any), path of the snapshot, whether
/// the brake is narrow.
pub fn main(args: &[String]) -> ExitCode {
    system::leave_the_end_to_the_driver();
    let [driver, grace_ms, port, snapshot, braked] = args else {
        eprintln!("{ROLE} is started by the fleet example itself");
        return ExitCode::from(2);
    };
    let run = || -> io::Result<()> {
        system::die_with_parent(driver.parse().map_err(io::Error::other)?)?;
        let grace = Duration::from_millis(grace_ms.parse().map_err(io::Error::other)?);
        let brake = match braked.as_str() {
            "true" => narrow_brake(),
            // A third of this fleet is killed within seconds, on purpose.
            _ => Brake { burst_permille: 1000, ..Brake::default() },
        };
        Scheduler::start(grace, port.parse().map_err(io::Error::other)?, snapshot.into(), brake)?.run()
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("scheduler: {e}");
            ExitCode::FAILURE
        }
    }
}

struct Scheduler {
    wheel: Arc<HostWheel>,
    table: SharedTable,
    snapshots: Snapshots,
    socket: UdpSocket,
    out: Account<Observation>,
    writer: thread::JoinHandle<io::Result<()>>,
    foreign: u64,
    /// While announces are lost: how many were.
    lost: Option<u64>,
}

impl Scheduler {
    fn start(grace: Duration, port: u16, snapshot: PathBuf, brake: Brake) -> io::Result<Scheduler> {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
        system::want_receive_buffer(socket.as_raw_fd(), SOCKET_BUFFER);
        let (out, writer) = Account::open()?;
        out.tell(Observation::Port(socket.local_addr()?.port()));

        let table = SharedTable::default();
        let config = Config {
            grace,
            min_interval: MIN_INTERVAL,
            // Far more often than the default, so that the back-stop has its say within so short a run.
            backstop: Duration::from_secs(2),
            brake,
            ..Config::default()
        };
        let handler = LeaveHost { table: table.clone(), out: out.clone() };
        let wheel = Arc::new(HostWheel::start(config, handler).map_err(|e| io::Error::other(e.to_string()))?);
        if snapshot.exists() {
            restore(&wheel, &table, &snapshot, &out)?;
        }
        let snapshots = Snapshots::start(wheel.clone(), snapshot, SNAPSHOT_EVERY)?;
        Ok(Scheduler { wheel, table, snapshots, socket, out, writer, foreign: 0, lost: None })
    }

    fn run(mut self) -> io::Result<()> {
        let mut commands = Commands::open()?;
        let mut poll = Poll::new()?;
        poll.registry().register(&mut self.socket, SOCKET, Interest::READABLE)?;
        poll.registry().register(&mut SourceFd(&commands.fd()), COMMANDS, Interest::READABLE)?;
        let mut events = Events::with_capacity(16);
        let mut next_sample = system::monotonic_ns();
        loop {
            let now = system::monotonic_ns();
            if now >= next_sample {
                next_sample = now + SAMPLE_EVERY_NS;
                self.sample(now);
            }
            match poll.poll(&mut events, Some(Duration::from_nanos(next_sample - now))) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    SOCKET => self.receive()?,
                    _ => match commands.read()? {
                        Some(lines) if lines.iter().any(|line| line == FINISH) => return self.finish(),
                        Some(lines) => lines.iter().for_each(|line| self.cut(line)),
                        // The driver has gone, and with it the reason for this process.
                        None => return Ok(()),
                    },
                }
            }
        }
    }

    /// Begins or ends to lose announces, as a network does that is cut in two.
    fn cut(&mut self, command: &str) {
        let at_ns = system::monotonic_ns();
        if command == CUT {
            self.lost = Some(0);
            self.out.tell(Observation::Cut { at_ns });
        } else if let Some(lost) = self.lost.take_if(|_| command == MEND) {
            self.out.tell(Observation::Mended { at_ns, lost });
        }
    }

    /// Reads all datagrams that wait: readiness is reported once, so nothing may be left.
    fn receive(&mut self) -> io::Result<()> {
        while let Some((packet, from)) = wire::receive(&self.socket)? {
            if let Some(lost) = &mut self.lost {
                *lost += 1;
                continue;
            }
            match packet {
                Some(packet) if packet.kind == Kind::Announce => self.announced(system::monotonic_ns(), &packet),
                Some(packet) if packet.kind == Kind::Leave => self.left(system::monotonic_ns(), &packet, from),
                _ => self.foreign += 1,
            }
        }
        Ok(())
    }

    fn announced(&mut self, at_ns: u64, packet: &Packet) {
        // Held across both, so that a leave callback finds the table before this announce or after it, never between.
        // An announce never waits for a callback, so this cannot deadlock.
        let mut table = lock(&self.table);
        if table.hosts.get(&packet.host).is_some_and(|known| known.incarnation > packet.incarnation) {
            return;
        }
        let interval = Duration::from_millis(packet.interval_ms.into());
        // The user data of a host come back with it after a restart.
        let incarnation = packet.incarnation.into();
        let observation = match self.wheel.announce_with(host_id(packet.host), interval, Duration::ZERO, incarnation) {
            Ok(announced) => {
                let metadata = Metadata { handle: announced.handle, incarnation: packet.incarnation };
                table.hosts.insert(packet.host, metadata);
                Observation::Heard(Heard {
                    at_ns,
                    sent_ns: packet.sent_ns,
                    host: packet.host.into(),
                    incarnation: packet.incarnation.into(),
                    interval_ms: announced.interval.as_millis() as u64,
                    sequence: packet.sequence.into(),
                    handle: announced.handle.as_raw(),
                    outcome: match announced.outcome {
                        Outcome::Registered => told::REGISTERED,
                        Outcome::Renewed => told::RENEWED,
                        Outcome::Recovered => told::RECOVERED,
                    },
                })
            }
            Err(error) => Observation::Refused { host: packet.host, error: error.to_string() },
        };
        self.out.tell(observation);
    }

    /// A polite leave. It comes again until it is acknowledged, and a late copy must not remove a later life.
    fn left(&mut self, at_ns: u64, packet: &Packet, from: SocketAddr) {
        let mut table = lock(&self.table);
        let current = table.hosts.get(&packet.host).filter(|known| known.incarnation == packet.incarnation);
        if let Some(handle) = current.map(|known| known.handle) {
            // An error means that the wheel was quicker: it has decided to call LeaveHost, which then removes the host.
            if self.wheel.leave_handle(handle).is_ok() {
                table.hosts.remove(&packet.host);
                let left = Left { at_ns, host: packet.host.into(), handle: handle.as_raw() };
                self.out.tell(Observation::Left(left));
            }
        }
        let answer = Packet { kind: Kind::LeaveAck, ..*packet };
        // If it gets lost, the host repeats its leave.
        let _ = self.socket.send_to(&answer.encode(), from);
    }

    fn sample(&self, at_ns: u64) {
        let stats = self.wheel.stats();
        let away_ns = stats.away.as_nanos() as u64;
        self.out.tell(Observation::Count(Count { at_ns, known: stats.live, suspect: stats.suspect, away_ns }));
    }

    /// Closes the wheel, which must not make anybody leave, and tells what is left.
    fn finish(self) -> io::Result<()> {
        let at_ns = system::monotonic_ns();
        self.sample(at_ns);
        for host in lock(&self.table).hosts.keys() {
            self.out.tell(Observation::Kept { host: *host });
        }
        let stats = self.wheel.stats();
        self.out.tell(Observation::Stats(Stats {
            live: stats.live,
            registered: stats.registered,
            left: stats.left,
            leaves: stats.leaves_ttl + stats.leaves_backstop,
            suspects: stats.suspects,
            recoveries: stats.recoveries,
            rescues: stats.rescues,
            superseded: stats.superseded,
            clamps: stats.clamps,
            away_ns: stats.away.as_nanos() as u64,
            silences: stats.silences,
            brake_ns: stats.brake.as_nanos() as u64,
            clock: stats.clock as u64,
            margin_ns: stats.margin.as_nanos() as u64,
            visits: stats.visits,
            wake_ups: stats.wake_ups,
            lateness_max_ns: stats.lateness_max.as_nanos() as u64,
            mismatches: lock(&self.table).mismatches,
            foreign: self.foreign,
        }));
        self.snapshots.end()?;
        self.wheel.close(Duration::from_secs(5)).map_err(|e| io::Error::other(e.to_string()))?;
        // After a close nothing is called back any more, so nothing can follow the end.
        self.out.tell(Observation::End { at_ns });
        self.out.close();
        self.writer.join().map_err(|_| io::Error::other("the writer panicked"))?
    }
}

/// Goes on with the hosts of a snapshot.
fn restore(wheel: &HostWheel, table: &SharedTable, path: &Path, out: &Account<Observation>) -> io::Result<()> {
    // Held until the table knows them all, so that no leave callback comes before.
    let mut table = lock(table);
    wheel.restore(path).map_err(|e| io::Error::other(e.to_string()))?;
    wheel.each(|host| {
        if let Some(number) = host_number(host.id) {
            table.hosts.insert(number, Metadata { handle: host.handle, incarnation: host.user_data as u32 });
            let restored = Restored {
                at_ns: system::monotonic_ns(),
                host: number.into(),
                interval_ms: host.interval.map_or(0, |interval| interval.as_millis() as u64),
                handle: host.handle.as_raw(),
                // Ages are told in whole milliseconds.
                age_ns: host.age.as_nanos() as u64 + 1_000_000,
            };
            out.tell(Observation::Restored(restored));
        }
        ControlFlow::Continue(())
    });
    out.tell(Observation::Back { at_ns: system::monotonic_ns() });
    Ok(())
}
