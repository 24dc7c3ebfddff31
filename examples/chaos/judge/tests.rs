//! A judge that cannot find anything shows nothing: each promise broken once.

use super::*;

const MS: u64 = 1_000_000;
const HANDLE: u64 = 0x1_0000_0007;

/// One scheduler from 0 to 30 s, with callbacks and the counter's exactness, whose wheel time is the machine's. Host 7
/// announces itself every 500 ms until 10 s, when it is killed, and leaves at 11.5 s; host 8 lives on.
fn history() -> History {
    let mut epoch = Epoch { ended_ns: Some(30_000 * MS), ..Epoch::default() };
    let mut history = History { running: vec![8], ..History::default() };
    for ms in (500..=29_900).step_by(500) {
        for host in [7, 8] {
            if host == 8 || ms <= 10_000 {
                let at_ns = ms * MS;
                epoch.heard.push(Heard {
                    at_ns,
                    at_wheel: at_ns,
                    host,
                    incarnation: 1,
                    sequence: ms / 500,
                    interval_ms: 500,
                    handle: HANDLE + host - 7,
                    outcome: if ms == 500 { REGISTERED } else { crate::observation::RENEWED },
                    last_seen_wheel: at_ns,
                    leaves_at_wheel: at_ns + 1500 * MS,
                });
                let sequence = (ms / 500) as u32;
                let passage = Passage { at_ns, host: host as u32, incarnation: 1, sequence, dropped: false };
                history.passages.push(passage);
            }
        }
    }
    for ms in (0..=30_000).step_by(100) {
        let (at, resident_kib) = (ms * MS, 4000);
        let (descriptors, threads) = (12, 4);
        let sample = Sample {
            before_ns: at,
            after_ns: at,
            at_wheel: at,
            resident_kib,
            descriptors,
            threads,
            ..Sample::default()
        };
        epoch.samples.push(sample);
    }
    epoch.events = vec![event(SUSPECT, 11_000), event(LEAVE, 11_500)];
    (epoch.kept, epoch.known) = (vec![8], vec![8]);
    history.deed(7, 10_000 * MS, DeedKind::Kill);
    history.epochs.push(epoch);
    history
}

fn event(kind: u64, ms: u64) -> Event {
    Event {
        at_ns: ms * MS,
        host: 7,
        kind,
        reason: 1,
        handle: HANDLE,
        attempt: u64::from(kind == LEAVE),
        last_seen_wheel: 10_000 * MS,
        deadline_wheel: 11_000 * MS,
        now_wheel: ms * MS,
        ..Event::default()
    }
}

/// The promises that the judge finds broken, without repetition.
fn broken(change: impl FnOnce(&mut History)) -> Vec<Promise> {
    let mut history = history();
    change(&mut history);
    let mut promises: Vec<Promise> = judge(&history, 100).breaches.iter().map(|breach| breach.promise).collect();
    promises.sort_unstable();
    promises.dedup();
    promises
}

fn epoch(history: &mut History) -> &mut Epoch {
    &mut history.epochs[0]
}

#[test]
fn a_good_run_breaks_nothing_and_its_death_is_explained() {
    assert_eq!(broken(|_| {}), []);
    let verdict = judge(&history(), 100);
    assert_eq!((verdict.lives, verdict.detections.len()), (2, 1));
    assert_eq!(verdict.detections[0].cause, Cause::Killed);
    assert_eq!(verdict.detections[0].after, Duration::from_millis(1500));
}

#[test]
fn an_early_leave_is_found() {
    assert_eq!(broken(|h| epoch(h).events[1] = event(LEAVE, 11_499)), [Promise::NeverEarly]);
    // One that goes by an older announce than the last.
    let older = Event { last_seen_wheel: 9_500 * MS, ..event(LEAVE, 11_500) };
    assert_eq!(broken(|h| epoch(h).events[1] = older), [Promise::NeverEarly]);
}

#[test]
fn a_stamp_before_the_announce_is_found() {
    let stamped = |clock, early_ns| {
        broken(|h| {
            epoch(h).clock = clock;
            let heard = epoch(h).heard.last_mut().expect("host 8's");
            heard.last_seen_wheel -= early_ns;
            heard.leaves_at_wheel -= early_ns;
        })
    };
    for clock in [Clock::Counter, Clock::Precise] {
        assert_eq!(stamped(clock, 1), [Promise::NeverEarly], "{clock:?}");
    }
    // The coarse clock's may lag.
    assert_eq!(stamped(Clock::Coarse, COARSE_LAG_NS), []);
    assert_eq!(stamped(Clock::Coarse, COARSE_LAG_NS + 1), [Promise::NeverEarly]);
}

#[test]
fn a_leave_of_a_host_whose_announce_was_in_the_socket_is_found() {
    let arrived = |ms: u64, dropped| {
        broken(|h| h.passages.push(Passage { at_ns: ms * MS, host: 7, incarnation: 1, sequence: 21, dropped }))
    };
    assert_eq!(arrived(10_600, false), [Promise::NeverFalse]);
    // Lost on the way, or too late to be read in time.
    assert_eq!(arrived(10_600, true), []);
    assert_eq!(arrived(11_480, false), []);
}

#[test]
fn a_missing_leave_is_found_at_the_end_and_in_the_middle() {
    let missing = broken(|h| {
        epoch(h).events.clear();
        epoch(h).known.push(7);
    });
    assert_eq!(missing, [Promise::NeverLost, Promise::TableFollows]);
    let late = broken(|h| {
        let after = Heard { at_ns: 13_000 * MS, at_wheel: 13_000 * MS, outcome: 2, ..epoch(h).heard[0] };
        let after = Heard { last_seen_wheel: after.at_wheel, leaves_at_wheel: after.at_wheel + 1500 * MS, ..after };
        epoch(h).events = vec![event(SUSPECT, 14_000), Event { last_seen_wheel: 13_000 * MS, ..event(LEAVE, 14_500) }];
        epoch(h).heard.push(after);
    });
    assert_eq!(late, [Promise::NeverLost]);
}

#[test]
fn a_host_that_no_snapshot_brings_back_is_found_and_one_that_gets_no_time() {
    let restart = |hosts: &[u64], leaves_at_ms: u64| {
        broken(|h| {
            let restored = hosts.iter().map(|host| Heard {
                host: *host,
                incarnation: 1,
                interval_ms: 500,
                handle: 99,
                outcome: RESTORED,
                leaves_at_wheel: leaves_at_ms * MS,
                ..Heard::default()
            });
            let next = Epoch { restored: restored.collect(), ..Epoch::default() };
            (epoch(h).ended_ns, h.running) = (None, Vec::new());
            h.epochs.push(next);
        })
    };
    assert_eq!(restart(&[8], 1000), []);
    assert_eq!(restart(&[8], 999), [Promise::NeverEarly]);
    assert_eq!(restart(&[], 1000), [Promise::NeverLost]);
}

#[test]
fn a_second_leave_is_found_and_so_is_a_retry_that_comes_early() {
    let second = |answer, retry_after_ms, ms| {
        broken(|h| {
            let first = Event { answer, retry_after_ms, ..event(LEAVE, 11_500) };
            epoch(h).events.splice(1.., [first, Event { attempt: 2, ..event(LEAVE, ms) }]);
        })
    };
    assert_eq!(second(DONE, 0, 12_000), [Promise::ExactlyOnce]);
    assert_eq!(second(RETRY, 500, 12_000), []);
    assert_eq!(second(RETRY, 500, 11_999), [Promise::RetriesWait]);
    assert_eq!(second(NOTHING, 0, 13_499), [Promise::RetriesWait]);
    // Asked for, and it never came.
    let never = broken(|h| epoch(h).events[1].answer = RETRY);
    assert_eq!(never, [Promise::NeverLost]);
}

#[test]
fn handles_suspects_and_goodbyes_are_followed() {
    assert_eq!(broken(|h| epoch(h).heard[4].outcome = REGISTERED), [Promise::OneHandle]);
    assert_eq!(broken(|h| epoch(h).events[1].handle = 99), [Promise::NeverLost, Promise::OneHandle]);
    assert_eq!(broken(|h| epoch(h).events[0].kind = 2), [Promise::SuspectFirst]);
    let left = Left { at_ns: 10_500 * MS, host: 7, handle: HANDLE };
    assert_eq!(broken(|h| epoch(h).left.push(left)), [Promise::GoodbyeIsSilent]);
}

#[test]
fn the_scheduler_itself_is_judged() {
    assert_eq!(broken(|h| epoch(h).samples[9].at_wheel += 1), [Promise::TimeNeverAhead]);
    assert_eq!(broken(|h| epoch(h).samples[9].rescues = 1), [Promise::NoRescue]);
    assert_eq!(broken(|h| epoch(h).events[1].reason = BACKSTOP), [Promise::NoRescue]);
    assert_eq!(broken(|h| epoch(h).kept.push(7)), [Promise::TableFollows]);
    assert_eq!(broken(|h| epoch(h).broken.push("an error".to_owned())), [Promise::CallsAnswer]);
    let full = crate::observation::Full { at_ns: 0, live: 50, outstanding: 0, records: 140 };
    assert_eq!(broken(|h| epoch(h).full.push(full)), [Promise::FullWhenFull]);
}

#[test]
fn growth_is_found() {
    let grown = |of: fn(&mut Sample)| broken(|h| epoch(h).samples[220..].iter_mut().for_each(of));
    assert_eq!(grown(|sample| sample.resident_kib += GROWTH_KIB + 1), [Promise::Flat]);
    assert_eq!(grown(|sample| sample.descriptors += 1), [Promise::Flat]);
    assert_eq!(grown(|sample| sample.threads += 1), [Promise::Flat]);
    assert_eq!(grown(|sample| sample.resident_kib += GROWTH_KIB), []);
}
