//! The wheel's thread, as the system sees it.

use std::fs;
use std::io;
use std::ops::Sub;
use std::time::Duration;

use crate::system::thread_cpu_ns;

/// The thread of the one wheel of this process.
pub struct WheelThread(i32);

/// What a thread has had of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share {
    /// Processor time.
    pub cpu: Duration,
    /// How often it was taken off its processor though it had more to do.
    pub preempted: u64,
}

impl Sub for Share {
    type Output = Share;
    fn sub(self, before: Share) -> Share {
        Share { cpu: self.cpu.saturating_sub(before.cpu), preempted: self.preempted - before.preempted }
    }
}

impl WheelThread {
    /// Finds it by its name.
    pub fn find() -> io::Result<WheelThread> {
        for thread in fs::read_dir("/proc/self/task")? {
            let thread = thread?;
            // A thread may end while we look.
            let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            if name.trim_end() == "hostwheel" {
                let number = thread.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
                return Ok(WheelThread(number));
            }
        }
        Err(io::Error::other("no thread is named hostwheel"))
    }

    /// What it has had so far.
    pub fn share(&self) -> io::Result<Share> {
        let status = fs::read_to_string(format!("/proc/self/task/{}/status", self.0))?;
        let preempted = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
        let preempted = preempted.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
        Ok(Share { cpu: Duration::from_nanos(thread_cpu_ns(self.0)?), preempted })
    }
}

#[cfg(test)]
mod tests {
    use hostwheel::{Config, Event, HostWheel, Verdict};

    use super::*;

    #[test]
    fn the_wheels_thread_is_found_and_has_had_some_processor_time() {
        let wheel = HostWheel::start(Config::default(), |_: &Event| Verdict::Done).unwrap();
        let asked_twice = || WheelThread::find().and_then(|thread| Ok((thread.share()?, thread.share()?)));
        // It names itself when it starts to run.
        let mut found = asked_twice();
        for _ in 0..1000 {
            if found.as_ref().is_ok_and(|(first, _)| !first.cpu.is_zero()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            found = asked_twice();
        }
        let (first, second) = found.unwrap();
        assert!(!first.cpu.is_zero() && second.cpu >= first.cpu);
        wheel.close(Duration::from_secs(1)).unwrap();
    }
}
