//! The snapshot file by its specification, `docs/snapshot.md`, and nothing of the library's: what a reader must find in
//! bytes, and how to write them. Slow and plain.

use crate::crc32c::crc32c;

const MAGIC: &[u8; 8] = b"\x89HWS\r\n\x1a\n";
const LONGEST_FRAME: usize = 65_536;
/// A record less its id, in version 1 and in version 2.
const RECORD: [usize; 2] = [24, 32];
const TRAILER: usize = 28;

/// Why a reader must refuse a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotASnapshot,
    Torn,
    Damaged { at: usize },
    Newer(u32),
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: Vec<u8>,
    pub flags: u16,
    pub interval_ms: u32,
    pub age_ms: u64,
    pub user_data: u64,
    /// These two are 0 in version 1.
    pub older_ms: u32,
    pub misses: u8,
}

impl Record {
    pub fn write(&self, version: u32, to: &mut Vec<u8>) {
        to.extend((self.id.len() as u16).to_le_bytes());
        to.extend(self.flags.to_le_bytes());
        to.extend(self.interval_ms.to_le_bytes());
        to.extend(self.age_ms.to_le_bytes());
        to.extend(self.user_data.to_le_bytes());
        if version != 1 {
            to.extend(self.older_ms.to_le_bytes());
            to.extend([self.misses, 0, 0, 0]);
        }
        to.extend(&self.id);
    }

    /// The first record of a payload and its length, if it is whole and valid.
    fn read(version: u32, payload: &[u8]) -> Option<(Record, usize)> {
        let fixed = RECORD[usize::from(version != 1)];
        if payload.len() < fixed {
            return None;
        }
        let end = fixed + usize::from(u16::from_le_bytes(at(payload, 0)));
        if !(fixed + 1..=fixed + 1024).contains(&end) || payload.len() < end {
            return None;
        }
        let record = Record {
            id: payload[fixed..end].to_vec(),
            flags: u16::from_le_bytes(at(payload, 2)),
            interval_ms: u32::from_le_bytes(at(payload, 4)),
            age_ms: u64::from_le_bytes(at(payload, 8)),
            user_data: u64::from_le_bytes(at(payload, 16)),
            older_ms: if version == 1 { 0 } else { u32::from_le_bytes(at(payload, 24)) },
            misses: if version == 1 { 0 } else { payload[28] },
        };
        Some((record, end))
    }
}

fn at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

/// All records of a file, in order.
pub fn read(file: &[u8]) -> Result<Vec<Record>, Refusal> {
    let begin = &file[..file.len().min(8)];
    if begin != &MAGIC[..begin.len()] {
        return Err(Refusal::NotASnapshot);
    }
    let whole = |to: usize| if file.len() < to { Err(Refusal::Torn) } else { Ok(()) };
    whole(16)?;
    let length = u32::from_le_bytes(at(file, 12)) as usize;
    if !(64..=4096).contains(&length) {
        return Err(Refusal::Damaged { at: 12 });
    }
    whole(length)?;
    let version = u32::from_le_bytes(at(file, 8));
    if file[length - 4..length] != crc32c(&file[..length - 4]) || version == 0 {
        return Err(Refusal::Damaged { at: 8 });
    }
    if version > 2 {
        return Err(Refusal::Newer(version));
    }
    let (mut start, mut records) = (length, Vec::new());
    let (mut checksums, mut frames) = (file[length - 4..length].to_vec(), 0u64);
    loop {
        whole(start + 4)?;
        let length = u32::from_le_bytes(at(file, start)) as usize;
        if length == 0 {
            break;
        }
        if length > LONGEST_FRAME {
            return Err(Refusal::Damaged { at: start });
        }
        let sum = start + 4 + length;
        whole(sum + 4)?;
        if file[sum..sum + 4] != crc32c(&file[start..sum]) {
            return Err(Refusal::Damaged { at: start });
        }
        let mut payload = &file[start + 4..sum];
        while !payload.is_empty() {
            let (record, length) = Record::read(version, payload).ok_or(Refusal::Damaged { at: start })?;
            records.push(record);
            payload = &payload[length..];
        }
        checksums.extend(&file[sum..sum + 4]);
        frames += 1;
        start = sum + 4;
    }
    whole(start + TRAILER)?;
    let trailer = &file[start..start + TRAILER];
    if trailer != make_trailer(records.len() as u64, frames, &checksums) {
        return Err(Refusal::Damaged { at: start });
    }
    if file.len() > start + TRAILER {
        return Err(Refusal::Damaged { at: start + TRAILER });
    }
    Ok(records)
}

fn make_trailer(hosts: u64, frames: u64, checksums: &[u8]) -> Vec<u8> {
    let mut trailer = vec![0; 4];
    trailer.extend(hosts.to_le_bytes());
    trailer.extend(frames.to_le_bytes());
    trailer.extend(crc32c(checksums));
    trailer.extend(crc32c(&trailer));
    trailer
}

/// A header of a length and a version, without its checksum, which [`Repair`] fills in.
pub fn header(version: u32, length: usize, clocks: [u64; 2]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend(clocks[0].to_le_bytes());
    bytes.extend(clocks[1].to_le_bytes());
    bytes.resize(length.max(bytes.len()), 0);
    bytes
}

/// A frame without its checksum.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_le_bytes()[..], payload, &[0; 4]].concat()
}

/// Which checksums are made right in bytes that nearly are a file. Chance would not find them.
#[derive(Clone, Copy, Debug)]
pub struct Repair {
    pub header: bool,
    pub frames: bool,
    pub trailer: bool,
}

impl Repair {
    /// Goes through the file as far as its lengths make sense.
    pub fn apply(self, file: &mut [u8]) {
        let Some(length) = file.get(12..16).map(|_| u32::from_le_bytes(at(file, 12)) as usize) else { return };
        if !(64..=4096).contains(&length) || file.len() < length {
            return;
        }
        let version = u32::from_le_bytes(at(file, 8));
        if self.header {
            let checksum = crc32c(&file[..length - 4]);
            file[length - 4..length].copy_from_slice(&checksum);
        }
        let (mut start, mut hosts, mut frames) = (length, 0, 0);
        let mut checksums = file[length - 4..length].to_vec();
        while file.len() >= start + 4 {
            let sum = start + 4 + u32::from_le_bytes(at(file, start)) as usize;
            if sum == start + 4 {
                if self.trailer && file.len() >= start + TRAILER {
                    file[start..start + TRAILER].copy_from_slice(&make_trailer(hosts, frames, &checksums));
                }
                return;
            }
            if file.len() < sum + 4 {
                return;
            }
            if self.frames {
                let checksum = crc32c(&file[start..sum]);
                file[sum..sum + 4].copy_from_slice(&checksum);
            }
            let mut payload = &file[start + 4..sum];
            while let Some((_, length)) = Record::read(version, payload) {
                hosts += 1;
                payload = &payload[length..];
            }
            checksums.extend(&file[sum..sum + 4]);
            frames += 1;
            start = sum + 4;
        }
    }
}
