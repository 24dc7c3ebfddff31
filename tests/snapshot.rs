//! The warm restart: what a file keeps, what a damaged one does not do, and what a killed writer leaves behind.

#[path = "snapshot/crc32c.rs"]
mod crc32c;
#[path = "snapshot/killed.rs"]
mod killed;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crc32c::crc32c;
use hostwheel::{
    Config, Event, EventKind, HostWheel, Interval, Outcome, RestoreError, Restored, SnapshotError, Stats, Verdict,
};

const ROLE: &str = "HOSTWHEEL_SNAPSHOT_TEST_FILE";

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A folder of the test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("snapshot-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("hosts.snap")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// All time counts.
fn config() -> Config {
    Config { watchdog: Duration::ZERO, ..Config::default() }
}

fn quiet() -> HostWheel {
    HostWheel::manual(config(), |_: &Event| Verdict::Done).unwrap()
}

/// Interval, age, suspect, user data.
type Seen = (Option<Duration>, Duration, bool, u64);

fn hosts(wheel: &HostWheel) -> BTreeMap<Vec<u8>, Seen> {
    let mut all = BTreeMap::new();
    wheel.each(|host| {
        let twice = all.insert(host.id.to_vec(), (host.interval, host.age, host.suspect, host.user_data));
        assert_eq!(twice, None);
        ControlFlow::Continue(())
    });
    all
}

/// A wheel of three hosts, and its file's bytes.
fn small_file(folder: &Folder) -> Vec<u8> {
    let wheel = quiet();
    for (id, interval, user_data) in [("a", secs(30), 1), ("bb", Duration::ZERO, u64::MAX), ("ccc", secs(3600), 0)] {
        wheel.announce_with(id, interval, Duration::ZERO, user_data).unwrap();
    }
    assert_eq!(wheel.snapshot(folder.file()).unwrap(), 3);
    fs::read(folder.file()).unwrap()
}

/// The error of a restore of these bytes, which must have done nothing at all.
fn refused(folder: &Folder, wheel: &HostWheel, bytes: &[u8]) -> RestoreError {
    let path = folder.0.join("wrong");
    fs::write(&path, bytes).unwrap();
    let error = refused_path(wheel, &path);
    // To write over it would make the file system sync it first.
    fs::remove_file(&path).unwrap();
    error
}

fn refused_path(wheel: &HostWheel, path: &Path) -> RestoreError {
    let before: (Stats, _) = (wheel.stats(), hosts(wheel));
    let error = wheel.restore_with(path, |_, _| panic!("a host of a bad file")).unwrap_err();
    assert_eq!((wheel.stats(), hosts(wheel)), before, "{error}");
    error
}

/// A header by the specification.
fn header(version: u32, length: usize) -> Vec<u8> {
    let mut bytes = [&b"\x89HWS\r\n\x1a\n"[..], &version.to_le_bytes(), &(length as u32).to_le_bytes()].concat();
    bytes.resize(length - 4, 0xA5);
    let checksum = crc32c(&bytes);
    [bytes, checksum.to_vec()].concat()
}

/// A frame by the specification.
fn frame(payload: &[u8]) -> Vec<u8> {
    let bytes = [&(payload.len() as u32).to_le_bytes(), payload].concat();
    let checksum = crc32c(&bytes);
    [bytes, checksum.to_vec()].concat()
}

/// A file by the specification: `header`, one frame, the trailer.
fn file(header: &[u8], payload: &[u8], hosts: u64) -> Vec<u8> {
    let frame = frame(payload);
    let checksums = [&header[header.len() - 4..], &frame[frame.len() - 4..]].concat();
    let mut trailer = vec![0; 4];
    trailer.extend(hosts.to_le_bytes());
    trailer.extend(1u64.to_le_bytes());
    trailer.extend(crc32c(&checksums));
    trailer.extend(crc32c(&trailer.clone()));
    [header, &frame, &trailer].concat()
}

fn record(id: &[u8], flags: u16, interval_ms: u32, age_ms: u64, user_data: u64) -> Vec<u8> {
    let mut bytes = (id.len() as u16).to_le_bytes().to_vec();
    bytes.extend(flags.to_le_bytes());
    bytes.extend(interval_ms.to_le_bytes());
    bytes.extend(age_ms.to_le_bytes());
    bytes.extend(user_data.to_le_bytes());
    bytes.extend(id);
    bytes
}

/// A record of version 2: with what earlier runs say of the host.
fn record_2(id: &[u8], interval_ms: u32, age_ms: u64, older_ms: u32, misses: u8) -> Vec<u8> {
    let mut bytes = record(b"", 0, interval_ms, age_ms, 7);
    bytes[..2].copy_from_slice(&(id.len() as u16).to_le_bytes());
    [&bytes, &older_ms.to_le_bytes()[..], &[misses, 0, 0, 0], id].concat()
}

#[test]
fn hosts_come_back_as_they_were() {
    let folder = Folder::new();
    let wheel = quiet();
    wheel.announce_with("suspect", secs(1), Duration::ZERO, 5).unwrap();
    wheel.advance(ms(2000)).unwrap();
    let day = secs(86_400);
    let ids: [(&[u8], Duration, u64); 6] = [
        (b"\0", secs(1), 0),
        (&[0xff; 1024], secs(2100), u64::MAX),
        (b"a\0b\xff\r\n", Duration::ZERO, 1),
        (b"host-7", 24 * day, 1 << 63),
        (b"host-8", ms(1001), 42),
        (b"host-9", ms(2_097_151), 43),
    ];
    for (id, interval, user_data) in ids {
        wheel.announce_with(id, interval, Duration::ZERO, user_data).unwrap();
    }
    wheel.advance(ms(2500)).unwrap();
    assert_eq!(wheel.snapshot(folder.file()).unwrap(), 7);
    let mut expected = hosts(&wheel);
    assert_eq!(expected[&b"suspect"[..]], (Some(secs(1)), ms(2500), true, 5));

    let restarted = quiet();
    let Restored { hosts: restored, skipped, age, .. } = restarted.restore(folder.file()).unwrap();
    assert_eq!((restored, skipped), (7, 0));
    assert!(age.unwrap() < secs(600), "{age:?}");
    expected.insert(b"suspect".to_vec(), (Some(secs(1)), ms(1000), false, 5));
    assert_eq!(hosts(&restarted), expected);

    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(folder.names(), ["hosts.snap"]);
}

#[test]
fn a_wheel_without_hosts_has_a_snapshot_too() {
    let folder = Folder::new();
    assert_eq!(quiet().snapshot(folder.file()).unwrap(), 0);
    assert_eq!(quiet().restore(folder.file()).unwrap().hosts, 0);
}

#[test]
fn a_restored_host_has_one_interval_and_its_grace_at_least() {
    let folder = Folder::new();
    let before = quiet();
    before.announce("old", secs(60)).unwrap();
    before.announce("no interval", Interval::NONE).unwrap();
    before.advance(secs(100)).unwrap();
    before.announce("young", secs(60)).unwrap();
    before.advance(secs(119)).unwrap();
    before.snapshot(folder.file()).unwrap();

    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    let after = HostWheel::manual(config(), move |event: &Event| {
        assert_eq!(event.kind(), EventKind::Leave);
        told.lock().unwrap().push((event.id().to_vec(), event.now()));
        Verdict::Done
    })
    .unwrap();
    after.advance(secs(1000)).unwrap();
    after.restore(folder.file()).unwrap();
    // Old was 119 s old, which counts as 60: the leave is at 60 + 15.
    after.advance(secs(1000) + ms(74_999)).unwrap();
    assert_eq!(*events.lock().unwrap(), []);
    for second in 1074..5000 {
        after.advance(secs(second)).unwrap();
    }
    let left = |id: &str, at: Duration| (id.as_bytes().to_vec(), at);
    let expected = [
        left("old", secs(1075)),
        // 19 s old: 120 - 19 + 15.
        left("young", secs(1116)),
        // The host TTL is an hour: 3600 - 119 + 15.
        left("no interval", secs(4496)),
    ];
    assert_eq!(*events.lock().unwrap(), expected);
}

#[test]
fn the_age_is_capped_by_the_interval_that_counts_in_the_new_wheel() {
    let folder = Folder::new();
    let before = quiet();
    before.announce("host", secs(600)).unwrap();
    before.advance(secs(500)).unwrap();
    before.snapshot(folder.file()).unwrap();
    let after = HostWheel::manual(Config { max_interval: secs(10), ..config() }, |_: &Event| Verdict::Done).unwrap();
    after.restore(folder.file()).unwrap();
    assert_eq!(hosts(&after)[&b"host"[..]], (Some(secs(10)), secs(10), false, 0));
}

#[test]
fn hosts_that_are_known_are_skipped_and_the_others_may_get_other_user_data() {
    let folder = Folder::new();
    small_file(&folder);
    let wheel = quiet();
    let known = wheel.announce_with("bb", secs(7), Duration::ZERO, 77).unwrap().handle;
    wheel.advance(ms(14_500)).unwrap();
    assert!(hosts(&wheel)[&b"bb"[..]].2, "a suspect");
    let mut mapped = Vec::new();
    let restored = wheel.restore_with(folder.file(), |id, user_data| {
        mapped.push((id.to_vec(), user_data));
        user_data + 10
    });
    let restored = restored.unwrap();
    assert_eq!((restored.hosts, restored.skipped), (2, 1));
    mapped.sort();
    assert_eq!(mapped, [(b"a".to_vec(), 1), (b"ccc".to_vec(), 0)]);
    assert_eq!(wheel.find("bb").unwrap(), known);
    let all = hosts(&wheel);
    assert_eq!(all[&b"bb"[..]], (Some(secs(7)), ms(14_500), true, 77));
    assert_eq!((all[&b"a"[..]].3, all[&b"ccc"[..]].3), (11, 10));
    // Once more: all are known.
    assert_eq!(wheel.restore(folder.file()).unwrap().skipped, 3);
}

#[test]
fn a_file_cut_off_anywhere_restores_nothing() {
    let folder = Folder::new();
    let whole = small_file(&folder);
    let wheel = quiet();
    wheel.announce("known", secs(1)).unwrap();
    for length in 0..whole.len() {
        let error = refused(&folder, &wheel, &whole[..length]);
        assert!(matches!(error, RestoreError::Torn), "{length}: {error}");
    }
    for more in [&b"\0"[..], &whole] {
        let error = refused(&folder, &wheel, &[&whole, more].concat());
        assert!(matches!(error, RestoreError::Corrupt { offset } if offset == whole.len() as u64), "{error}");
    }
}

#[test]
fn a_file_with_any_bit_or_byte_changed_restores_nothing() {
    let folder = Folder::new();
    let whole = small_file(&folder);
    let wheel = quiet();
    let trailer = whole.len() - 28;
    for at in 0..whole.len() {
        for change in [1, 2, 4, 8, 16, 32, 64, 128, 0xff] {
            let mut wrong = whole.clone();
            wrong[at] ^= change;
            let error = refused(&folder, &wheel, &wrong);
            match error {
                RestoreError::NotASnapshot => assert!(at < 8),
                // A length that was made longer: of the header, of the frame, or that of 0 before the trailer.
                RestoreError::Torn => assert!([12..16, 64..68, trailer..trailer + 4].iter().any(|l| l.contains(&at))),
                RestoreError::Corrupt { offset } => assert!(offset <= at as u64, "{offset} {at}"),
                _ => panic!("{at}: {error}"),
            }
        }
    }
}

#[test]
fn files_of_others_restore_nothing() {
    let folder = Folder::new();
    let whole = small_file(&folder);
    let wheel = quiet();
    assert!(matches!(refused(&folder, &wheel, b""), RestoreError::Torn));
    let as_text = String::from_utf8_lossy(&whole).into_owned();
    let unix_lines: Vec<_> = whole.split(|byte| *byte == b'\r').flatten().copied().collect();
    for foreign in [b"hosts: 3\n", &[0; 70_000][..], b"\x89PNG\r\n\x1a\n", as_text.as_bytes(), &unix_lines] {
        assert!(matches!(refused(&folder, &wheel, foreign), RestoreError::NotASnapshot));
    }
    assert!(matches!(refused_path(&wheel, &folder.0), RestoreError::NotASnapshot));
    let pipe = folder.0.join("pipe");
    let c_path = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a NUL.
    assert_eq!(unsafe { libc::mkfifo(c_path.as_ptr(), 0o600) }, 0);
    assert!(matches!(refused_path(&wheel, &pipe), RestoreError::NotASnapshot));
    let missing = refused_path(&wheel, &folder.0.join("missing"));
    assert!(matches!(missing, RestoreError::Io(e) if e.kind() == ErrorKind::NotFound));
}

#[test]
fn a_file_by_the_specification_is_read_and_a_newer_one_is_named() {
    let folder = Folder::new();
    let records = [record(b"x", 0, 5000, 3, 7), record(&[b'y'; 1024], 0xffff, 0, 1 << 60, 8)].concat();
    // A longer header of the same version: what is added may be passed over.
    for header in [header(1, 64), header(1, 80)] {
        let wheel = quiet();
        fs::write(folder.file(), file(&header, &records, 2)).unwrap();
        assert_eq!(wheel.restore(folder.file()).unwrap().hosts, 2);
        let all = hosts(&wheel);
        assert_eq!(all[&b"x"[..]], (Some(secs(5)), ms(3), false, 7));
        assert_eq!(all[&vec![b'y'; 1024]], (None, secs(1800), false, 8));
    }
    let wheel = quiet();
    for newer in [file(&header(3, 64), &records, 2), header(9, 4096)] {
        let found_in_file = u32::from_le_bytes(newer[8..12].try_into().unwrap());
        let error = refused(&folder, &wheel, &newer);
        assert!(matches!(error, RestoreError::NewerVersion { found, known: 2 } if found == found_in_file), "{error}");
    }
    // Whole by its checksums, and still wrong.
    for (wrong, hosts) in [(records.clone(), 1), (records.clone(), 3), (record(b"", 0, 0, 0, 0), 1)] {
        let error = refused(&folder, &wheel, &file(&header(1, 64), &wrong, hosts));
        assert!(matches!(error, RestoreError::Corrupt { .. }), "{error}");
    }
    for length in [0, 60, 4097, u32::MAX] {
        let mut wrong = header(1, 64);
        wrong[12..16].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(refused(&folder, &wheel, &wrong), RestoreError::Corrupt { .. }));
    }
}

#[test]
fn a_host_that_missed_three_announces_comes_back_as_overdue_as_it_was() {
    let folder = Folder::new();
    // Every minute: a TTL of 120 s and a grace of 15 s.
    let cases = [
        (b"patient", 0, 134_000, 2, (secs(60), false)),
        (b"suspect", 1, 134_000, 3, (secs(134), true)),
        (b"younger", 2, 30_000, 9, (secs(120), true)),
        (b"too old", 3, 900_000, 255, (ms(134_999), true)),
        (b"ancient", u32::MAX, u64::MAX, 3, (ms(134_999), true)),
    ];
    let records: Vec<u8> =
        cases.iter().flat_map(|(id, older, age, misses, _)| record_2(*id, 60_000, *age, *older, *misses)).collect();
    let wheel = quiet();
    fs::write(folder.file(), file(&header(2, 64), &records, 5)).unwrap();
    assert_eq!(wheel.restore(folder.file()).unwrap().hosts, 5);
    wheel.advance(Duration::ZERO).unwrap();
    let all = hosts(&wheel);
    for (id, _, _, _, (age, suspect)) in cases {
        assert_eq!(all[&id[..]], (Some(secs(60)), age, suspect, 7), "{}", id.escape_ascii());
    }
    // What was missed is written again, until the host is heard.
    wheel.announce("younger", secs(60)).unwrap();
    wheel.snapshot(folder.file()).unwrap();
    let bytes = fs::read(folder.file()).unwrap();
    let missed = |id: &[u8]| bytes[bytes.windows(id.len()).position(|at| at == id).unwrap() - 4];
    assert_eq!(cases.map(|(id, ..)| missed(id)), [2, 3, 0, 255, 3]);
    // The same for those that were restored before the wheel was full.
    fs::write(folder.file(), file(&header(2, 64), &records, 5)).unwrap();
    let narrow = HostWheel::manual(Config { max_hosts: 2, ..config() }, |_: &Event| Verdict::Done).unwrap();
    narrow.advance(secs(86_400)).unwrap();
    narrow.restore(folder.file()).unwrap_err();
    narrow.snapshot(folder.file()).unwrap();
    let bytes = fs::read(folder.file()).unwrap();
    let missed = |id: &[u8]| bytes[bytes.windows(id.len()).position(|at| at == id).unwrap() - 4];
    assert_eq!((missed(b"patient"), missed(b"suspect")), (2, 3));
}

#[test]
fn a_full_or_closed_wheel_says_so() {
    let folder = Folder::new();
    let wheel = quiet();
    for n in 0..100 {
        wheel.announce(format!("host-{n}"), secs(60)).unwrap();
    }
    wheel.snapshot(folder.file()).unwrap();
    wheel.close(secs(1)).unwrap();
    assert!(matches!(refused_path(&wheel, &folder.file()), RestoreError::Closed));
    assert_eq!(wheel.snapshot(folder.file()).unwrap(), 100, "the final state may be written");

    let narrow = HostWheel::manual(Config { max_hosts: 10, ..config() }, |_: &Event| Verdict::Done).unwrap();
    narrow.announce("other", secs(60)).unwrap();
    let error = narrow.restore(folder.file()).unwrap_err();
    assert!(matches!(error, RestoreError::Full { restored: 9 }), "{error}");
    assert_eq!(hosts(&narrow).len(), 10);
}

#[test]
fn a_file_written_to_while_it_is_restored_is_found_out() {
    let folder = Folder::new();
    let wheel = quiet();
    for n in 0..20_000 {
        wheel.announce(format!("host-{n}"), secs(60)).unwrap();
    }
    wheel.snapshot(folder.file()).unwrap();
    let restarted = quiet();
    let mut mapped = 0;
    let result = restarted.restore_with(folder.file(), |_, user_data| {
        if mapped == 0 {
            OpenOptions::new().write(true).open(folder.file()).unwrap().set_len(300_000).unwrap();
        }
        mapped += 1;
        user_data
    });
    let error = result.unwrap_err();
    assert!(matches!(error, RestoreError::Changed { restored } if restored == mapped), "{error}");
    assert!((1..20_000).contains(&mapped));
    // To replace it is another thing.
    wheel.snapshot(folder.file()).unwrap();
    let result = quiet().restore_with(folder.file(), |_, user_data| {
        let _ = fs::remove_file(folder.file());
        user_data
    });
    assert_eq!(result.unwrap().hosts, 20_000);
}

#[test]
fn what_cannot_be_written_leaves_what_was_there() {
    if let Some(path) = std::env::var_os(ROLE) {
        return write_with_little_room(Path::new(&path));
    }
    let folder = Folder::new();
    let whole = small_file(&folder);
    let wheel = quiet();
    let failed = |path: &Path, expected: &str| match wheel.snapshot(path) {
        Err(SnapshotError::Io { step, .. }) if step.contains(expected) => {}
        other => panic!("{other:?}"),
    };
    failed(&folder.0.join("missing").join("file"), "open the snapshot's folder");
    failed(&folder.file().join("file"), "create a temporary");
    failed(Path::new("/"), "names no file");
    failed(Path::new(""), "names no file");
    failed(&folder.0.join("n".repeat(255)), "create a temporary");
    fs::create_dir(folder.0.join("folder")).unwrap();
    failed(&folder.0.join("folder"), "rename");
    let status = child("what_cannot_be_written_leaves_what_was_there", &folder.file()).wait().unwrap();
    assert!(status.success());
    assert_eq!(fs::read(folder.file()).unwrap(), whole);
    assert_eq!(folder.names(), ["folder", "hosts.snap"]);
}

/// In a process of its own, as no file of it may grow beyond 100 kB.
fn write_with_little_room(path: &Path) {
    let limit = libc::rlimit { rlim_cur: 100_000, rlim_max: 100_000 };
    // SAFETY: both take plain values, and `limit` lives.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
    let wheel = quiet();
    for n in 0..10_000 {
        wheel.announce(format!("host-{n}"), secs(60)).unwrap();
    }
    let error = wheel.snapshot(path).unwrap_err();
    assert!(matches!(&error, SnapshotError::Io { step: "write the temporary file", .. }), "{error}");
}

/// This program again, for one test, told by the environment to play its other role.
fn child(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn temporaries_that_nobody_writes_are_removed_and_no_others() {
    let folder = Folder::new();
    let names = [".hosts.snap.1.0.tmp", ".hosts.snap.4000000000.7.tmp", ".hosts.snap.old.tmp", ".other.1.0.tmp"];
    for name in names {
        fs::write(folder.0.join(name), "left over").unwrap();
    }
    let written = File::create(folder.0.join(".hosts.snap.2.0.tmp")).unwrap();
    // SAFETY: takes plain numbers; the descriptor is open.
    assert_eq!(unsafe { libc::flock(written.as_raw_fd(), libc::LOCK_EX) }, 0);
    small_file(&folder);
    assert_eq!(folder.names(), [".hosts.snap.2.0.tmp", ".hosts.snap.old.tmp", ".other.1.0.tmp", "hosts.snap"]);
    // Not by closing it: another test may start a process just now, which has it until it runs its own program.
    // SAFETY: as above.
    assert_eq!(unsafe { libc::flock(written.as_raw_fd(), libc::LOCK_UN) }, 0);
    drop(written);
    small_file(&folder);
    assert_eq!(folder.names(), [".hosts.snap.old.tmp", ".other.1.0.tmp", "hosts.snap"]);
}

#[test]
fn announces_and_other_snapshots_go_on_while_one_is_written() {
    const STAYING: u64 = 5000;
    let folder = Folder::new();
    let wheel = HostWheel::start(Config::default(), |_: &Event| Verdict::Done).unwrap();
    let stays = |n| format!("staying-{n}");
    for n in 0..STAYING {
        wheel.announce_with(stays(n), secs(600), Duration::ZERO, n).unwrap();
    }
    let stop = AtomicBool::new(false);
    let announce = || {
        // New ones make the index grow, and go again.
        for n in (0..20_000).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
            wheel.announce(format!("passing-{n}"), secs(600)).unwrap();
            assert_eq!(wheel.announce(stays(n % STAYING), secs(600)).unwrap().outcome, Outcome::Renewed);
            if n >= 10_000 {
                let _ = wheel.leave(format!("passing-{}", n - 10_000));
            }
        }
    };
    let snapshots = || (0..10).for_each(|_| assert!(wheel.snapshot(folder.file()).unwrap() >= STAYING));
    let snapshots_and_restores = || {
        for _ in 0..10 {
            wheel.snapshot(folder.file()).unwrap();
            let restarted = quiet();
            restarted.restore(folder.file()).unwrap();
            for n in 0..STAYING {
                let handle = restarted.find(stays(n)).expect("a host that was known throughout");
                assert_eq!(restarted.inspect(handle).unwrap().user_data, n);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(announce);
        let others = [scope.spawn(snapshots), scope.spawn(snapshots_and_restores)];
        let results = others.map(|other| other.join());
        stop.store(true, Ordering::Relaxed);
        results.into_iter().for_each(Result::unwrap);
    });
    assert_eq!(folder.names(), ["hosts.snap"]);
    wheel.close(secs(60)).unwrap();
}
