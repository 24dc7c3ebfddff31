//! The network: a relay in the driver through which all datagrams go, and which loses, delays, doubles and cuts them off.
//!
//! It keeps a ledger of what reached the scheduler's socket and when, which is what a leave is judged by.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::common::system;
use crate::common::wire::{Kind, LENGTH, Packet};

/// The longest sleep of the relay, so that it learns of its end.
const NAP_NS: u64 = 50_000_000;

/// Room for what comes while the relay gets no processor.
const SOCKET_BUFFER: i32 = 8 << 20;

/// What happens to datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    pub loss_percent: u32,
    /// Each is held for up to that long, so that they overtake each other.
    pub delay_ms: u64,
    pub twice_percent: u32,
    /// The share of hosts from and to which nothing comes through.
    pub cut_percent: u32,
    /// Chooses who is cut off.
    pub salt: u64,
}

impl Weather {
    /// Whether the host is on the other side of the cut.
    pub fn cuts_off(&self, host: u32) -> bool {
        // Of a generator seeded with both, so that neighbours have nothing in common.
        self.cut_percent > 0
            && StdRng::seed_from_u64(self.salt ^ u64::from(host)).random_range(0..100) < self.cut_percent
    }
}

/// An announce that reached the scheduler's socket, or would have if nothing had happened to it.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    /// When it was in the socket, or was dropped.
    pub at_ns: u64,
    pub host: u32,
    pub incarnation: u32,
    pub sequence: u32,
    pub dropped: bool,
}

#[derive(Default)]
struct Shared {
    weather: Mutex<Weather>,
    ledger: Mutex<Vec<Passage>>,
    end: AtomicBool,
}

/// The relay, running.
pub struct Relay {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<()>>,
    /// Where hosts send to.
    pub address: SocketAddr,
}

impl Relay {
    /// Starts it. What it does to which datagram is drawn from `seed`.
    pub fn start(scheduler: SocketAddr, seed: u64) -> io::Result<Relay> {
        let front = UdpSocket::bind(("127.0.0.1", 0))?;
        let back = UdpSocket::bind(("127.0.0.1", 0))?;
        for socket in [&front, &back] {
            socket.set_nonblocking(true)?;
            system::want_receive_buffer(socket.as_raw_fd(), SOCKET_BUFFER);
        }
        let address = front.local_addr()?;
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            shared: shared.clone(),
            front,
            back,
            scheduler,
            rng: StdRng::seed_from_u64(seed),
            hosts: HashMap::new(),
            held: BinaryHeap::new(),
            count: 0,
        };
        let thread = thread::Builder::new().name("relay".into()).spawn(move || worker.run())?;
        Ok(Relay { shared, thread, address })
    }

    /// From now on.
    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// Ends it; all that passed, in that order.
    pub fn end(self) -> io::Result<Vec<Passage>> {
        // Relaxed: it says no more than what it is.
        self.shared.end.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the relay panicked"))??;
        Ok(std::mem::take(&mut self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A datagram under way: bytes, and to whom.
type Held = ([u8; LENGTH], SocketAddr);

struct Worker {
    shared: Arc<Shared>,
    front: UdpSocket,
    back: UdpSocket,
    scheduler: SocketAddr,
    rng: StdRng,
    /// Where the last datagram of a host came from, for the answers.
    hosts: HashMap<(u32, u32), SocketAddr>,
    /// By the time at which they go on, and in the order in which they came.
    held: BinaryHeap<Reverse<(u64, u64, Held)>>,
    count: u64,
}

impl Worker {
    fn run(mut self) -> io::Result<()> {
        // Relaxed: see `end`.
        while !self.shared.end.load(Ordering::Relaxed) {
            let now = system::monotonic_ns();
            let next = self.held.peek().map_or(now + NAP_NS, |Reverse((due, ..))| *due);
            let wait = next.saturating_sub(now).min(NAP_NS);
            system::wait_readable([self.front.as_raw_fd(), self.back.as_raw_fd()], wait);
            while let Some((bytes, from)) = receive(&self.front)? {
                self.pass(bytes, Some(from))?;
            }
            while let Some((bytes, _)) = receive(&self.back)? {
                self.pass(bytes, None)?;
            }
            let now = system::monotonic_ns();
            while let Some(Reverse((due, _, held))) = self.held.peek().copied() {
                if due > now {
                    break;
                }
                self.held.pop();
                self.deliver(held);
            }
        }
        Ok(())
    }

    /// Takes a datagram, `from` a host or from the scheduler.
    fn pass(&mut self, bytes: [u8; LENGTH], from: Option<SocketAddr>) -> io::Result<()> {
        let Some(packet) = Packet::decode(&bytes) else { return Ok(()) };
        let weather = *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner);
        let host = (packet.host, packet.incarnation);
        let to = match from {
            Some(from) => {
                self.hosts.insert(host, from);
                self.scheduler
            }
            None => match self.hosts.get(&host) {
                Some(to) => *to,
                None => return Ok(()),
            },
        };
        if weather.cuts_off(packet.host) || self.rng.random_range(0..100) < weather.loss_percent {
            self.note(&packet, true);
            return Ok(());
        }
        let copies = if self.rng.random_range(0..100) < weather.twice_percent { 2 } else { 1 };
        for _ in 0..copies {
            match weather.delay_ms {
                0 => self.deliver((bytes, to)),
                longest => {
                    let delay_ns = self.rng.random_range(0..longest * 1_000_000);
                    self.count += 1;
                    self.held.push(Reverse((system::monotonic_ns() + delay_ns, self.count, (bytes, to))));
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, (bytes, to): Held) {
        let socket = if to == self.scheduler { &self.back } else { &self.front };
        // A scheduler or a host that is not there is not reached, like any.
        let sent = socket.send_to(&bytes, to).is_ok();
        if let Some(packet) = Packet::decode(&bytes) {
            self.note(&packet, !sent);
        }
    }

    fn note(&self, packet: &Packet, dropped: bool) {
        if packet.kind == Kind::Announce {
            // Read after it was sent: it is in the socket by then.
            let at_ns = system::monotonic_ns();
            let Packet { host, incarnation, sequence, .. } = *packet;
            let passage = Passage { at_ns, host, incarnation, sequence, dropped };
            self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner).push(passage);
        }
    }
}

/// The next datagram of the right length.
fn receive(socket: &UdpSocket) -> io::Result<Option<([u8; LENGTH], SocketAddr)>> {
    let mut bytes = [0; LENGTH];
    loop {
        match socket.recv_from(&mut bytes) {
            Ok((LENGTH, from)) => return Ok(Some((bytes, from))),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // What was sent to somebody who has gone comes back as the next call's error.
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused) => {}
            Err(e) => return Err(e),
        }
    }
}
