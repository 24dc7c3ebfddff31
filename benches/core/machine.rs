//! What the figures were taken on.

use std::fs::read_to_string;
use std::process::Command;

/// Prints processor, kernel, compiler, huge pages, clock and load.
pub fn print() {
    let cpuinfo = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("?", |name| name.trim_start_matches(['\t', ' ', ':']));
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    println!("processor   {model}, {processors} in use");
    println!("kernel      {}", first_line("/proc/sys/kernel/osrelease"));
    println!("compiler    {}", compiler().unwrap_or_else(|| "?".into()));
    println!("huge pages  {}", first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
    println!("clock       coarse, a reading every {} us", coarse_resolution_ns() / 1000);
    println!("load        {}", first_line("/proc/loadavg"));
}

fn first_line(path: &str) -> String {
    read_to_string(path).ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_else(|| "?".into())
}

fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn coarse_resolution_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `time` only, which outlives the call.
    unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_nsec
}
