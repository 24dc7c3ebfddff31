//! A crowd: one process that announces very many hosts at once, so that the table gets full, until it is killed.

use std::io;
use std::net::UdpSocket;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::common::system;
use crate::common::wire::{Kind, Packet};

/// The first argument of a process that is a crowd.
pub const ROLE: &str = "crowd-process";

/// How often each of them announces itself.
const INTERVAL: Duration = Duration::from_millis(500);

/// Runs a crowd. Arguments: process id of the driver, address of the relay, number of its first host, how many hosts.
pub fn main(args: &[String]) -> ExitCode {
    system::leave_the_end_to_the_driver();
    let [driver, relay, first, hosts] = args else {
        eprintln!("{ROLE} is started by the chaos example itself");
        return ExitCode::from(2);
    };
    let parse = |text: &String| text.parse::<u32>().map_err(io::Error::other);
    let run = || -> io::Result<()> {
        system::die_with_parent(parse(driver)?)?;
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.connect(relay.as_str())?;
        let (first, hosts) = (parse(first)?, parse(hosts)?);
        for sequence in 1.. {
            for host in first..first + hosts {
                let packet = Packet {
                    kind: Kind::Announce,
                    host,
                    incarnation: 1,
                    interval_ms: INTERVAL.as_millis() as u32,
                    sequence,
                    sent_ns: system::monotonic_ns(),
                };
                // Like any announcer, it neither learns nor cares whether a datagram arrived.
                let _ = socket.send(&packet.encode());
            }
            thread::sleep(INTERVAL);
        }
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("crowd: {e}");
            ExitCode::FAILURE
        }
    }
}
