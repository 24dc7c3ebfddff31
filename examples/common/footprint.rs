//! What a process takes of the machine.

use std::{fs, io};

/// What this process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Memory that is resident.
    pub rss_kib: u64,
    pub descriptors: u64,
    pub threads: u64,
}

impl Footprint {
    /// As it is at this moment.
    pub fn now() -> io::Result<Footprint> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
            number.ok_or_else(|| io::Error::other(format!("/proc/self/status says nothing of {name}")))
        };
        // One of them is the folder that is being read, each time.
        let descriptors = fs::read_dir("/proc/self/fd")?.count() as u64;
        Ok(Footprint { rss_kib: field("VmRSS:")?, descriptors, threads: field("Threads:")? })
    }
}
