//! A processor's counter that lies: its readings are trapped in the announcing threads, and shifted. `CLOCK_MONOTONIC` goes on, as
//! after a restored snapshot or a live migration of a virtual machine. No announce may be stamped early.
#![cfg(target_arch = "x86_64")]

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hostwheel::{Brake, Clock, Config, Event, Handle, HostWheel, Verdict};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

thread_local! {
    /// What is added to the counter's readings in this thread, in counts. A thread-local of a plain type: the handler may read it.
    static OWN: AtomicI64 = const { AtomicI64::new(0) };
}

/// What is added in every thread.
static COMMON: AtomicI64 = AtomicI64::new(0);
/// Readings that were trapped.
static TRAPPED: AtomicU64 = AtomicU64::new(0);
/// What the counter and the raw clock read once, and counts per nanosecond times 2^32.
static BASE: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// Where the code of the kernel's own clock is: its readings of the counter stay true.
static VDSO: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

fn counter() -> u64 {
    // SAFETY: reads a register.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// `CLOCK_MONOTONIC_RAW`, by a system call: the kernel may read the counter when this thread may not.
fn raw_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `time` only.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC_RAW, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The counter of this thread, which may not read it: shifted.
fn shifted() -> u64 {
    let [count, ns, rate] = [&BASE[0], &BASE[1], &BASE[2]].map(|base| base.load(Ordering::Relaxed));
    let passed = (u128::from(raw_ns() - ns) * u128::from(rate)) >> 32;
    let shift = COMMON.load(Ordering::Relaxed) + OWN.with(|own| own.load(Ordering::Relaxed));
    TRAPPED.fetch_add(1, Ordering::Relaxed);
    (count + passed as u64).wrapping_add_signed(shift)
}

/// Emulates `rdtsc` and `rdtscp`, with the shift unless the vDSO reads: that must read exactly.
extern "C" fn on_fault(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over a context; the instruction that faulted can be read.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let at = registers[libc::REG_RIP as usize] as *const [u8; 3];
        let length = match *at {
            [0x0f, 0x31, _] => 2,
            [0x0f, 0x01, 0xf9] => 3,
            _ => libc::abort(),
        };
        let [from, to] = [&VDSO[0], &VDSO[1]].map(|bound| bound.load(Ordering::Relaxed));
        let count = if (from..to).contains(&(at as u64)) {
            libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_ENABLE);
            let count = counter();
            libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV);
            count
        } else {
            shifted()
        };
        registers[libc::REG_RAX as usize] = (count & 0xffff_ffff) as i64;
        registers[libc::REG_RDX as usize] = (count >> 32) as i64;
        if length == 3 {
            registers[libc::REG_RCX as usize] = 0;
        }
        registers[libc::REG_RIP as usize] += length;
    }
}

/// Has this thread's readings of the counter trapped from now on.
fn trap() {
    OWN.with(|own| own.load(Ordering::Relaxed));
    // SAFETY: changes this thread only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV) }, 0, "the counter can be trapped");
}

/// Counts of the counter in a millisecond.
fn prepare() -> i64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let vdso = maps.lines().find(|line| line.ends_with("[vdso]")).expect("the kernel's clock is mapped");
    let (from, to) = vdso.split_once(' ').unwrap().0.split_once('-').unwrap();
    for (bound, text) in VDSO.iter().zip([from, to]) {
        bound.store(u64::from_str_radix(text, 16).unwrap(), Ordering::Relaxed);
    }
    // SAFETY: a handler that keeps to what handlers may do.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()), 0);
    }
    let (count, ns) = (counter(), raw_ns());
    thread::sleep(ms(100));
    let (counted, passed) = (counter() - count, raw_ns() - ns);
    for (base, value) in BASE.iter().zip([count, ns, ((u128::from(counted) << 32) / u128::from(passed)) as u64]) {
        base.store(value, Ordering::Relaxed);
    }
    (u128::from(counted) * 1_000_000 / u128::from(passed)) as i64
}

fn open() -> Option<HostWheel> {
    let config = Config { brake: Brake::OFF, silence_expected: 0, ..Config::default() };
    let wheel = HostWheel::start(config, |_: &Event| Verdict::Done).unwrap();
    (wheel.stats().clock == Clock::Counter).then_some(wheel)
}

/// Hosts that were heard once, before the test goes on.
fn hosts(wheel: &HostWheel, name: &str) -> Vec<Handle> {
    (0..1500).map(|n| wheel.announce(format!("{name} {n}"), ms(60_000)).unwrap().handle).collect()
}

/// Renews each host once, one a millisecond, and returns by how much the earliest stamp was early.
fn renew_each(wheel: &HostWheel, hosts: &[Handle]) -> Duration {
    let renew = |host: &Handle| {
        let before = wheel.now();
        wheel.renew(*host).unwrap();
        // The stamp is in whole milliseconds, rounded up; `before` is exact.
        let early = before.saturating_sub(wheel.inspect(*host).unwrap().last_seen);
        thread::sleep(ms(1));
        early
    };
    hosts.iter().map(renew).max().unwrap()
}

/// One test, as all threads of the process share the handler and the wheel's rate.
#[test]
fn a_counter_that_lies_makes_no_early_stamp() {
    let Some(wheel) = open() else {
        println!("left out: this system's clock is not the processor's counter");
        return;
    };
    let per_ms = prepare();
    let jumps_ms = [-500, -2000, 500, -20];
    let [steady, first, second] = ["steady", "first", "second"].map(|name| hosts(&wheel, name));
    let jumping = jumps_ms.map(|jump_ms| hosts(&wheel, &jump_ms.to_string()));
    // An early stamp is one only for a host that was not heard since.
    thread::sleep(ms(2200));
    let none = Duration::ZERO;
    thread::scope(|scope| {
        scope.spawn(|| {
            trap();
            assert_eq!(renew_each(&wheel, &steady), none, "early though the counter tells the truth");
            for (jump_ms, hosts) in jumps_ms.iter().zip(&jumping) {
                COMMON.fetch_add(jump_ms * per_ms, Ordering::Relaxed);
                assert_eq!(renew_each(&wheel, hosts), none, "early after a jump of {jump_ms} ms");
            }
        });
    });
    // Two threads whose counters differ.
    thread::scope(|scope| {
        for (hosts, behind_ms) in [(&first, 0), (&second, 20)] {
            let wheel = &wheel;
            scope.spawn(move || {
                trap();
                OWN.with(|own| own.store(-behind_ms * per_ms, Ordering::Relaxed));
                assert_eq!(renew_each(wheel, hosts), none, "early with a counter {behind_ms} ms behind");
            });
        }
    });
    assert!(TRAPPED.load(Ordering::Relaxed) > 1000, "the counter's readings were trapped");
    println!("{} readings trapped; the clock is {:?} now", TRAPPED.load(Ordering::Relaxed), wheel.stats().clock);
    wheel.close(ms(10_000)).unwrap();
}
