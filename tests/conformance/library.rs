//! The library as a subject of traces, by its public surface.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hostwheel::{
    Brake, Clock, Config, Event, EventKind, Events, Handle, Handler, Hold, HostState, HostStatus, HostWheel, OpenError,
    Outcome, Reason, Stats, Verdict,
};

use super::runner::{Answer, Names, Subject};
use super::trace::{FEATURES, Op, Settings, hex};

/// A wheel, and the consumer's end of its events.
pub struct Library {
    config: Config,
    wheel: HostWheel,
    delivered: Delivered,
}

/// Where events are found after an advance.
enum Delivered {
    Queue(Events),
    Log(Arc<Mutex<Vec<Event>>>),
}

/// A callback that takes note and accepts every leave.
struct Notes(Arc<Mutex<Vec<Event>>>);

impl Notes {
    fn note(&self, event: &Event) {
        self.0.lock().expect("nobody panics holding it").push(event.clone());
    }
}

impl Handler for Notes {
    fn leave(&mut self, event: &Event) -> Verdict {
        self.note(event);
        Verdict::Done
    }

    fn suspect(&mut self, event: &Event) {
        self.note(event);
    }

    fn recovered(&mut self, event: &Event) {
        self.note(event);
    }
}

fn config_of(settings: &Settings) -> Config {
    let length = |name| Duration::from_millis(settings.get(name));
    let count = |name| usize::try_from(settings.get(name)).expect("64 bits");
    let small = |name| u32::try_from(settings.get(name)).expect("traces set these to small numbers");
    Config {
        clock: if settings.get("own_clock") == 0 { Clock::Manual } else { Clock::Precise },
        host_ttl: length("host_ttl_ms"),
        grace: length("grace_ms"),
        min_interval: length("min_interval_ms"),
        max_interval: length("max_interval_ms"),
        watchdog: length("watchdog_ms"),
        backstop: length("backstop_ms"),
        settle_timeout: length("settle_timeout_ms"),
        max_hosts: count("max_hosts"),
        max_outstanding: count("max_outstanding"),
        silence_expected: small("silence_expected"),
        brake: Brake {
            burst_permille: small("brake_burst_permille"),
            burst_min: small("brake_burst_min"),
            refill_permille: small("brake_refill_permille"),
            refill_min: small("brake_refill_min"),
        },
        ..Config::default()
    }
}

impl Library {
    fn start(config: Config, queue: bool) -> Result<Library, OpenError> {
        let (wheel, delivered) = if queue {
            let (wheel, events) = HostWheel::drained(config.clone())?;
            (wheel, Delivered::Queue(events))
        } else {
            let log = Arc::default();
            (HostWheel::start(config.clone(), Notes(Arc::clone(&log)))?, Delivered::Log(log))
        };
        Ok(Library { config, wheel, delivered })
    }

    fn take_events(&mut self) -> Vec<Event> {
        match &mut self.delivered {
            Delivered::Queue(events) => {
                let mut taken = Vec::new();
                events.drain(&mut taken, usize::MAX);
                taken
            }
            Delivered::Log(log) => std::mem::take(&mut *log.lock().expect("nobody panics holding it")),
        }
    }

    /// A small queue is filled several times, so this goes on until an advance to the same time brings nothing more.
    fn advance(&mut self, to_ms: u64) -> Answer {
        let mut all = Vec::new();
        loop {
            match self.wheel.advance(ms(to_ms)) {
                Err(error) => return Answer::refused(error),
                Ok(0) => break,
                Ok(_) => all.extend(self.take_events()),
            }
        }
        told("events", all)
    }

    fn restart(&mut self) -> Answer {
        let file = scratch_file();
        let written = self.wheel.snapshot(&file).expect("the folder of temporary files is writable");
        let queue = matches!(self.delivered, Delivered::Queue(_));
        *self = Library::start(self.config.clone(), queue).expect("it opened before");
        let restored = self.wheel.restore(&file).expect("the file was just written");
        std::fs::remove_file(&file).expect("it is ours");
        Answer::ok().with("written", written).with("restored", restored.hosts)
    }
}

impl Subject for Library {
    const FEATURES: &'static [&'static str] = &FEATURES;

    fn open(settings: &Settings) -> Result<Library, Answer> {
        Library::start(config_of(settings), settings.get("callback") == 0).map_err(|error| match error {
            OpenError::Config(_) => Answer::new("error:config"),
            other => panic!("the system refuses a wheel: {other}"),
        })
    }

    fn perform(&mut self, op: &Op, names: &Names) -> Answer {
        let handle = |name: &str| Handle::from_raw(names.handle(name)).expect("no handle is 0");
        let wheel = &self.wheel;
        match op {
            Op::Open => unreachable!("the runner opens"),
            Op::Announce { id, interval_ms, age_ms, data } => {
                answer(wheel.announce_with(id, ms(*interval_ms), ms(*age_ms), *data), |announced| {
                    Answer::new(outcome(announced.outcome))
                        .of(announced.handle.as_raw())
                        .with("interval", in_ms(announced.interval))
                        .with("clamped", u8::from(announced.clamped))
                })
            }
            Op::Renew { handle: name, age_ms } => {
                answer(wheel.renew_seen(handle(name), ms(*age_ms)), |renewed| Answer::new(outcome(renewed)))
            }
            Op::Replace { id, interval_ms, data } => answer(wheel.replace(id, ms(*interval_ms), *data), |replaced| {
                Answer::new(outcome(replaced.announced.outcome))
                    .of(replaced.announced.handle.as_raw())
                    .with("interval", in_ms(replaced.announced.interval))
                    .with("clamped", u8::from(replaced.announced.clamped))
                    .with("ended", u8::from(replaced.ended.is_some()))
                    .with("ended_data", replaced.ended.map_or(0, |(_, data)| data))
            }),
            Op::Leave { id } => answer(wheel.leave(id), |data| Answer::ok().with("data", data)),
            Op::LeaveHandle { handle: name } => {
                answer(wheel.leave_handle(handle(name)), |data| Answer::ok().with("data", data))
            }
            Op::Find { id } => answer(wheel.find(id), |found| Answer::ok().of(found.as_raw())),
            Op::Inspect { handle: name } => answer(wheel.inspect(handle(name)), |status| inspected(&status)),
            Op::Advance { to_ms } => self.advance(*to_ms),
            Op::AdvanceUndrained { to_ms } => answer(wheel.advance(ms(*to_ms)), |made| Answer::ok().with("made", made)),
            Op::Drain => {
                let events = self.take_events();
                told("events", events)
            }
            Op::Settle { handle: name, attempt, retry_ms } => {
                let verdict = retry_ms.map_or(Verdict::Done, |after| Verdict::Retry(ms(after)));
                answer(wheel.settle(handle(name), *attempt, verdict), |()| Answer::ok())
            }
            Op::Stats => counted(&wheel.stats()),
            Op::Release => answer(wheel.release(), |()| Answer::ok()),
            Op::Close => answer(wheel.close(Duration::from_secs(10)), |()| Answer::ok()),
            Op::Restart => self.restart(),
        }
    }
}

fn answer<T, E: Debug>(result: Result<T, E>, says: impl FnOnce(T) -> Answer) -> Answer {
    result.map_or_else(Answer::refused, says)
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Registered => "registered",
        Outcome::Renewed => "renewed",
        Outcome::Recovered => "recovered",
    }
}

fn inspected(status: &HostStatus) -> Answer {
    let word = match status.state {
        HostState::Live => "live",
        HostState::Suspect => "suspect",
        HostState::Taken => "taken",
        other => panic!("traces know no state {other:?}"),
    };
    let held_by = match status.held_by {
        None => "no",
        Some(Hold::Silence) => "silence",
        Some(Hold::Brake) => "brake",
        Some(Hold::Outstanding) => "outstanding",
        Some(other) => panic!("traces know no hold {other:?}"),
    };
    Answer::new(word)
        .of(status.handle.as_raw())
        .with("data", status.user_data)
        .with("interval", in_ms(status.interval.unwrap_or_default()))
        .with("last_seen", in_ms(status.last_seen))
        .with("age", in_ms(status.age))
        .with("deadline", in_ms(status.deadline))
        .with("leaves_at", in_ms(status.leaves_at))
        .with("suspect_since", status.suspect_since.map_or("none".into(), in_ms))
        .with("held_since", status.held_since.map_or("none".into(), in_ms))
        .with("held_by", held_by)
}

fn told(key: &'static str, events: Vec<Event>) -> Answer {
    Answer::ok().with(key, events.len()).telling(events.iter().map(event).collect())
}

fn event(event: &Event) -> Answer {
    let word = match event.kind() {
        EventKind::Suspect => "suspect",
        EventKind::Recovered => "recovered",
        EventKind::Leave => "leave",
        other => panic!("traces know no event {other:?}"),
    };
    let reason = match event.reason() {
        Reason::Ttl => "ttl",
        Reason::HostTtl => "host_ttl",
        Reason::Backstop => "backstop",
        other => panic!("traces know no reason {other:?}"),
    };
    Answer::new(word)
        .of(event.handle().as_raw())
        .with("id", hex(event.id()))
        .with("reason", reason)
        .with("attempt", event.attempt())
        .with("superseded", u8::from(event.superseded()))
        .with("data", event.user_data())
        .with("interval", in_ms(event.interval().unwrap_or_default()))
        .with("last_seen", in_ms(event.last_seen()))
        .with("deadline", in_ms(event.deadline()))
        .with("now", in_ms(event.now()))
        .with("lateness", in_ms(event.lateness()))
        .with("away", in_ms(event.away()))
        .with("held", in_ms(event.held()))
}

fn counted(stats: &Stats) -> Answer {
    Answer::ok()
        .with("live", stats.live)
        .with("suspect", stats.suspect)
        .with("registered", stats.registered)
        .with("left", stats.left)
        .with("leaves_ttl", stats.leaves_ttl)
        .with("leaves_host_ttl", stats.leaves_host_ttl)
        .with("suspects", stats.suspects)
        .with("recoveries", stats.recoveries)
        .with("retries", stats.retries)
        .with("superseded", stats.superseded)
        .with("clamps", stats.clamps)
        .with("rescues", stats.rescues)
        .with("outstanding", stats.outstanding)
        .with("waiting", stats.waiting)
        .with("silences", stats.silences)
        .with("silence", in_ms(stats.silence))
        .with("brake", in_ms(stats.brake))
        .with("away", in_ms(stats.away))
        .with("now", in_ms(stats.now))
        .with("lateness_max", in_ms(stats.lateness_max))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// In milliseconds, with a fraction if there is one: then it equals nothing that a trace can say.
fn in_ms(length: Duration) -> String {
    match length.subsec_nanos() % 1_000_000 {
        0 => length.as_millis().to_string(),
        rest => format!("{}.{rest:06}", length.as_millis()),
    }
}

fn scratch_file() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("hostwheel-conformance-{}-{count}", std::process::id()))
}
