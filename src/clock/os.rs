//! The system's clocks, and the processor's counter.

#[cfg(not(loom))]
pub(super) use system::*;

#[cfg(loom)]
pub(super) use model::*;
#[cfg(loom)]
pub(crate) use model::{set, set_behind};

/// The counter, and what `CLOCK_MONOTONIC` read just after it.
pub(super) struct Reading {
    pub(super) count: u64,
    pub(super) ns: u64,
}

#[cfg(not(loom))]
mod system {
    use std::sync::OnceLock;
    use std::time::Duration;

    use super::Reading;
    use crate::clock::counter;

    /// A clock's number; that of none is 0, `CLOCK_REALTIME`, which is not for measuring.
    pub(in super::super) type Source = std::num::NonZero<libc::clockid_t>;

    /// `CLOCK_MONOTONIC_COARSE`: the time of the last kernel tick, from memory.
    pub(in super::super) const COARSE: Source = Source::new(libc::CLOCK_MONOTONIC_COARSE).unwrap();
    /// `CLOCK_MONOTONIC`.
    pub(in super::super) const PRECISE: Source = Source::new(libc::CLOCK_MONOTONIC).unwrap();

    /// A reading of counter and clock that took longer than this, as the thread lost the processor between them, tells little.
    const READING_NS_MAX: u64 = 20_000;

    /// Long enough to tell a rate by.
    const MEASUREMENT: Duration = Duration::from_micros(500);

    #[inline]
    pub(in super::super) fn read(clock: Source) -> u64 {
        let mut time = std::mem::MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: writes to `time` only. It cannot fail: both clocks exist on every supported kernel.
        let time = unsafe {
            libc::clock_gettime(clock.get(), time.as_mut_ptr());
            time.assume_init()
        };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    pub(in super::super) fn coarse_ns() -> u64 {
        read(COARSE)
    }

    pub(in super::super) fn precise_ns() -> u64 {
        read(PRECISE)
    }

    pub(in super::super) fn coarse_resolution_ns() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes to `time` only.
        unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
        time.tv_nsec as u64
    }

    /// Counter and clock together; `None` if they were read too far apart. Who is held back between the two takes the count for
    /// later than it was, so what is made of it is late, and never early.
    pub(in super::super) fn reading() -> Option<Reading> {
        let before_ns = precise_ns();
        let count = count();
        let ns = precise_ns();
        (ns - before_ns <= READING_NS_MAX).then_some(Reading { count, ns })
    }

    /// What makes time of the counter's readings; `None` where it is not to be trusted. Measured once in a process, for a
    /// millisecond.
    pub(in super::super) fn scale() -> Option<u64> {
        static SCALE: OnceLock<Option<u64>> = OnceLock::new();
        let agreed = || {
            let (one, other) = (measured()?, measured()?);
            (one.abs_diff(other) <= other / 64).then_some(other)
        };
        *SCALE.get_or_init(|| if counts() { (0..8).find_map(|_| agreed()) } else { None })
    }

    fn measured() -> Option<u64> {
        let from = reading()?;
        std::thread::sleep(MEASUREMENT);
        let to = reading()?;
        counter::scale(to.count.wrapping_sub(from.count), to.ns - from.ns)
    }

    /// Eight times the processor's time stamp counter at about this moment: a scale for that holds in 64 bits from half a
    /// gigahertz on. It does not wait for what precedes it in the program.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(in super::super) fn count() -> u64 {
        let (low, high): (u64, u64);
        // SAFETY: reads a register; `counts` has found that the process may.
        unsafe { std::arch::asm!("rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) };
        // One instruction less than eight times what the intrinsic puts together.
        (high << 35).wrapping_add(low * 8)
    }

    /// 256 times the virtual counter at about this moment: a scale for that holds in 64 bits from 17 MHz on. It does not wait for
    /// what precedes it in the program.
    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    pub(in super::super) fn count() -> u64 {
        let count: u64;
        // SAFETY: reads a register; `counts` has found that the process may. Not `nomem`: the compiler must not move it before the
        // loads of a bound and a sum (`Counter::stamp`).
        unsafe { std::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nostack, preserves_flags)) };
        count << 8
    }

    /// Never read: [`counts`] says no.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(in super::super) fn count() -> u64 {
        0
    }

    /// The clock source by which the kernel tells the time where it has found that the processor's counter goes on evenly and means
    /// the same on all processors.
    const TRUSTED: Option<&str> = if cfg!(target_arch = "x86_64") {
        Some("tsc")
    } else if cfg!(target_arch = "aarch64") {
        Some("arch_sys_counter")
    } else {
        None
    };

    /// Whether the kernel tells the time by the counter at present. (It may find at run time that it must not.) Allocates nothing.
    pub(in super::super) fn counts() -> bool {
        TRUSTED.is_some_and(|trusted| may_count() && clock_source_is(trusted))
    }

    fn clock_source_is(name: &str) -> bool {
        const PATH: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let mut source = [0; 64];
        let read = std::fs::File::open(PATH).and_then(|mut file| std::io::Read::read(&mut file, &mut source));
        read.is_ok_and(|length| source[..length].trim_ascii() == name.as_bytes())
    }

    /// Whether this process may read the counter: where it must not, a reading ends it by `SIGSEGV`.
    fn may_count() -> bool {
        let mut mode: libc::c_int = 0;
        // SAFETY: writes to `mode` only.
        let asked = unsafe { libc::prctl(libc::PR_GET_TSC, std::ptr::from_mut(&mut mode)) };
        may_count_by(if asked == 0 {
            Ok(mode)
        } else {
            Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
        })
    }

    /// By the answer to `PR_GET_TSC`, a mode or an error's number. On aarch64 it is asked as on x86-64; before Linux 6.12 it was not
    /// known there, and every process might read the counter.
    fn may_count_by(answer: Result<libc::c_int, libc::c_int>) -> bool {
        match answer {
            Ok(mode) => mode == libc::PR_TSC_ENABLE,
            Err(error) => cfg!(target_arch = "aarch64") && error == libc::EINVAL,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_process_that_may_not_read_the_counter_does_not() {
            assert!(may_count_by(Ok(libc::PR_TSC_ENABLE)));
            assert!(!may_count_by(Ok(libc::PR_TSC_SIGSEGV)));
            assert!(!may_count_by(Err(libc::EPERM)));
            assert_eq!(
                may_count_by(Err(libc::EINVAL)),
                cfg!(target_arch = "aarch64"),
                "a kernel that does not know the question"
            );
            // For a thread that is not the harness's: the mode is the thread's own.
            let forbidden = std::thread::spawn(|| {
                // SAFETY: changes this thread only.
                let forbidden = unsafe { libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV) } == 0;
                forbidden.then(counts)
            });
            match forbidden.join().unwrap() {
                Some(counts) => assert!(!counts),
                None => println!("left out: this system does not forbid a thread the counter"),
            }
        }
    }
}

/// Models have one time, which a test sets, and a counter that goes by it.
#[cfg(loom)]
mod model {
    use super::Reading;
    use crate::clock::counter;
    use crate::sync::{AtomicU64, Ordering};
    use crate::tick::TICK_NS;

    pub(in super::super) type Source = std::num::NonZero<i32>;
    pub(in super::super) const COARSE: Source = Source::MIN;
    pub(in super::super) const PRECISE: Source = Source::MAX;

    loom::lazy_static! {
        static ref NOW_NS: AtomicU64 = AtomicU64::new(1);
        static ref BEHIND_NS: AtomicU64 = AtomicU64::new(0);
    }

    pub(crate) fn set(ns: u64) {
        NOW_NS.store(ns, Ordering::Relaxed);
    }

    /// From now on the counter is behind the clock.
    pub(crate) fn set_behind(ns: u64) {
        BEHIND_NS.store(ns, Ordering::Relaxed);
    }

    pub(in super::super) fn precise_ns() -> u64 {
        NOW_NS.load(Ordering::Relaxed)
    }

    pub(in super::super) fn read(_: Source) -> u64 {
        precise_ns()
    }

    pub(in super::super) fn coarse_ns() -> u64 {
        precise_ns()
    }

    pub(in super::super) fn coarse_resolution_ns() -> u64 {
        0
    }

    /// Of three counts a nanosecond; the machine has been up for a second.
    pub(in super::super) fn count() -> u64 {
        8 * 3 * (precise_ns() + 1000 * TICK_NS - BEHIND_NS.load(Ordering::Relaxed))
    }

    pub(in super::super) fn scale() -> Option<u64> {
        counter::scale(8 * 3 * TICK_NS, TICK_NS)
    }

    pub(in super::super) fn counts() -> bool {
        true
    }

    pub(in super::super) fn reading() -> Option<Reading> {
        let count = count();
        Some(Reading { count, ns: precise_ns() })
    }
}
