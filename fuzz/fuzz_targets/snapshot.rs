//! Any bytes as a snapshot: the library against a plain reader made from the specification. Whatever the bytes are, a restore
//! does what that reader says, or refuses for the reason that it says and leaves the wheel as it was; and what was restored
//! is the same again after a snapshot and another restore.
#![no_main]

#[path = "../../tests/snapshot/crc32c.rs"]
mod crc32c;
#[path = "snapshot/input.rs"]
mod input;
#[allow(dead_code)]
#[path = "../../tests/oracle/rules.rs"]
mod rules;
#[path = "snapshot/spec.rs"]
mod spec;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use hostwheel::{Brake, Config, Event, HostWheel, RestoreError, Stats, Verdict};
use libfuzzer_sys::{Corpus, fuzz_target};

use input::{Input, id};
use rules::Rules;
use spec::{Record, Refusal};

/// Later than the oldest that a restored host can be.
const NOW: Duration = Duration::from_secs(25 * 86_400);
/// What a restore makes of the user data in the file.
const MAPPED: u64 = 0x5555;

/// Interval and age in milliseconds, user data.
type Seen = (u64, u64, u64);
type Hosts = BTreeMap<Vec<u8>, Seen>;

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(input) = Input::read(data) else { return Corpus::Reject };
    restore(&input);
    Corpus::Keep
});

fn restore(input: &Input) {
    let wheel = open(&input.rules);
    for number in 0..input.known.min(input.rules.max_hosts as u8) {
        wheel.announce_with(id(number), Duration::from_secs(7), Duration::ZERO, number.into()).unwrap();
    }
    let before = seen(&wheel);
    let mut asked = 0;
    let restored = wheel.restore_with(in_memory(&input.file), |_, user_data| {
        asked += 1;
        user_data ^ MAPPED
    });
    let found = match spec::read(&input.file) {
        Ok(found) => found,
        Err(refusal) => {
            let refused = restored.expect_err("the specification refuses it");
            assert!(is(&refused, &refusal), "{refused:?}, and the specification says {refusal:?}");
            assert_eq!((seen(&wheel), asked), (before, 0), "a refused file changed the wheel");
            return;
        }
    };
    let Expected { hosts, overdue, count, skipped, full } = expect(&input.rules, before.1, found);
    match restored {
        Ok(restored) => assert_eq!((restored.hosts, restored.skipped, full), (count, skipped, false)),
        Err(RestoreError::Full { restored }) => assert_eq!((restored, full), (count, true)),
        Err(e) => panic!("a good file is refused: {e:?}"),
    }
    assert_eq!(seen(&wheel).1, hosts);
    assert_eq!(asked, count + u64::from(full));
    check_bounds(&wheel, &input.rules, &overdue);
    check_again(&wheel, &input.rules, hosts);
}

fn open(rules: &Rules) -> HostWheel {
    let ms = Duration::from_millis;
    let config = Config {
        host_ttl: ms(rules.host_ttl_ms),
        grace: ms(rules.grace_ms),
        min_interval: ms(rules.min_interval_ms),
        max_interval: ms(rules.max_interval_ms),
        max_hosts: rules.max_hosts,
        watchdog: Duration::ZERO,
        brake: Brake::OFF,
        silence_expected: 0,
        ..Config::default()
    };
    let wheel = HostWheel::manual(config, |_: &Event| Verdict::Done).unwrap();
    wheel.advance(NOW).unwrap();
    wheel
}

fn seen(wheel: &HostWheel) -> (Stats, Hosts) {
    let mut hosts = Hosts::new();
    wheel.each(|host| {
        let interval_ms = host.interval.map_or(0, |interval| interval.as_millis() as u64);
        let twice = hosts.insert(host.id.to_vec(), (interval_ms, host.age.as_millis() as u64, host.user_data));
        assert_eq!(twice, None);
        ControlFlow::Continue(())
    });
    (wheel.stats(), hosts)
}

/// A path under which the bytes can be read.
fn in_memory(bytes: &[u8]) -> PathBuf {
    static MEMORY: OnceLock<File> = OnceLock::new();
    let mut file = MEMORY.get_or_init(|| {
        // SAFETY: the name is a C string; a descriptor that comes back is nobody else's.
        unsafe {
            let descriptor = libc::memfd_create(c"snapshot".as_ptr(), libc::MFD_CLOEXEC);
            assert!(descriptor >= 0, "{}", std::io::Error::last_os_error());
            File::from_raw_fd(descriptor)
        }
    });
    file.set_len(0).unwrap();
    file.rewind().unwrap();
    file.write_all(bytes).unwrap();
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn is(refused: &RestoreError, refusal: &Refusal) -> bool {
    match (refused, refusal) {
        (RestoreError::NotASnapshot, Refusal::NotASnapshot) | (RestoreError::Torn, Refusal::Torn) => true,
        (RestoreError::Corrupt { offset }, Refusal::Damaged { at }) => *offset == *at as u64,
        (RestoreError::NewerVersion { found, known: 2 }, Refusal::Newer(version)) => found == version,
        _ => false,
    }
}

/// What must come of a good file.
struct Expected {
    hosts: Hosts,
    /// Those that missed three announces in a row.
    overdue: HashSet<Vec<u8>>,
    count: u64,
    skipped: u64,
    full: bool,
}

fn expect(rules: &Rules, mut hosts: Hosts, found: Vec<Record>) -> Expected {
    let (mut count, mut skipped, mut overdue) = (0, 0, HashSet::new());
    for record in found {
        if hosts.contains_key(&record.id) {
            skipped += 1;
            continue;
        }
        if hosts.len() == rules.max_hosts {
            return Expected { hosts, overdue, count, skipped, full: true };
        }
        let (interval_ms, _) = rules.take_interval(Duration::from_millis(record.interval_ms.into()));
        let age_ms = if record.misses < 3 {
            record.age_ms.clamp(1, rules.effective_interval_ms(interval_ms))
        } else {
            overdue.insert(record.id.clone());
            let (ttl_ms, grace_ms) = (rules.ttl_ms(interval_ms), rules.grace_of_ms(interval_ms));
            record.age_ms.clamp(ttl_ms, ttl_ms + grace_ms.max(1) - 1)
        };
        hosts.insert(record.id, (interval_ms, age_ms, record.user_data ^ MAPPED));
        count += 1;
    }
    Expected { hosts, overdue, count, skipped, full: false }
}

/// Every host that is not overdue has at least one interval, and its grace, from now on.
fn check_bounds(wheel: &HostWheel, rules: &Rules, overdue: &HashSet<Vec<u8>>) {
    let mut handles = HashSet::new();
    wheel.each(|host| {
        assert!(overdue.contains(host.id) || handles.insert(host.handle));
        assert!((1..=hostwheel::LONGEST_ID).contains(&host.id.len()));
        ControlFlow::Continue(())
    });
    for handle in handles {
        let status = wheel.inspect(handle).unwrap();
        let interval_ms = status.interval.map_or(0, |interval| interval.as_millis() as u64);
        let left_ms = rules.effective_interval_ms(interval_ms) + rules.grace_of_ms(interval_ms);
        assert!(status.leaves_at >= NOW + Duration::from_millis(left_ms), "{status:?}");
    }
}

/// A snapshot of the hosts holds just them, and gives them back.
fn check_again(wheel: &HostWheel, rules: &Rules, mut hosts: Hosts) {
    if hosts.is_empty() {
        return;
    }
    let folder = folder();
    let path = folder.join("hosts.snap");
    assert_eq!(wheel.snapshot(&path).unwrap(), hosts.len() as u64);
    let mut written = Hosts::new();
    for record in spec::read(&fs::read(&path).unwrap()).expect("what the library writes is a snapshot") {
        assert_eq!(record.flags, 0, "nobody is suspect");
        written.insert(record.id, (record.interval_ms.into(), record.age_ms, record.user_data));
    }
    assert_eq!(written, hosts);
    let next = open(rules);
    let restored = next.restore(&path).unwrap();
    assert_eq!((restored.hosts, restored.skipped), (hosts.len() as u64, 0));
    for host in hosts.values_mut() {
        host.1 = host.1.max(1);
    }
    assert_eq!(seen(&next).1, hosts);
    // At once: a process that finds something ends without warning.
    fs::remove_dir_all(&folder).unwrap();
}

/// A folder of this process, in memory if the system has such: snapshots are synced.
fn folder() -> PathBuf {
    let shared = Path::new("/dev/shm");
    let base = if shared.is_dir() { shared.to_path_buf() } else { std::env::temp_dir() };
    let folder = base.join(format!("hostwheel-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}
