//! The conformance traces on the C ABI, by a runner in C.

mod build;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use build::{build_shared, gcc, gxx, run, scratch, text, top};

/// All traces, those by hand first.
fn traces() -> Vec<PathBuf> {
    let mut traces = Vec::new();
    for folder in ["hand", "generated"] {
        let folder = top().join("tests/conformance").join(folder);
        let entries =
            std::fs::read_dir(folder).expect("the folder exists").map(|entry| entry.expect("readable").path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "trace")).collect();
        files.sort();
        traces.extend(files);
    }
    traces
}

fn runner_source() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/runner/conformance.c")
}

/// The runner as C99, built once.
fn runner() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    Command::new(BUILT.get_or_init(|| {
        let program = scratch("conformance").join("conformance");
        build_shared(gcc(), &runner_source(), &program);
        program
    }))
}

/// What the runner must print: it has every feature but snapshots.
fn passed_and_skipped(traces: &[PathBuf]) -> String {
    let needs_a_snapshot = |trace: &&PathBuf| {
        let text = std::fs::read_to_string(trace).expect("readable");
        text.lines().any(|line| line.starts_with("needs ") && line.contains("snapshot"))
    };
    let skipped = traces.iter().filter(needs_a_snapshot).count();
    assert!(skipped > 0, "one that is skipped");
    format!("{} passed, {skipped} skipped\n", traces.len() - skipped)
}

#[test]
fn the_c_abi_passes_every_trace() {
    let traces = traces();
    assert!(traces.len() >= 300, "{} traces", traces.len());
    assert_eq!(text(&run(runner().args(&traces))), passed_and_skipped(&traces));
}

#[test]
fn the_runner_is_cpp_as_well() {
    let program = scratch("conformance-cpp").join("conformance");
    build_shared(gxx(), &runner_source(), &program);
    let traces = traces();
    assert_eq!(text(&run(Command::new(&program).args(&traces))), passed_and_skipped(&traces));
}

/// Every kind of operation and event, in a trace that passes.
const TRACE: &str = "\
hostwheel-trace 1
needs guards queue
config grace_ms=1000
announce id=61 interval=1000 age=0 data=7 -> registered handle=h1 interval=1000 clamped=0
announce id=62 interval=9 -> registered handle=h2 interval=1000 clamped=1
announce id=62 interval=5000 -> renewed handle=h2
renew handle=h1 age=0 -> renewed
find id=61 -> ok handle=h1
find id=63 -> error:not_found
advance to=2000 -> ok events=1
  event suspect handle=h1 id=61 reason=ttl attempt=1 superseded=0 data=7 interval=1000 last_seen=0 deadline=2000 now=2000 lateness=0 away=0 held=0
inspect handle=h1 -> suspect handle=h1 data=7 interval=1000 last_seen=0 age=2000 deadline=2000 leaves_at=3000 suspect_since=2000 held_since=none held_by=no
renew handle=h1 -> recovered
advance_undrained to=2001 -> ok made=1
drain -> ok events=1
  event recovered handle=h1 last_seen=2000
leave id=62 -> ok data=0
leave_handle handle=h2 -> error:stale
advance to=5000 -> ok events=2
  event suspect handle=h1
  event leave handle=h1 attempt=1 deadline=4000
settle handle=h1 attempt=1 retry=10 -> ok
settle handle=h1 attempt=1 -> error:attempt
stats -> ok live=0 left=1 leaves_ttl=1 recoveries=1 now=5000
release -> ok
close -> ok
";

/// A change of one expectation, where the runner must see it, and what it must say.
const PLANTED: [(&str, &str, usize, &str); 18] = [
    ("handle=h1 interval=1000 clamped=0", "handle=h1 interval=1001 clamped=0", 4, "interval: expected 1001"),
    ("clamped=1", "clamped=0", 5, "clamped: expected 0"),
    ("-> renewed handle=h2", "-> renewed handle=h1", 6, "handle: expected h1"),
    ("age=0 -> renewed", "age=0 -> recovered", 7, "expected recovered"),
    ("-> ok handle=h1", "-> ok handle=h2", 8, "handle: expected h2"),
    ("error:not_found", "error:stale", 9, "expected error:stale"),
    ("events=1\n  event suspect", "events=2\n  event suspect", 10, "events: expected 2"),
    ("event suspect handle=h1 id=61", "event leave handle=h1 id=61", 11, "no event leave"),
    ("event suspect handle=h1 id=61", "event suspect handle=h2 id=61", 11, "no event suspect"),
    ("reason=ttl attempt=1", "reason=host_ttl attempt=1", 11, "reason: expected host_ttl"),
    ("lateness=0 away=0", "lateness=1 away=0", 11, "lateness: expected 1"),
    ("leaves_at=3000", "leaves_at=3001", 12, "leaves_at: expected 3001"),
    ("made=1", "made=0", 14, "made: expected 0"),
    ("  event recovered handle=h1 last_seen=2000\n", "", 15, "an event that was not expected"),
    ("attempt=1 deadline=4000", "attempt=2 deadline=4000", 21, "attempt: expected 2"),
    ("attempt=1 -> error:attempt", "attempt=1 -> ok", 23, "expected ok, got error:attempt"),
    ("recoveries=1", "recoveries=0", 24, "recoveries: expected 0"),
    ("hostwheel-trace 1", "hostwheel-trace 2", 1, "a trace begins with"),
];

#[test]
fn a_planted_difference_is_found_with_file_and_line() {
    let folder = scratch("conformance-planted");
    let good = folder.join("good.trace");
    std::fs::write(&good, TRACE).expect("the folder is writable");
    assert_eq!(text(&run(runner().arg(&good))), "1 passed, 0 skipped\n");
    for (n, (from, to, line, said)) in PLANTED.into_iter().enumerate() {
        assert_eq!(TRACE.matches(from).count(), 1, "{from}");
        let planted = folder.join(format!("{n}.trace"));
        std::fs::write(&planted, TRACE.replace(from, to)).expect("the folder is writable");
        let output = runner().arg(&good).arg(&planted).output().expect("it ran before");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{from} as {to}: {err}");
        assert!(err.starts_with(&format!("{}:{line}: {said}", planted.display())), "{from} as {to}: {err}");
    }
}

#[test]
fn a_trace_of_nothing_does_not_pass() {
    let empty = scratch("conformance-empty").join("empty.trace");
    for text in ["", "hostwheel-trace 1\n", "# nothing\nhostwheel-trace 1\nconfig grace_ms=1\n"] {
        std::fs::write(&empty, text).expect("the folder is writable");
        assert_eq!(runner().arg(&empty).output().expect("it runs").status.code(), Some(1), "{text:?}");
    }
    assert_eq!(runner().output().expect("it runs").status.code(), Some(2), "no file");
}
