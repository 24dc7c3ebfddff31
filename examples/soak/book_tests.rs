//! A judge that cannot fail shows nothing: each fault is planted here, and must be noticed, as what it is.

use super::*;

const LASTS: u64 = 3_000 * MS;
const BOUND: u64 = 1_000 * MS;

/// A book in which host 0 was heard at second 1, as `handle(1)`.
fn book() -> Book {
    let bench = Bench {
        name: "test",
        handles: Arc::new(Handles::new(16)),
        breaches: Arc::default(),
        lateness: Arc::new(Mutex::new(Histogram::new_with_bounds(1, 60_000_000, 2).expect("good bounds"))),
        bound_ns: BOUND,
    };
    let mut book = Book::new(2, bench);
    book.accepted(0, at(1000), LASTS, handle(1), Outcome::Registered);
    book
}

fn handle(generation: u64) -> u64 {
    generation << 32 | 7
}

/// Both clocks show the same.
fn at(ms: u64) -> Moment {
    Moment { before_ns: ms * MS, lag_ns: 0, wheel_ns: ms * MS, wheel_after_ns: ms * MS }
}

fn leave(generation: u64, attempt: u32, ms: u64) -> Leave {
    let (at_ns, handle) = (ms * MS, handle(generation));
    Leave { host: 0, handle, attempt, at_ns, wheel_ns: at_ns, away_ns: 0, held_ns: 0, answer: Answer::Done }
}

/// What the book found.
fn found(book: &Book) -> Vec<Promise> {
    Promise::ALL.into_iter().filter(|promise| book.bench.breaches.times(*promise) > 0).collect()
}

#[test]
fn a_host_that_leaves_in_time_comes_back_and_says_goodbye_breaks_nothing() {
    let mut book = book();
    book.accepted(0, at(2000), LASTS, handle(1), Outcome::Renewed);
    assert!(book.left(&Leave { answer: Answer::Again { after_ns: 500 * MS }, ..leave(1, 1, 5001) }));
    book.accepted(0, at(5100), LASTS, handle(2), Outcome::Registered);
    assert!(!book.left(&leave(1, 2, 5502)), "of the incarnation before");
    book.said_goodbye(0);
    book.look(60_000 * MS, 0);
    assert!(found(&book).is_empty() && !book.is_waiting());
    let expected = Tally { calls: 4, registered: 2, goodbyes: 1, leaves: 1, again: 1, ..Tally::default() };
    assert_eq!(book.tally, expected);
}

#[test]
fn a_leave_that_races_an_announce_is_judged_by_what_the_announce_was_answered() {
    // Refused, and the message comes after the return: the leave is of the life before.
    let mut refused = book();
    refused.gone(0);
    refused.accepted(0, at(4001), LASTS, handle(2), Outcome::Registered);
    assert!(!refused.left(&leave(1, 1, 4000)));
    assert!(found(&refused).is_empty());
    // Accepted just before: the leave is false.
    let mut accepted = book();
    accepted.accepted(0, at(3999), LASTS, handle(1), Outcome::Recovered);
    accepted.left(&leave(1, 1, 4000));
    assert_eq!(found(&accepted), [Promise::NeverEarly]);
}

#[test]
fn an_early_leave_is_noticed_and_the_coarse_clock_excuses_only_its_lag() {
    let mut early = book();
    early.left(&Leave { at_ns: 4000 * MS - 1, ..leave(1, 1, 0) });
    assert_eq!(found(&early), [Promise::NeverEarly]);
    let mut lagging = book();
    lagging.accepted(0, Moment { lag_ns: 3 * MS, ..at(1000) }, LASTS, handle(1), Outcome::Renewed);
    lagging.left(&leave(1, 1, 3997));
    assert_eq!((found(&lagging), lagging.tally.within_lag), (vec![], 1));
}

#[test]
fn a_late_leave_is_noticed_and_only_what_was_not_counted_excuses_it() {
    let mut late = book();
    late.left(&leave(1, 1, 5001));
    assert_eq!(found(&late), [Promise::NeverMissing]);
    let mut away = book();
    away.left(&Leave { away_ns: 2 * MS, ..leave(1, 1, 5001) });
    assert!(found(&away).is_empty());
}

#[test]
fn a_missing_leave_is_noticed() {
    let mut silent = book();
    silent.look(10_000 * MS, 0);
    assert!(found(&silent).is_empty(), "not yet");
    silent.look(10_001 * MS, 2 * MS);
    assert!(found(&silent).is_empty(), "a guard held it");
    silent.look(10_001 * MS, 0);
    assert_eq!(found(&silent), [Promise::NeverMissing]);
    let mut refused = book();
    refused.gone(0);
    refused.look(10_001 * MS, 0);
    assert_eq!(found(&refused), [Promise::NeverMissing], "of an incarnation before");
    let mut again = book();
    again.left(&Leave { answer: Answer::Again { after_ns: 500 * MS }, ..leave(1, 1, 4000) });
    again.look(10_501 * MS, 0);
    assert_eq!(found(&again), [Promise::NeverMissing], "handed out again");
    let mut renewed = book();
    renewed.accepted(0, at(5001), LASTS, handle(1), Outcome::Recovered);
    assert_eq!(found(&renewed), [Promise::NeverMissing], "it was still there");
}

#[test]
fn a_double_leave_is_noticed() {
    let mut double = book();
    double.left(&leave(1, 1, 4000));
    double.left(&leave(1, 1, 4001));
    assert_eq!(found(&double), [Promise::NeverDouble]);
    let mut attempt = book();
    attempt.left(&Leave { answer: Answer::Again { after_ns: 500 * MS }, ..leave(1, 1, 4000) });
    attempt.left(&leave(1, 1, 4500));
    assert_eq!(found(&attempt), [Promise::NeverDouble], "the same attempt again");
    let mut hasty = book();
    hasty.left(&Leave { answer: Answer::Again { after_ns: 500 * MS }, ..leave(1, 1, 4000) });
    hasty.left(&leave(1, 2, 4100));
    assert_eq!(found(&hasty), [Promise::NeverDouble], "sooner than asked for");
    let mut invented = book();
    invented.left(&leave(9, 1, 4000));
    assert_eq!(found(&invented), [Promise::NeverDouble], "of nobody");
}

#[test]
fn a_leave_after_a_goodbye_is_noticed() {
    let mut book = book();
    book.said_goodbye(0);
    book.left(&leave(1, 1, 4000));
    assert_eq!(found(&book), [Promise::GoodbyeSilent]);
}

#[test]
fn a_handle_issued_twice_or_changed_is_noticed() {
    let mut twice = book();
    twice.left(&leave(1, 1, 4000));
    twice.accepted(1, at(4100), LASTS, handle(1), Outcome::Registered);
    assert_eq!(found(&twice), [Promise::HandleOnce]);
    let mut changed = book();
    changed.accepted(0, at(2000), LASTS, handle(2), Outcome::Renewed);
    assert_eq!(found(&changed), [Promise::HandleOnce]);
    let mut risen = book();
    risen.left(&leave(1, 1, 4000));
    risen.accepted(0, at(4100), LASTS, handle(1), Outcome::Renewed);
    assert_eq!(found(&risen), [Promise::NeverDouble], "it has gone");
}
