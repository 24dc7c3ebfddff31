//! A host costs at most 256 bytes, its index entry, its id of 64 bytes and the allocator's rounding included.
//!
//! One test, because the counting allocator sees the whole program. The figure printed tells where the bytes are:
//! `cargo test --release --test memory -- --nocapture`.
#![cfg(not(loom))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use hostwheel::{Config, Event, HostWheel, Verdict};

const HOSTS: usize = 1_000_000;
const ID_LENGTH: usize = 64;
const BYTES_PER_HOST: f64 = 256.0;

/// What an allocation is, as its layout tells.
type Kind = (&'static str, fn(&Layout) -> bool);

const KINDS: [Kind; 5] = [
    ("records", |layout| layout.align() == 64 && layout.size() > 4096),
    // Two reference counts go before the bytes.
    ("ids", |layout| layout.size() == ID_LENGTH + 16),
    ("index entries", |layout| layout.size() == 24),
    ("wheel lists", |layout| layout.size() == 1024),
    ("index table and the rest", |_| true),
];

/// Bytes allocated and not freed, of each kind. Relaxed accesses: the test has one thread, and reads when it is done.
static LIVE: [AtomicIsize; KINDS.len()] = [const { AtomicIsize::new(0) }; KINDS.len()];
static PEAK: AtomicIsize = AtomicIsize::new(0);
static TOTAL: AtomicIsize = AtomicIsize::new(0);

struct Counting;

impl Counting {
    /// Books what the block really takes: malloc rounds up and keeps a word of its own before each block.
    fn book(memory: *mut u8, layout: &Layout, sign: isize) {
        if memory.is_null() {
            return;
        }
        // SAFETY: a block of the system's allocator, which is malloc, and not freed yet.
        let usable = unsafe { libc::malloc_usable_size(memory.cast()) };
        let bytes = sign * (usable + size_of::<usize>()) as isize;
        let kind = KINDS.iter().position(|(_, is)| is(layout)).unwrap_or(KINDS.len() - 1);
        LIVE[kind].fetch_add(bytes, Ordering::Relaxed);
        let total = TOTAL.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(total, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises, passed on; also below.
        let memory = unsafe { System.alloc(layout) };
        Self::book(memory, &layout, 1);
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see `alloc`.
        let memory = unsafe { System.alloc_zeroed(layout) };
        Self::book(memory, &layout, 1);
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        Self::book(memory, &layout, -1);
        // SAFETY: see `alloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    // `realloc` is left to the trait: it calls the three above.
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> [isize; KINDS.len()] {
    std::array::from_fn(|kind| LIVE[kind].load(Ordering::Relaxed))
}

/// Bytes of the process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: asks for a constant.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize
}

/// Announces all hosts once. Intervals differ, so that the hints spread over the wheel as those of a real fleet do.
fn announce_all(wheel: &HostWheel) {
    use std::io::Write;
    let mut id = [0u8; ID_LENGTH];
    for host in 0..HOSTS {
        write!(&mut id[..], "{host:064}").unwrap();
        let interval = Duration::from_millis(60_000 + host as u64 * 7919 % 540_000);
        wheel.announce(id, interval).unwrap();
    }
}

#[test]
fn a_host_costs_at_most_256_bytes() {
    let (before, total_before, resident_before) = (live(), TOTAL.load(Ordering::Relaxed), resident());
    PEAK.store(total_before, Ordering::Relaxed);
    let wheel = HostWheel::manual(Config::default(), |_: &Event| Verdict::Done).unwrap();
    announce_all(&wheel);
    // Places all of them in the wheel.
    wheel.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(wheel.stats().live, HOSTS as u64);
    let per_host = |bytes: isize| bytes as f64 / HOSTS as f64;
    let held = per_host(TOTAL.load(Ordering::Relaxed) - total_before);
    println!("{HOSTS} hosts with ids of {ID_LENGTH} bytes, bytes per host:");
    println!("  {held:6.1} in all, at most {BYTES_PER_HOST}");
    for (((name, _), now), before) in KINDS.iter().zip(live()).zip(before) {
        println!("  {:6.1} {name}", per_host(now - before));
    }
    println!("  {:6.1} at the peak, while the index grew", per_host(PEAK.load(Ordering::Relaxed) - total_before));
    println!("  {:6.1} resident", per_host(resident() as isize - resident_before as isize));
    assert!(held <= BYTES_PER_HOST, "a host costs {held:.1} bytes");
}
