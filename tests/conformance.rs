//! The conformance suite: text traces, which every implementation must pass, run on this one.
//!
//! `conformance/README.md` describes the format. Traces in `conformance/hand` each show a promise, an error or a failure that
//! other systems had; those in `conformance/generated` are written by the oracle, and kept so by a test. To write them again:
//! `cargo test --test conformance generate -- --ignored`.

#[path = "conformance/generator.rs"]
mod generator;
#[path = "conformance/library.rs"]
mod library;
mod oracle;
#[path = "conformance/runner.rs"]
mod runner;
#[path = "conformance/specification.rs"]
mod specification;
#[path = "conformance/trace.rs"]
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use library::Library;
use runner::{Ran, Subject, run};
use specification::{Reversed, Specification};
use trace::{Expected, Op, Step, Trace};

/// What only an implementation with guards and a queue of its own can tell.
const UNKNOWN_TO_THE_ORACLE: [&str; 7] =
    ["held", "held_by", "held_since", "silences", "silence", "brake", "lateness_max"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
}

/// The traces of a folder, by name.
fn read(name: &str) -> Vec<Trace> {
    let entries = std::fs::read_dir(folder(name)).expect("the folder exists").map(|entry| entry.expect("readable"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let trace = |file: &PathBuf| {
        let file_name = file.file_name().and_then(|file_name| file_name.to_str()).expect("names are plain");
        assert!(file_name.ends_with(".trace"), "{file_name} does not belong here");
        let text = std::fs::read_to_string(file).expect("readable");
        assert!(text.starts_with("# "), "{file_name} does not say what it shows");
        Trace::parse(&format!("tests/conformance/{name}/{file_name}"), &text).unwrap_or_else(|wrong| panic!("{wrong}"))
    };
    files.iter().map(trace).collect()
}

fn all() -> Vec<Trace> {
    [read("hand"), read("generated")].concat()
}

/// Runs all; all differences are shown before it fails. Returns how many were skipped.
#[track_caller]
fn run_all<S: Subject>(traces: &[Trace], features: &[&str]) -> usize {
    let results: Vec<_> = traces.iter().map(|trace| run::<S>(trace, features)).collect();
    let differences: Vec<&str> =
        results.iter().filter_map(|result| result.as_ref().err().map(String::as_str)).collect();
    assert!(differences.is_empty(), "{} traces differ:\n{}", differences.len(), differences.join("\n"));
    results.iter().filter(|result| **result == Ok(Ran::Skipped)).count()
}

#[test]
fn the_library_passes_every_trace() {
    let traces = all();
    let skipped = run_all::<Library>(&traces, Library::FEATURES);
    println!("{} traces, {skipped} skipped", traces.len());
    assert_eq!(skipped, 0, "the library has every feature");
}

#[test]
fn there_are_many_traces_and_many_by_hand() {
    let (hand, generated) = (read("hand").len(), read("generated").len());
    assert!(hand >= 40 && hand + generated >= 300, "{hand} by hand, {generated} generated");
}

#[test]
fn the_oracle_passes_every_trace_in_any_order_of_events() {
    let mut traces = all();
    for trace in &mut traces {
        for step in &mut trace.steps {
            let expected = std::iter::once(&mut step.answer).chain(&mut step.events);
            expected.for_each(|line| line.fields.retain(|(key, _)| !UNKNOWN_TO_THE_ORACLE.contains(&key.as_str())));
        }
    }
    let skipped = run_all::<Specification>(&traces, Specification::FEATURES);
    assert_eq!(run_all::<Reversed>(&traces, Reversed::FEATURES), skipped);
    println!("{} traces, {skipped} skipped", traces.len());
    assert!(skipped < 30, "most traces need no feature that the oracle lacks");
}

#[test]
fn a_runner_skips_what_it_lacks_and_counts_it() {
    let traces = read("hand");
    let needy = |feature| traces.iter().filter(|trace| trace.needs.iter().any(|needed| needed == feature)).count();
    for lacking in trace::FEATURES {
        let rest: Vec<&str> = trace::FEATURES.into_iter().filter(|feature| *feature != lacking).collect();
        assert_eq!(run_all::<Library>(&traces, &rest), needy(lacking), "without {lacking}");
        assert!(needy(lacking) > 0, "no trace needs {lacking}");
    }
}

/// Where a difference was planted: the operation or the event, and its word, one of its fields, or its events.
type Tried = BTreeSet<(String, String)>;

/// Changes one expectation after the other, each of a kind not seen before. Each must be found, on its line.
fn plant(trace: &Trace, tried: &mut Tried) {
    for (at, step) in trace.steps.iter().enumerate() {
        let operation = step.op.name().to_owned();
        plant_in_line(trace, &operation, &step.answer, tried, |trace| &mut trace.steps[at].answer);
        for (n, event) in step.events.iter().enumerate() {
            let place = format!("event {}", event.word);
            plant_in_line(trace, &place, event, tried, |trace| &mut trace.steps[at].events[n]);
        }
        if let Some(last) = step.events.last() {
            let events = |trace: &mut Trace| std::mem::take(&mut trace.steps[at].events);
            plant_one(trace, (&operation, "an event too many"), step.answer.line, tried, |trace| {
                trace.steps[at].events = events(trace).split_last().expect("there is one").1.to_vec();
            });
            plant_one(trace, (&operation, "an event too few"), last.line, tried, |trace| {
                trace.steps[at].events = [events(trace), vec![last.clone()]].concat();
            });
        }
    }
}

fn plant_in_line(
    trace: &Trace,
    place: &str,
    expected: &Expected,
    tried: &mut Tried,
    line: impl Fn(&mut Trace) -> &mut Expected,
) {
    let word = format!("word {}", expected.word);
    plant_one(trace, (place, &word), expected.line, tried, |trace| line(trace).word = "other".into());
    for (n, (key, value)) in expected.fields.iter().enumerate() {
        let other = if key == "handle" { another_handle(trace, expected) } else { Some(format!("{value}1")) };
        if let Some(other) = other {
            let change = |trace: &mut Trace| line(trace).fields[n].1.clone_from(&other);
            plant_one(trace, (place, key), expected.line, tried, change);
        }
    }
}

/// A name that is bound before the line and is not the expected one; none where the line is one of several events, as
/// the changed one could stand for another of them.
fn another_handle(trace: &Trace, expected: &Expected) -> Option<String> {
    let among_events = |step: &Step| step.events.len() > 1 && step.events.contains(expected);
    if trace.steps.iter().any(among_events) {
        return None;
    }
    let before = trace.steps.iter().map(|step| &step.answer).take_while(|answer| answer.line < expected.line);
    let mut names = before.filter_map(|answer| answer.field("handle"));
    names.find(|name| Some(*name) != expected.field("handle")).map(str::to_owned)
}

fn plant_one(trace: &Trace, (place, what): (&str, &str), line: usize, tried: &mut Tried, change: impl Fn(&mut Trace)) {
    if !tried.insert((place.to_owned(), what.to_owned())) {
        return;
    }
    let mut changed = trace.clone();
    change(&mut changed);
    let where_planted = format!("{}:{line}: ", trace.name);
    match run::<Library>(&changed, Library::FEATURES) {
        Ok(ran) => panic!("{place}, {what}: {ran:?} though planted at {where_planted}"),
        Err(difference) => assert!(difference.starts_with(&where_planted), "{place}, {what}: {difference}"),
    }
}

#[test]
fn every_kind_of_planted_difference_is_found() {
    let mut tried = Tried::new();
    all().iter().for_each(|trace| plant(trace, &mut tried));
    let tried = |place: &str, what: &str| tried.contains(&(place.to_owned(), what.to_owned()));
    for (place, words, fields) in [
        ("open", "ok error:config", ""),
        ("announce", "registered renewed recovered error:id_length error:full error:closed", "handle interval clamped"),
        ("renew", "renewed recovered error:stale error:taken error:closed", ""),
        ("leave", "ok error:id_length error:not_found error:closed", "data"),
        ("leave_handle", "ok error:stale error:taken error:closed", "data"),
        ("find", "ok error:id_length error:not_found", "handle"),
        (
            "inspect",
            "live suspect taken error:stale",
            "data interval last_seen age deadline leaves_at suspect_since held_since held_by handle",
        ),
        ("advance", "ok error:closed error:mode", "events"),
        ("advance_undrained", "ok", "made"),
        ("drain", "ok", "events"),
        ("settle", "ok error:stale error:attempt error:mode error:closed", ""),
        (
            "stats",
            "ok",
            "live suspect registered left leaves_ttl leaves_host_ttl suspects recoveries retries superseded clamps rescues \
             outstanding waiting silences silence brake away now lateness_max",
        ),
        ("release", "ok error:closed", ""),
        ("close", "ok", ""),
        ("restart", "ok", "written restored"),
        ("event suspect", "suspect", EVENT_FIELDS),
        ("event recovered", "recovered", EVENT_FIELDS),
        ("event leave", "leave", EVENT_FIELDS),
    ] {
        words.split(' ').for_each(|word| assert!(tried(place, &format!("word {word}")), "{place} -> {word}"));
        fields.split_whitespace().for_each(|field| assert!(tried(place, field), "{place} -> {field}="));
    }
    assert!(tried("advance", "an event too many") && tried("advance", "an event too few"));
}

const EVENT_FIELDS: &str =
    "handle id reason attempt superseded data interval last_seen deadline now lateness away held";

#[test]
fn malformed_traces_are_refused_and_name_their_line() {
    for (line, text) in [
        (1, "hostwheel-trace 2\nclose -> ok"),
        (1, "close -> ok"),
        (2, "hostwheel-trace 1\nconfig grace=1\nclose -> ok"),
        (2, "hostwheel-trace 1\nconfig silence_expected=20\nclose -> ok"),
        (3, "hostwheel-trace 1\nclose -> ok\nneeds guards"),
        (2, "hostwheel-trace 1\nrelease -> ok"),
        (2, "hostwheel-trace 1\nclose"),
        (2, "hostwheel-trace 1\nclose ->"),
        (2, "hostwheel-trace 1\nvanish -> ok"),
        (2, "hostwheel-trace 1\nannounce id=61 -> registered"),
        (2, "hostwheel-trace 1\nannounce id=6 interval=1 -> registered"),
        (2, "hostwheel-trace 1\nannounce id=6A interval=1 -> registered"),
        (2, "hostwheel-trace 1\nadvance to=007 -> ok"),
        (2, "hostwheel-trace 1\nadvance to=7 by=1 -> ok"),
        (2, "hostwheel-trace 1\n  event leave handle=h1"),
        (3, "hostwheel-trace 1\nadvance to=7 -> ok\n  event leave id=61"),
    ] {
        let wrong = Trace::parse("a.trace", text).expect_err(text);
        assert!(wrong.starts_with(&format!("a.trace:{line}: ")), "{text:?}: {wrong}");
    }
    assert!(Trace::parse("a.trace", "hostwheel-trace 1\n# nothing\n").is_err(), "a trace of nothing");
    let unbound = Trace::parse("a.trace", "hostwheel-trace 1\nrenew handle=h1 -> renewed").unwrap();
    assert_eq!(run::<Library>(&unbound, &[]), Err("a.trace:2: h1 was not bound".into()));
}

#[test]
fn a_handle_given_out_twice_is_found() {
    let text = "hostwheel-trace 1\n\
                announce id=61 interval=1000 -> registered handle=h1\n\
                announce id=61 interval=1000 -> renewed handle=h1\n\
                find id=61 -> ok handle=h2\n";
    let trace = Trace::parse("a.trace", text).unwrap();
    assert_eq!(run::<Library>(&trace, &[]), Err("a.trace:4: handle: expected h2, got h1".into()));
}

#[test]
fn what_is_written_is_read_back() {
    for generated in generator::all() {
        let read = Trace::parse(&generated.name, &generated.to_string()).expect("well-formed");
        assert_eq!(read.to_string(), generated.to_string());
        assert_eq!((read.needs, read.settings), (generated.needs, generated.settings));
    }
}

#[test]
fn the_committed_traces_are_those_that_the_oracle_generates() {
    let committed = read("generated");
    let generated = generator::all();
    assert_eq!(committed.len(), generated.len());
    for (committed, generated) in committed.iter().zip(&generated) {
        let file = folder("generated").join(&generated.name);
        assert_eq!(committed.name, format!("tests/conformance/generated/{}", generated.name));
        let text = std::fs::read_to_string(file).expect("it was just read");
        assert_eq!(text, generator::file(generated), "{}: generate it anew", generated.name);
    }
}

#[test]
fn generated_traces_stay_short_and_cover_what_they_are_for() {
    let mut seen = BTreeMap::<String, usize>::new();
    for trace in generator::all() {
        let lines = generator::file(&trace).lines().count();
        assert!(lines <= 60, "{} has {lines} lines", trace.name);
        for step in &trace.steps {
            *seen.entry(format!("{} {}", step.op.name(), step.answer.word)).or_default() += 1;
            step.events.iter().for_each(|event| *seen.entry(event.word.clone()).or_default() += 1);
            if let Op::Announce { age_ms: 1.., .. } = step.op {
                *seen.entry("aged".into()).or_default() += 1;
            }
            for expected in std::iter::once(&step.answer).chain(&step.events) {
                for special in [("superseded", "1"), ("clamped", "1"), ("reason", "host_ttl"), ("attempt", "3")] {
                    let has = expected.field(special.0) == Some(special.1);
                    *seen.entry(special.0.into()).or_default() += usize::from(has);
                }
                let away = expected.field("away").is_some_and(|away| away != "0");
                *seen.entry("away".into()).or_default() += usize::from(away);
            }
        }
    }
    for what in [
        "announce registered",
        "announce renewed",
        "announce recovered",
        "announce error:full",
        "renew renewed",
        "renew recovered",
        "renew error:stale",
        "renew error:taken",
        "leave ok",
        "leave error:not_found",
        "leave_handle ok",
        "inspect live",
        "inspect suspect",
        "inspect taken",
        "inspect error:stale",
        "settle ok",
        "settle error:stale",
        "settle error:attempt",
        "suspect",
        "recovered",
        "leave",
        "aged",
        "superseded",
        "clamped",
        "reason",
        "attempt",
        "away",
    ] {
        let times = seen.get(what).copied().unwrap_or(0);
        assert!(times >= 20, "{what}: {times} times");
    }
}

/// Writes `conformance/generated` anew.
#[test]
#[ignore = "it changes the repository"]
fn generate() {
    let folder = folder("generated");
    std::fs::remove_dir_all(&folder).expect("it exists");
    std::fs::create_dir(&folder).expect("it was just removed");
    for trace in generator::all() {
        std::fs::write(folder.join(&trace.name), generator::file(&trace)).expect("the folder is writable");
    }
}
