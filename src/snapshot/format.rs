//! The bytes of a snapshot file. `docs/snapshot.md` is the specification, this the implementation: header, frames of
//! records, trailer, each with its checksum. One frame is in memory at a time, in both directions.

use std::io::{self, ErrorKind, Read, Write};

use super::crc;
use crate::canary::{Canary, planted};
use crate::error::{LONGEST_ID, RestoreError};

/// The version that is written, and the newest that is read.
pub(super) const VERSION: u32 = 2;

/// Not text, and not what a transfer makes of it that takes it for text (as PNG does it).
const MAGIC: [u8; 8] = *b"\x89HWS\r\n\x1a\n";

const HEADER_LEN: usize = 64;
/// A header that claims to be longer is damaged.
const LONGEST_HEADER: usize = 4096;
/// A record less its id, and in version 1.
const RECORD_LEN: usize = 32;
const RECORD_LEN_1: usize = 24;
/// The longest payload of a frame.
pub(super) const FRAME_LEN: usize = 64 << 10;
/// The trailer less the frame length of 0 that announces it.
const TRAILER_LEN: usize = 24;

/// The flag of a record whose host was a suspect.
const SUSPECT: u16 = 1;

/// When the file was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// `CLOCK_REALTIME`, since 1970.
    pub(super) wall_ns: u64,
    /// `CLOCK_BOOTTIME`: comparable on the same boot only.
    pub(super) boot_ns: u64,
    /// Names the boot; zero if it is not known.
    pub(super) boot_id: [u8; 16],
}

impl Header {
    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(HEADER_LEN as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.wall_ns.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.boot_ns.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.boot_id);
        let checksum = crc::extend(0, &bytes[..HEADER_LEN - 4]);
        bytes[HEADER_LEN - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// One host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) id: &'a [u8],
    /// 0 is none.
    pub(super) interval_ms: u32,
    pub(super) age_ms: u64,
    pub(super) user_data: u64,
    pub(super) suspect: bool,
    /// By how much longer ago the host was heard than its age says, because of earlier restarts.
    pub(super) older_ms: u32,
    /// Announces that it missed in a row.
    pub(super) misses: u8,
}

impl<'a> Record<'a> {
    fn encode(&self, to: &mut Vec<u8>) {
        // Ids have 1 to 1024 bytes.
        to.extend_from_slice(&(self.id.len() as u16).to_le_bytes());
        to.extend_from_slice(&(if self.suspect { SUSPECT } else { 0 }).to_le_bytes());
        to.extend_from_slice(&self.interval_ms.to_le_bytes());
        to.extend_from_slice(&self.age_ms.to_le_bytes());
        to.extend_from_slice(&self.user_data.to_le_bytes());
        to.extend_from_slice(&self.older_ms.to_le_bytes());
        to.extend_from_slice(&[self.misses, 0, 0, 0]);
        to.extend_from_slice(self.id);
    }

    /// Takes the first record off `payload`; `None` if it is not a whole, valid one.
    fn decode(payload: &mut &'a [u8], version: u32) -> Option<Record<'a>> {
        let length = if version == 1 { RECORD_LEN_1 } else { RECORD_LEN };
        let (fixed, rest) = payload.split_at_checked(length)?;
        let id_len = usize::from(u16::from_le_bytes(array(fixed, 0)));
        if !(1..=LONGEST_ID).contains(&id_len) && !planted(Canary::LongId) {
            return None;
        }
        let (id, rest) = rest.split_at_checked(id_len)?;
        *payload = rest;
        // Format 1 ends before them.
        let (older_ms, misses) = match fixed.get(24..) {
            Some(more @ [_, ..]) => (u32::from_le_bytes(array(more, 0)), more[4]),
            _ => (0, 0),
        };
        Some(Record {
            id,
            // Flags that this version does not know are passed over.
            suspect: u16::from_le_bytes(array(fixed, 2)) & SUSPECT != 0,
            interval_ms: u32::from_le_bytes(array(fixed, 4)),
            age_ms: u64::from_le_bytes(array(fixed, 8)),
            user_data: u64::from_le_bytes(array(fixed, 16)),
            older_ms,
            misses,
        })
    }
}

/// The `N` bytes at `at`, which the caller knows to be there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has this length")
}

/// Writes a snapshot: create, records, finish.
pub(super) struct Writer<W> {
    output: W,
    payload: Vec<u8>,
    /// The checksum over all checksums so far.
    chain: u32,
    hosts: u64,
    frames: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub(super) fn create(mut output: W, header: &Header) -> io::Result<Writer<W>> {
        let bytes = header.encode();
        output.write_all(&bytes)?;
        let chain = crc::extend(0, &bytes[HEADER_LEN - 4..]);
        Ok(Writer { output, payload: Vec::with_capacity(FRAME_LEN), chain, hosts: 0, frames: 0 })
    }

    /// Adds a host.
    pub(super) fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        if self.payload.len() + RECORD_LEN + record.id.len() > FRAME_LEN {
            self.end_frame()?;
        }
        record.encode(&mut self.payload);
        self.hosts += 1;
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        let length = (self.payload.len() as u32).to_le_bytes();
        let checksum = crc::extend(crc::extend(0, &length), &self.payload).to_le_bytes();
        self.output.write_all(&length)?;
        self.output.write_all(&self.payload)?;
        self.output.write_all(&checksum)?;
        self.chain = crc::extend(self.chain, &checksum);
        self.frames += 1;
        self.payload.clear();
        Ok(())
    }

    /// Writes what is left and the trailer, without which the file is torn. Returns the number of hosts.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        if !self.payload.is_empty() {
            self.end_frame()?;
        }
        let mut trailer = [0; 4 + TRAILER_LEN];
        trailer[4..12].copy_from_slice(&self.hosts.to_le_bytes());
        trailer[12..20].copy_from_slice(&self.frames.to_le_bytes());
        trailer[20..24].copy_from_slice(&self.chain.to_le_bytes());
        let checksum = crc::extend(0, &trailer[..24]);
        trailer[24..].copy_from_slice(&checksum.to_le_bytes());
        self.output.write_all(&trailer)?;
        self.output.flush()?;
        Ok(self.hosts)
    }
}

/// Reads a snapshot and believes nothing: whatever [`next`](Self::next) hands out has passed its checksum and was found
/// to be well-formed.
pub(super) struct Reader<R> {
    input: R,
    version: u32,
    /// Of the next byte to read, in the file.
    offset: u64,
    payload: Vec<u8>,
    chain: u32,
    hosts: u64,
    frames: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub(super) fn open(mut input: R) -> Result<(Header, Reader<R>), RestoreError> {
        let mut bytes = vec![0; 16];
        check_magic(&mut input, &mut bytes[..8])?;
        read(&mut input, &mut bytes[8..])?;
        // The first 16 bytes, and the checksum at the header's end, mean the same in all versions. So damage is told from
        // a version to come.
        let version = u32::from_le_bytes(array(&bytes, 8));
        let length = u32::from_le_bytes(array(&bytes, 12)) as usize;
        if !(HEADER_LEN..=LONGEST_HEADER).contains(&length) {
            return Err(RestoreError::Corrupt { offset: 12 });
        }
        bytes.resize(length, 0);
        read(&mut input, &mut bytes[16..])?;
        let checksum = &bytes[length - 4..];
        if checksum != crc::extend(0, &bytes[..length - 4]).to_le_bytes() {
            return Err(RestoreError::Corrupt { offset: 8 });
        }
        match version {
            0 => return Err(RestoreError::Corrupt { offset: 8 }),
            1..=VERSION => {}
            found => return Err(RestoreError::NewerVersion { found, known: VERSION }),
        }
        let header = Header {
            wall_ns: u64::from_le_bytes(array(&bytes, 16)),
            boot_ns: u64::from_le_bytes(array(&bytes, 24)),
            boot_id: array(&bytes, 32),
        };
        let (offset, chain) = (length as u64, crc::extend(0, checksum));
        Ok((
            header,
            Reader { input, version, offset, payload: Vec::with_capacity(FRAME_LEN), chain, hosts: 0, frames: 0 },
        ))
    }

    /// The records of the next frame; `None` at the end of a file that is whole.
    pub(super) fn next(&mut self) -> Result<Option<Records<'_>>, RestoreError> {
        let start = self.offset;
        let corrupt = Err(RestoreError::Corrupt { offset: start });
        let length_bytes: [u8; 4] = self.take()?;
        let length = u32::from_le_bytes(length_bytes) as usize;
        if length == 0 {
            return self.end(start).map(|()| None);
        }
        if length > FRAME_LEN && !planted(Canary::LongFrame) {
            return corrupt;
        }
        self.payload.resize(length, 0);
        read(&mut self.input, &mut self.payload)?;
        self.offset += length as u64;
        let checksum: [u8; 4] = self.take()?;
        if checksum != crc::extend(crc::extend(0, &length_bytes), &self.payload).to_le_bytes() {
            return corrupt;
        }
        // Every record, before the first is handed out.
        let mut rest = &self.payload[..];
        while !rest.is_empty() {
            if Record::decode(&mut rest, self.version).is_none() {
                return corrupt;
            }
            self.hosts += 1;
        }
        self.chain = crc::extend(self.chain, &checksum);
        self.frames += 1;
        Ok(Some(Records { payload: &self.payload, version: self.version }))
    }

    /// The rest of the trailer that begins at `start`, and nothing after it.
    fn end(&mut self, start: u64) -> Result<(), RestoreError> {
        let trailer: [u8; TRAILER_LEN] = self.take()?;
        let checksum = crc::extend(crc::extend(0, &[0; 4]), &trailer[..20]);
        let whole = trailer[20..] == checksum.to_le_bytes()
            && trailer[..8] == self.hosts.to_le_bytes()
            && trailer[8..16] == self.frames.to_le_bytes()
            && trailer[16..20] == self.chain.to_le_bytes();
        if !whole {
            return Err(RestoreError::Corrupt { offset: start });
        }
        match self.take::<1>() {
            Err(RestoreError::Torn) => Ok(()),
            Err(e) => Err(e),
            Ok(_) => Err(RestoreError::Corrupt { offset: self.offset - 1 }),
        }
    }

    /// What the file is: two whole files that differ have, but for one chance in four billions, different ones.
    pub(super) fn fingerprint(&self) -> (u32, u64, u64) {
        (self.chain, self.hosts, self.frames)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let mut bytes = [0; N];
        read(&mut self.input, &mut bytes)?;
        self.offset += N as u64;
        Ok(bytes)
    }
}

/// The records of one frame.
pub(super) struct Records<'a> {
    payload: &'a [u8],
    version: u32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        Record::decode(&mut self.payload, self.version)
    }
}

/// Fills `bytes`. A file that ends before is torn.
fn read(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), RestoreError> {
    input.read_exact(bytes).map_err(|e| match e.kind() {
        ErrorKind::UnexpectedEof => RestoreError::Torn,
        _ => RestoreError::Io(e),
    })
}

/// Reads the magic. A file that ends within it is torn, if it began like one of ours (an empty one did).
fn check_magic(input: &mut impl Read, magic: &mut [u8]) -> Result<(), RestoreError> {
    for (byte, expected) in magic.iter_mut().zip(MAGIC) {
        read(input, std::slice::from_mut(byte))?;
        if *byte != expected {
            return Err(RestoreError::NotASnapshot);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { wall_ns: 1, boot_ns: 2, boot_id: [3; 16] };

    fn record(id: &[u8]) -> Record<'_> {
        Record { id, interval_ms: 1000, age_ms: 7, user_data: 9, suspect: true, older_ms: 11, misses: 2 }
    }

    fn file(ids: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::create(&mut bytes, &HEADER).unwrap();
        for id in ids {
            writer.write(&record(id)).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), ids.len() as u64);
        bytes
    }

    fn ids(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, u64), RestoreError> {
        let (header, mut reader) = Reader::open(bytes)?;
        assert_eq!(header, HEADER);
        let mut ids = Vec::new();
        while let Some(records) = reader.next()? {
            for found in records {
                assert_eq!(found, record(found.id));
                ids.push(found.id.to_vec());
            }
        }
        Ok((ids, reader.fingerprint().2))
    }

    #[test]
    fn records_come_back_in_order_from_as_many_frames_as_they_need() {
        for (hosts, length, frames) in [(0, 1, 0), (1, 1024, 1), (62, 1024, 1), (63, 1024, 2), (10_000, 8, 7)] {
            let written: Vec<_> = (0..hosts).map(|n: u32| n.to_le_bytes().repeat(256)[..length].to_vec()).collect();
            assert_eq!(ids(&file(&written)).unwrap(), (written, frames));
        }
    }

    #[test]
    fn frames_in_another_order_or_twice_or_missing_are_found_though_each_is_whole() {
        let frame_of = |id: u8| {
            let bytes = file(&[vec![id]]);
            bytes[HEADER_LEN..bytes.len() - 4 - TRAILER_LEN].to_vec()
        };
        let ids_1024: Vec<_> = (0..63u8).map(|n| vec![n; 1024]).collect();
        let whole = file(&ids_1024);
        let first = HEADER_LEN..HEADER_LEN + 8 + 62 * (RECORD_LEN + 1024);
        let second = first.end..first.end + 8 + RECORD_LEN + 1024;
        let (head, tail) = (&whole[..HEADER_LEN], &whole[second.end..]);
        let build = |frames: &[&[u8]]| [head, &frames.concat(), tail].concat();
        let (first, second) = (&whole[first], &whole[second]);
        assert!(ids(&build(&[first, second])).is_ok());
        let foreign = frame_of(1);
        for wrong in [&[second, first][..], &[first], &[first, second, second], &[first, &foreign], &[]] {
            assert!(matches!(ids(&build(wrong)), Err(RestoreError::Corrupt { .. })));
        }
    }

    #[test]
    fn a_record_that_does_not_fit_its_frame_or_has_no_valid_id_is_none() {
        let mut whole = Vec::new();
        record(b"abc").encode(&mut whole);
        for length in 0..whole.len() {
            assert_eq!(Record::decode(&mut &whole[..length], VERSION), None);
        }
        for id_len in [0u16, 1025, u16::MAX] {
            let mut wrong = [&whole[..], &[0; 1024]].concat();
            wrong[..2].copy_from_slice(&id_len.to_le_bytes());
            assert_eq!(Record::decode(&mut &wrong[..], VERSION), None);
        }
    }
}
