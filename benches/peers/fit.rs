//! Memory: what is used, and what there is.

use std::fs::read_to_string;

/// Resident bytes of this process, after memory that was freed has been given back.
pub fn resident() -> usize {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
    let pages = read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * page()
}

fn page() -> usize {
    // SAFETY: takes a number and returns one.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// Bytes that can be had without swapping.
pub fn available() -> usize {
    let kilobytes = read_to_string("/proc/meminfo").ok().and_then(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok())
    });
    kilobytes.map_or(usize::MAX, |kilobytes| kilobytes * 1024)
}
