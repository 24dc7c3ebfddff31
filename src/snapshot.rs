//! The warm restart: all hosts into a file, and from a file back into a wheel.
//!
//! The file is specified in `docs/snapshot.md`. Both directions are streams: a walk over the index fills one frame of
//! 64 KiB after the other, a frame at a time is read back, so memory does not depend on the number of hosts.
//!
//! - `format` knows the bytes, and trusts none.
//! - `file` puts a file in its place whole or not at all.
//! - `crc` is the checksum.
//! - This file knows what a host's age means after a restart.
//!
//! **Ages.** From the moment of the snapshot to the restore nobody watched, so that time counts against no host, as in all
//! of observed time. And before it, announces may have got lost in the restart itself. So a host comes back with the age
//! that it had, but at most one interval: it has the rest of its TTL, at least one interval, and its grace. A host that has missed
//! three announces in a row over the last runs ([`Past`](crate::liveness::Past)) comes back as overdue as it was.

mod crc;
mod file;
mod format;
#[cfg(all(test, not(any(loom, shuttle))))]
mod restarts;

use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::canary::{Canary, planted};
use crate::error::{AnnounceError, RestoreError, SnapshotError};
use crate::liveness::{Earlier, Interval, Outcome, SUSPICIOUS, Shared};
use crate::memory;
use crate::sync::lock;
use format::{Header, Reader, Record, Writer};

/// Bytes per system call.
const BUFFER: usize = 256 << 10;

/// What a snapshot or a restore allocates.
const MEMORY: [usize; 3] = [BUFFER, format::FRAME_LEN, 16 << 10];

/// What a restore did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Hosts that are known again, under new handles.
    pub hosts: u64,
    /// Hosts of the file that the wheel knew already: what it knows is newer.
    pub skipped: u64,
    /// How long ago the snapshot was begun: by a clock that nobody sets if the machine was not restarted since, by the wall
    /// clock otherwise. `None` if by that it was written in the future. It counts against no host.
    pub age: Option<Duration>,
}

/// Writes all hosts to `path`. Returns their number.
pub(crate) fn write(shared: &Shared, path: &Path) -> Result<u64, SnapshotError> {
    file::replace(path, |file| {
        memory::ask(MEMORY)?;
        fill(shared, BufWriter::with_capacity(BUFFER, file))
    })
}

fn fill(shared: &Shared, output: impl Write) -> io::Result<u64> {
    save(shared, output, &now())
}

/// Writes all hosts to an output, under a header.
fn save(shared: &Shared, output: impl Write, header: &Header) -> io::Result<u64> {
    let mut writer = Writer::create(output, header)?;
    let mut result = Ok(());
    shared.each(|host| {
        let interval_ms = host.interval.map_or(0, |interval| interval.as_millis());
        let age_ms = u64::try_from(host.age.as_millis()).unwrap_or(u64::MAX);
        let effective_ms = shared.effective_interval(host.interval.unwrap_or_default());
        let earlier = lock(&shared.past).judge(host.handle, age_ms, effective_ms, shared.now());
        result = writer.write(&Record {
            id: host.id,
            // The longest interval, 24 days, has 31 bits.
            interval_ms: u32::try_from(interval_ms).unwrap_or(u32::MAX),
            age_ms,
            user_data: host.user_data,
            suspect: host.suspect,
            older_ms: u32::try_from(earlier.older_ms).unwrap_or(u32::MAX),
            misses: earlier.misses,
        });
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    result?;
    let hosts = writer.finish()?;
    lock(&shared.past).forget(shared.now(), |handle, age_ms| shared.is_older(handle, age_ms));
    Ok(hosts)
}

/// Announces the hosts of the file at `path`, each with the user data that `map` makes of those in the file.
pub(crate) fn read(shared: &Shared, path: &Path, map: impl FnMut(&[u8], u64) -> u64) -> Result<Restored, RestoreError> {
    if shared.clock.is_closed() {
        return Err(RestoreError::Closed);
    }
    // Open throughout: a rename over it does not matter then.
    let mut file = file::open(path)?;
    memory::ask(MEMORY).map_err(RestoreError::Io)?;
    load(shared, &mut file, &now(), map)
}

/// Announces all hosts of a file that is read from its beginning, twice, at the moment that `now` names.
fn load<F: FnMut(&[u8], u64) -> u64>(
    shared: &Shared,
    file: &mut (impl Read + Seek),
    now: &Header,
    map: F,
) -> Result<Restored, RestoreError> {
    let (header, mut checked) = Reader::open(BufReader::with_capacity(BUFFER, &mut *file))?;
    while checked.next()?.is_some() && !planted(Canary::HalfChecked) {}
    let fingerprint = checked.fingerprint();
    file.rewind().map_err(RestoreError::Io)?;
    let (began, age) = (shared.now(), header.age(now));
    let mut restore = Restore { shared, map, hosts: 0, skipped: 0 };
    let done = restore.file(file, fingerprint);
    // Also for those that were restored before a wheel was full.
    lock(&shared.past).restored(began, shared.now(), age);
    done?;
    Ok(Restored { hosts: restore.hosts, skipped: restore.skipped, age })
}

/// The second pass over a file that was found whole.
struct Restore<'a, F> {
    shared: &'a Shared,
    map: F,
    hosts: u64,
    skipped: u64,
}

impl<F: FnMut(&[u8], u64) -> u64> Restore<'_, F> {
    fn file(&mut self, file: &mut impl Read, fingerprint: (u32, u64, u64)) -> Result<(), RestoreError> {
        // Whatever is wrong now was right a moment ago.
        let Ok((_, mut reader)) = Reader::open(BufReader::with_capacity(BUFFER, file)) else {
            return Err(self.changed());
        };
        loop {
            match reader.next() {
                Ok(Some(records)) => {
                    for record in records {
                        self.host(&record)?;
                    }
                }
                Ok(None) => break,
                Err(_) => return Err(self.changed()),
            }
        }
        if reader.fingerprint() == fingerprint { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> RestoreError {
        RestoreError::Changed { restored: self.hosts }
    }

    fn host(&mut self, record: &Record<'_>) -> Result<(), RestoreError> {
        if self.shared.find(record.id).is_ok() {
            self.skipped += 1;
            return Ok(());
        }
        let interval = Duration::from_millis(record.interval_ms.into());
        let age_ms = self.age_of(record, interval);
        let age = Duration::from_millis(age_ms);
        if !lock(&self.shared.past).reserve() {
            return Err(RestoreError::NoMemory { restored: self.hosts });
        }
        let user_data = (self.map)(record.id, record.user_data);
        match self.shared.announce(record.id, Interval::from(interval), age, user_data) {
            Ok(announced) if announced.outcome == Outcome::Registered => {
                self.hosts += 1;
                let older_ms = (record.age_ms.saturating_add(record.older_ms.into())).saturating_sub(age_ms);
                // A file may claim any age; this is the most that is written.
                let earlier = Earlier { misses: record.misses, older_ms: older_ms.min(u32::MAX.into()) };
                lock(&self.shared.past).note(announced.handle, earlier);
            }
            Ok(_) => self.skipped += 1,
            Err(AnnounceError::Full) => return Err(RestoreError::Full { restored: self.hosts }),
            Err(AnnounceError::NoMemory) => return Err(RestoreError::NoMemory { restored: self.hosts }),
            Err(AnnounceError::Closed) => return Err(RestoreError::Closed),
            // The reader lets no such id pass.
            Err(AnnounceError::IdLength) => return Err(self.changed()),
        }
        Ok(())
    }
}

impl<F> Restore<'_, F> {
    /// The age that a host comes back with, in milliseconds: at least 1, which has passed since. News with an age changes nothing
    /// for a host that another thread announces meanwhile.
    fn age_of(&self, record: &Record<'_>, interval: Duration) -> u64 {
        if planted(Canary::UncappedAge) {
            return record.age_ms.max(1);
        }
        if record.misses >= SUSPICIOUS {
            // A suspect, with what is left of its grace, if only a moment.
            let (life_ms, grace_ms) = self.shared.life_ms(interval);
            return record.age_ms.clamp(life_ms - grace_ms, (life_ms - 1).max(life_ms - grace_ms));
        }
        record.age_ms.clamp(1, self.shared.effective_interval(interval))
    }
}

impl Header {
    /// How long before `now` the file was begun.
    fn age(&self, now: &Header) -> Option<Duration> {
        let same_boot = self.boot_id == now.boot_id && self.boot_id != [0; 16];
        let by_boot = now.boot_ns.checked_sub(self.boot_ns).filter(|_| same_boot);
        by_boot.or_else(|| now.wall_ns.checked_sub(self.wall_ns)).map(Duration::from_nanos)
    }
}

/// The header of a file that is begun now.
fn now() -> Header {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut boot = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `boot` only. It cannot fail: the clock exists since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut boot) };
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Header {
        wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        boot_ns: boot.tv_sec as u64 * 1_000_000_000 + boot.tv_nsec as u64,
        boot_id: parse_boot_id(&boot_id).unwrap_or_default(),
    }
}

/// The 16 bytes of a UUID as the kernel prints it.
fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then_some(())?;
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_file_is_by_the_boot_clock_only_on_the_same_boot() {
        let written = Header { wall_ns: 1000, boot_ns: 50, boot_id: [1; 16] };
        let age = |now: Header| written.age(&now).map(|age| age.as_nanos());
        assert_eq!(age(Header { wall_ns: 1, boot_ns: 60, ..written }), Some(10), "whatever the wall clock says");
        assert_eq!(age(Header { wall_ns: 1007, boot_ns: 60, boot_id: [2; 16] }), Some(7));
        assert_eq!(age(Header { wall_ns: 999, boot_ns: 60, boot_id: [2; 16] }), None, "from the future");
        assert_eq!(age(Header { wall_ns: 1007, boot_ns: 40, ..written }), Some(7), "another time namespace");
        let nameless = Header { boot_id: [0; 16], ..written };
        let now = Header { wall_ns: 1009, boot_ns: 51, ..nameless };
        assert_eq!(nameless.age(&now), Some(Duration::from_nanos(9)), "an unknown boot is not the same");
    }

    #[test]
    fn the_kernels_boot_id_is_read() {
        let id = parse_boot_id("01020304-0506-0708-090a-0b0c0d0e0f10\n");
        assert_eq!(id, Some([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]));
        assert_eq!(parse_boot_id(""), None);
        assert_eq!(parse_boot_id("z1020304-0506-0708-090a-0b0c0d0e0f10"), None);
    }
}
