//! A host: announces itself over UDP, each time with its interval, until it is killed or told to go.
//!
//! It is kept light, since a thousand of them run: one thread, two descriptors, one `poll`. Its standard input is the
//! driver's line to it; when that closes, the host ends.

use std::fs::File;
use std::io::{self, Read};
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;

use super::system;
use super::wire::{Kind, LENGTH, Packet};

/// The first argument of a process that is a host.
pub const ROLE: &str = "host-process";

/// What the driver writes to make a host leave politely.
pub const LEAVE: &str = "leave";

/// What the driver writes, with a number of milliseconds behind it, to change a host's interval.
pub const INTERVAL: &str = "interval ";

/// How long a host waits for the acknowledgement of its leave before it repeats it. Long enough that a stopped
/// scheduler does not find its socket full of leaves.
const LEAVE_REPEAT_NS: u64 = 250_000_000;

/// How often it repeats it: longer than the scheduler is ever stopped.
const LEAVE_REPEATS: u32 = 100;

struct Host {
    socket: UdpSocket,
    number: u32,
    incarnation: u32,
    interval_ms: u32,
    sequence: u32,
    /// Leaves still to be sent; `None` while the host stays.
    leaves_left: Option<u32>,
}

/// Runs a host. Arguments: process id of the driver, address of the scheduler, number, incarnation, interval in ms.
pub fn main(args: &[String]) -> ExitCode {
    system::leave_the_end_to_the_driver();
    let [driver, scheduler, number, incarnation, interval_ms] = args else {
        eprintln!("{ROLE} is started by the fleet example itself");
        return ExitCode::from(2);
    };
    let parse = |text: &String| text.parse::<u32>().map_err(io::Error::other);
    let run = || -> io::Result<()> {
        system::die_with_parent(parse(driver)?)?;
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.connect(scheduler.as_str())?;
        socket.set_nonblocking(true)?;
        Host {
            socket,
            number: parse(number)?,
            incarnation: parse(incarnation)?,
            interval_ms: parse(interval_ms)?,
            sequence: 0,
            leaves_left: None,
        }
        .run()
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("host {number}: {e}");
            ExitCode::FAILURE
        }
    }
}

impl Host {
    fn run(mut self) -> io::Result<()> {
        // Unbuffered: a buffer would hide from `poll` what it has read ahead.
        let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut next = system::monotonic_ns();
        loop {
            let now = system::monotonic_ns();
            if now >= next {
                if self.leaves_left == Some(0) {
                    return Ok(());
                }
                next = self.send(next);
            }
            let timeout = next.saturating_sub(now);
            let [command, answer] = system::wait_readable([stdin.as_raw_fd(), self.socket.as_raw_fd()], timeout);
            if command {
                let mut text = [0; 256];
                let length = stdin.read(&mut text)?;
                if length == 0 {
                    return Ok(());
                }
                for line in String::from_utf8_lossy(&text[..length]).lines() {
                    self.obey(line, &mut next);
                }
            }
            if answer && self.is_acknowledged() {
                return Ok(());
            }
        }
    }

    fn obey(&mut self, command: &str, next: &mut u64) {
        if command == LEAVE {
            self.leaves_left = Some(LEAVE_REPEATS);
            *next = 0;
        } else if let Some(Ok(interval_ms)) = command.strip_prefix(INTERVAL).map(str::parse) {
            // The next announce comes when it would have come, and carries the new interval.
            self.interval_ms = interval_ms;
        }
    }

    /// Sends one datagram, due at `due`, and returns when the next one is due.
    fn send(&mut self, due: u64) -> u64 {
        self.sequence += 1;
        let now = system::monotonic_ns();
        let kind = if self.leaves_left.is_some() { Kind::Leave } else { Kind::Announce };
        let packet = Packet {
            kind,
            host: self.number,
            incarnation: self.incarnation,
            interval_ms: self.interval_ms,
            sequence: self.sequence,
            sent_ns: now,
        };
        // Like any announcer, a host neither learns nor cares whether a datagram arrived.
        let _ = self.socket.send(&packet.encode());
        if let Some(left) = &mut self.leaves_left {
            *left -= 1;
            return now + LEAVE_REPEAT_NS;
        }
        let interval_ns = u64::from(self.interval_ms) * 1_000_000;
        // A host that was stopped goes on with its rhythm from now; it does not make up for what it missed.
        if due + interval_ns > now { due + interval_ns } else { now + interval_ns }
    }

    fn is_acknowledged(&self) -> bool {
        let mut bytes = [0; LENGTH + 1];
        let Ok(length) = self.socket.recv(&mut bytes) else {
            return false;
        };
        Packet::decode(&bytes[..length]).is_some_and(|p| p.kind == Kind::LeaveAck && p.incarnation == self.incarnation)
    }
}
