//! The scheduler: a wheel, a table, a socket. It tells the driver all that it sees, with the wheel's time beside the
//! machine's, so that a leave can be judged to the tick.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hostwheel::{AnnounceError, Brake, Clock, Config, Handle, HostWheel, Outcome};
use mio::net::UdpSocket;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::common::account::{Account, Commands, Snapshots};
use crate::common::system;
use crate::common::wire::{self, Kind, Packet};
use crate::consumer::{self, Consumer, Manners, Metadata, Table, lock};
use crate::footprint::Footprint;
use crate::observation::{self as told, Full, Heard, Left, Observation, Sample, Serving};
use crate::plan::INTERVAL_MS;

/// The first argument of a process that is the scheduler.
pub const ROLE: &str = "scheduler-process";

/// What the driver writes to end the run. Other lines are for the consumer.
pub const FINISH: &str = "finish";

/// How often a snapshot is taken.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(500);

const SAMPLE_EVERY_NS: u64 = 100_000_000;

/// Room for what the fleet announces while the scheduler is stopped.
const SOCKET_BUFFER: i32 = 16 << 20;

const SOCKET: Token = Token(0);
const COMMANDS: Token = Token(1);

/// The clocks that one scheduler after another uses. They are called back and drain in turn, so each clock meets both.
const CLOCKS: [Clock; 3] = [Clock::Counter, Clock::Precise, Clock::Coarse];

/// The configuration of the wheel of the `number`th scheduler after the first, for a table of so many hosts.
pub fn config(max_hosts: usize, number: usize) -> Config {
    Config {
        clock: CLOCKS[number % CLOCKS.len()],
        min_interval: Duration::from_millis(INTERVAL_MS.start),
        max_hosts,
        // So few that a consumer which does not read makes hosts wait.
        max_outstanding: 16,
        // Far more often than the default, so that it has its say within so short a run.
        backstop: Duration::from_secs(2),
        settle_timeout: Duration::from_secs(2),
        // A crowd that dies meets it.
        brake: Brake { burst_permille: 300, burst_min: 30, refill_permille: 2000, refill_min: 240 },
        ..Config::default()
    }
}

/// The id under which the wheel knows a host.
fn host_id(number: u32) -> String {
    format!("host-{number:05}")
}

/// The host of an id.
pub fn host_number(id: &[u8]) -> Option<u32> {
    std::str::from_utf8(id).ok()?.strip_prefix("host-")?.parse().ok()
}

/// Runs the scheduler. Arguments: process id of the driver, port (0 for any), path of the snapshot, the most hosts, how many
/// schedulers there were before.
pub fn main(args: &[String]) -> ExitCode {
    system::leave_the_end_to_the_driver();
    let [driver, port, snapshot, max_hosts, number] = args else {
        eprintln!("{ROLE} is started by the chaos example itself");
        return ExitCode::from(2);
    };
    consumer::silence_asked_panics();
    let run = || -> io::Result<()> {
        system::die_with_parent(driver.parse().map_err(io::Error::other)?)?;
        let number = number.parse().map_err(io::Error::other)?;
        let config = config(max_hosts.parse().map_err(io::Error::other)?, number);
        let drained = number % 2 == 1;
        Scheduler::start(config, port.parse().map_err(io::Error::other)?, snapshot.into(), drained)?.run()
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
    table: Table,
    manners: Arc<Manners>,
    /// The consumer of drained events.
    drain: Option<thread::JoinHandle<()>>,
    snapshots: Snapshots,
    socket: UdpSocket,
    out: Account<Observation>,
    writer: thread::JoinHandle<io::Result<()>>,
}

impl Scheduler {
    fn start(config: Config, port: u16, snapshot: PathBuf, drained: bool) -> io::Result<Scheduler> {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
        system::want_receive_buffer(socket.as_raw_fd(), SOCKET_BUFFER);
        let (out, writer) = Account::open()?;
        out.tell(Observation::Port(socket.local_addr()?.port()));

        let (table, manners) = (Table::default(), Arc::new(Manners::default()));
        let consumer = Consumer { table: table.clone(), out: out.clone(), manners: manners.clone(), drained };
        let (wheel, drain) = if drained {
            let (wheel, events) = HostWheel::drained(config).map_err(io::Error::other)?;
            let wheel = Arc::new(wheel);
            let drain = consumer::drain(consumer, wheel.clone(), events)?;
            (wheel, Some(drain))
        } else {
            (Arc::new(HostWheel::start(config, consumer).map_err(io::Error::other)?), None)
        };
        let snapshots = Snapshots::start(wheel.clone(), snapshot.clone(), SNAPSHOT_EVERY)?;
        let scheduler = Scheduler { wheel, table, manners, drain, snapshots, socket, out, writer };
        if snapshot.exists() {
            scheduler.restore(&snapshot)?;
        }
        let clock = scheduler.wheel.stats().clock as u64;
        let serving = Serving { at_ns: system::monotonic_ns(), drained: drained.into(), clock };
        scheduler.out.tell(Observation::Serving(serving));
        Ok(scheduler)
    }

    /// Goes on with the hosts of a snapshot.
    fn restore(&self, path: &PathBuf) -> io::Result<()> {
        // Held until the table knows them all, so that no leave comes before.
        let mut table = lock(&self.table);
        let (at_ns, at_wheel) = (system::monotonic_ns(), self.wheel_ns());
        self.wheel.restore(path).map_err(io::Error::other)?;
        self.wheel.each(|host| {
            if let Some(number) = host_number(host.id) {
                let incarnation = host.user_data as u32;
                table.insert(number, Metadata { handle: host.handle, incarnation });
                let interval_ms = host.interval.map_or(0, |interval| interval.as_millis() as u64);
                let heard = Heard { at_ns, at_wheel, host: number.into(), interval_ms, ..Heard::default() };
                self.tell_heard(heard, incarnation, host.handle, told::RESTORED, Observation::Restored);
            }
            ControlFlow::Continue(())
        });
        Ok(())
    }

    fn wheel_ns(&self) -> u64 {
        self.wheel.now().as_nanos() as u64
    }

    /// Completes an announce by what the wheel holds of the host now. Nobody else announces, so that is this announce's doing.
    fn tell_heard(
        &self,
        heard: Heard,
        incarnation: u32,
        handle: Handle,
        outcome: u64,
        kind: impl Fn(Heard) -> Observation,
    ) {
        let status = self.wheel.inspect(handle).ok();
        self.out.tell(kind(Heard {
            incarnation: incarnation.into(),
            handle: handle.as_raw(),
            outcome,
            last_seen_wheel: status.as_ref().map_or(0, |status| status.last_seen.as_nanos() as u64),
            leaves_at_wheel: status.as_ref().map_or(0, |status| status.leaves_at.as_nanos() as u64),
            ..heard
        }));
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
                self.sample()?;
            }
            match poll.poll(&mut events, Some(Duration::from_nanos(next_sample.saturating_sub(now)))) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                if event.token() == SOCKET {
                    self.receive()?;
                    continue;
                }
                // The driver may have gone, and with it the reason for this process.
                let Some(lines) = commands.read()? else { return Ok(()) };
                for line in lines {
                    if line == FINISH {
                        return self.finish();
                    }
                    self.manners.obey(&line).map_err(io::Error::other)?;
                }
            }
        }
    }

    /// Reads all datagrams that wait: readiness is reported once, so nothing may be left.
    fn receive(&mut self) -> io::Result<()> {
        while let Some((packet, from)) = wire::receive(&self.socket)? {
            match packet {
                Some(packet) if packet.kind == Kind::Announce => self.announced(&packet),
                Some(packet) if packet.kind == Kind::Leave => self.left(&packet, from),
                _ => self.out.tell(Observation::Broken("a datagram that no host sent".to_owned())),
            }
        }
        Ok(())
    }

    fn announced(&mut self, packet: &Packet) {
        // Held across both, so that a leave finds the table before this announce or after it, never between.
        let mut table = lock(&self.table);
        if table.get(&packet.host).is_some_and(|known| known.incarnation > packet.incarnation) {
            return;
        }
        let (at_ns, at_wheel) = (system::monotonic_ns(), self.wheel_ns());
        let interval = Duration::from_millis(packet.interval_ms.into());
        // The user data of a host come back with it after a restart.
        let incarnation = packet.incarnation;
        match self.wheel.announce_with(host_id(packet.host), interval, Duration::ZERO, incarnation.into()) {
            Ok(announced) => {
                table.insert(packet.host, Metadata { handle: announced.handle, incarnation });
                let interval_ms = announced.interval.as_millis() as u64;
                let (host, sequence) = (packet.host.into(), packet.sequence.into());
                let heard = Heard { at_ns, at_wheel, host, sequence, interval_ms, ..Heard::default() };
                let outcome = match announced.outcome {
                    Outcome::Registered => told::REGISTERED,
                    Outcome::Renewed => told::RENEWED,
                    Outcome::Recovered => told::RECOVERED,
                };
                self.tell_heard(heard, incarnation, announced.handle, outcome, Observation::Heard);
            }
            Err(AnnounceError::Full) => {
                let stats = self.wheel.stats();
                let (live, outstanding, records) = (stats.live, stats.outstanding, stats.records);
                self.out.tell(Observation::Full(Full { at_ns, live, outstanding, records }));
            }
            Err(error) => self.out.tell(Observation::Broken(format!("announce: {error}"))),
        }
    }

    /// A polite leave. It comes again until it is acknowledged, and a late copy must not remove a later life.
    fn left(&mut self, packet: &Packet, from: SocketAddr) {
        let mut table = lock(&self.table);
        let current = table.get(&packet.host).filter(|known| known.incarnation == packet.incarnation);
        if let Some(handle) = current.map(|known| known.handle) {
            // An error means that the wheel was quicker: it has decided to tell of a leave, which then removes the host.
            if self.wheel.leave_handle(handle).is_ok() {
                table.remove(&packet.host);
                let at_ns = system::monotonic_ns();
                let left = Left { at_ns, host: packet.host.into(), handle: handle.as_raw() };
                self.out.tell(Observation::Left(left));
            }
        }
        let answer = Packet { kind: Kind::LeaveAck, ..*packet };
        // If it gets lost, the host repeats its leave.
        let _ = self.socket.send_to(&answer.encode(), from);
    }

    fn sample(&self) -> io::Result<()> {
        let footprint = Footprint::now()?;
        let before_ns = system::monotonic_ns();
        let at_wheel = self.wheel_ns();
        let after_ns = system::monotonic_ns();
        let stats = self.wheel.stats();
        self.out.tell(Observation::Sample(Sample {
            before_ns,
            after_ns,
            at_wheel,
            live: stats.live,
            suspect: stats.suspect,
            outstanding: stats.outstanding,
            waiting: stats.waiting,
            registered: stats.registered,
            leaves: stats.leaves_ttl + stats.leaves_host_ttl + stats.leaves_backstop,
            retries: stats.retries,
            panics: stats.panics,
            rescues: stats.rescues,
            superseded: stats.superseded,
            silences: stats.silences,
            silence_ms: stats.silence.as_millis() as u64,
            brake_ms: stats.brake.as_millis() as u64,
            away_ms: stats.away.as_millis() as u64,
            lateness_max_us: stats.lateness_max.as_micros() as u64,
            resident_kib: footprint.rss_kib,
            descriptors: footprint.descriptors,
            threads: footprint.threads,
        }));
        Ok(())
    }

    /// Closes the wheel, which must not make anybody leave, and tells what is left.
    fn finish(self) -> io::Result<()> {
        self.sample()?;
        let at_ns = system::monotonic_ns();
        for host in lock(&self.table).keys() {
            self.out.tell(Observation::Kept { host: *host });
        }
        self.wheel.each(|host| {
            match host_number(host.id) {
                Some(host) => self.out.tell(Observation::Known { host }),
                None => self.out.tell(Observation::Broken("a host of an unknown id".to_owned())),
            }
            ControlFlow::Continue(())
        });
        self.snapshots.end()?;
        self.wheel.close(Duration::from_secs(5)).map_err(io::Error::other)?;
        self.manners.end();
        if let Some(drain) = self.drain {
            drain.join().map_err(|_| io::Error::other("the consumer panicked"))?;
        }
        // After a close nothing is told any more, so nothing can follow the end.
        self.out.tell(Observation::End { at_ns });
        self.out.close();
        self.writer.join().map_err(|_| io::Error::other("the writer panicked"))?
    }
}
