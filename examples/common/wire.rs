//! The datagrams between hosts and scheduler: 32 bytes, big-endian.

use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;

const MAGIC: [u8; 4] = *b"hwf1";

/// The length of a datagram.
pub const LENGTH: usize = 32;

/// What a datagram is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The host is alive and comes again after its interval.
    Announce,
    /// The host goes, politely. Repeated until it is acknowledged: the hosts that most need it are on lossy networks.
    Leave,
    /// The scheduler has understood the leave.
    LeaveAck,
}

/// One datagram.
#[derive(Clone, Copy)]
pub struct Packet {
    pub kind: Kind,
    pub host: u32,
    /// Counts the starts of the host, so that a late datagram of an earlier life is recognised.
    pub incarnation: u32,
    pub interval_ms: u32,
    /// Counts the datagrams of an incarnation from 1; a gap is a datagram lost on the way.
    pub sequence: u32,
    /// When it was sent, by the machine-wide monotonic clock: on loopback also when it reached the scheduler's socket.
    pub sent_ns: u64,
}

impl Packet {
    /// The bytes to send.
    pub fn encode(&self) -> [u8; LENGTH] {
        let kind: u32 = match self.kind {
            Kind::Announce => 1,
            Kind::Leave => 2,
            Kind::LeaveAck => 3,
        };
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&MAGIC);
        let words = [kind, self.host, self.incarnation, self.interval_ms, self.sequence];
        for (place, word) in bytes[4..24].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes[24..].copy_from_slice(&self.sent_ns.to_be_bytes());
        bytes
    }

    /// The datagram in `bytes`; `None` for anything that is not one of ours.
    pub fn decode(bytes: &[u8]) -> Option<Packet> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        if bytes[..4] != MAGIC {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let kind = match word(4) {
            1 => Kind::Announce,
            2 => Kind::Leave,
            3 => Kind::LeaveAck,
            _ => return None,
        };
        let sent_ns = u64::from(word(24)) << 32 | u64::from(word(28));
        Some(Packet { kind, host: word(8), incarnation: word(12), interval_ms: word(16), sequence: word(20), sent_ns })
    }
}

/// The next datagram that waits in a scheduler's socket, and from whom; its content is `None` if it is not one of ours.
pub fn receive(socket: &UdpSocket) -> io::Result<Option<(Option<Packet>, SocketAddr)>> {
    let mut bytes = [0; LENGTH + 1];
    loop {
        match socket.recv_from(&mut bytes) {
            Ok((length, from)) => return Ok(Some((Packet::decode(&bytes[..length]), from))),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // A host that was killed leaves its acknowledgement undeliverable; that is the next call's error.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(e) => return Err(e),
        }
    }
}
