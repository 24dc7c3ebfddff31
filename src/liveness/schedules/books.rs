//! The books of one execution: what producers were answered, what the consumer was told; and the judge, who compares.
//!
//! No lock of theirs is held across a switch. What is wrong with an event is noted and raised later: a panic in a handler
//! would be taken for the handler's own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::Config;
use crate::event::{Event, EventKind};
use crate::liveness::{Announced, Outcome};
use crate::record::Handle;
use crate::tick::{EPOCH, Tick, ticks_ceil};

/// One accepted announce or renew.
struct Heard {
    /// When it was called and when it returned, in the order of all entries of the books.
    began: usize,
    returned: usize,
    /// Wheel time then, its age taken off: the host's last announce is no earlier.
    from: Tick,
    /// Wheel time when it returned.
    until: Tick,
    /// The effective interval; `None` for a renew.
    interval: Option<Duration>,
    aged: bool,
    registered: bool,
}

/// A goodbye that was accepted.
struct Goodbye {
    returned: usize,
    /// The handle that it was said by, unless it was by id.
    handle: Option<Handle>,
}

/// A leave as it was handed out first.
struct Leave {
    told: usize,
    last: Tick,
    interval: Duration,
    attempts: u32,
    done: bool,
}

/// One incarnation.
#[derive(Default)]
struct Life {
    registered: Vec<u64>,
    heard: Vec<Heard>,
    suspect: bool,
    leave: Option<Leave>,
}

/// See the module.
pub(super) struct Books {
    entries: Mutex<Entries>,
    host_ttl: Duration,
    grace: Duration,
}

#[derive(Default)]
struct Entries {
    clock: usize,
    lives: HashMap<Handle, Life>,
    /// All handles in the order in which they were first seen.
    handles: Vec<Handle>,
    /// By user data.
    goodbyes: HashMap<u64, Goodbye>,
    /// User data given back, and how often.
    given: HashMap<u64, u32>,
    /// Leaves due from this tick on must be in time.
    punctual_from: Option<Tick>,
    complaint: Option<String>,
    /// No callback may begin any more.
    closed: bool,
    /// Some hosts may have been left alone: the wheel was closed.
    unfinished: bool,
}

impl Entries {
    fn now(&mut self) -> usize {
        self.clock += 1;
        self.clock
    }

    fn life(&mut self, handle: Handle) -> &mut Life {
        if !self.lives.contains_key(&handle) {
            self.handles.push(handle);
        }
        self.lives.entry(handle).or_default()
    }

    fn complain(&mut self, complaint: String) {
        self.complaint.get_or_insert(complaint);
    }
}

/// The effective interval of an event: half the host TTL where the host named none.
fn interval(event: &Event, host_ttl: Duration) -> Duration {
    event.interval().unwrap_or(host_ttl / 2)
}

impl Books {
    pub(super) fn new(config: &Config) -> Books {
        Books { entries: Mutex::default(), host_ttl: config.host_ttl, grace: config.grace }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins.
    pub(super) fn begin(&self) -> usize {
        self.entries().now()
    }

    /// A handle that was seen, the `n`th of all, for calls with old and new ones.
    pub(super) fn handle(&self, n: usize) -> Option<Handle> {
        let entries = self.entries();
        (!entries.handles.is_empty()).then(|| entries.handles[n % entries.handles.len()])
    }

    pub(super) fn announced(
        &self,
        began: usize,
        (from, until): (Tick, Tick),
        aged: bool,
        announced: Announced,
        user_data: u64,
    ) {
        let mut entries = self.entries();
        let returned = entries.now();
        let life = entries.life(announced.handle);
        let registered = announced.outcome == Outcome::Registered;
        if registered {
            life.registered.push(user_data);
        }
        let interval = Some(announced.interval);
        life.heard.push(Heard { began, returned, from, until, interval, aged, registered });
    }

    pub(super) fn renewed(&self, began: usize, (from, until): (Tick, Tick), handle: Handle) {
        let mut entries = self.entries();
        let returned = entries.now();
        entries.life(handle).heard.push(Heard {
            began,
            returned,
            from,
            until,
            interval: None,
            aged: false,
            registered: false,
        });
    }

    /// A goodbye was accepted, by this handle or by id.
    pub(super) fn left(&self, handle: Option<Handle>, user_data: u64) {
        let mut entries = self.entries();
        let returned = entries.now();
        *entries.given.entry(user_data).or_default() += 1;
        entries.goodbyes.insert(user_data, Goodbye { returned, handle });
    }

    /// User data given back when the wheel was dropped.
    pub(super) fn forgotten(&self, user_data: u64) {
        *self.entries().given.entry(user_data).or_default() += 1;
    }

    /// From now on leaves that become due come in time.
    pub(super) fn punctual_from(&self, tick: Option<Tick>) {
        self.entries().punctual_from = tick;
    }

    /// The wheel is being closed; once `done`, no callback begins any more.
    pub(super) fn closed(&self, done: bool) {
        let mut entries = self.entries();
        entries.unfinished = true;
        entries.closed |= done;
    }

    /// The consumer is told of an event.
    pub(super) fn told(&self, event: &Event) {
        let mut entries = self.entries();
        let told = entries.now();
        let every = interval(event, self.host_ttl);
        let ttl = if event.interval().is_some() { 2 * every } else { self.host_ttl };
        let grace = self.grace.min(every);
        let (closed, punctual_from) = (entries.closed, entries.punctual_from);
        let life = entries.life(event.handle);
        let mut wrong = (closed).then_some("was told after the close");
        match event.kind() {
            EventKind::Suspect | EventKind::Recovered => {
                let suspect = event.kind() == EventKind::Suspect;
                if life.suspect == suspect || life.leave.is_some() {
                    wrong = Some("is suspect twice, recovered unsuspected, or has left before");
                }
                life.suspect = suspect;
                if suspect && event.now < event.last + ticks_ceil(ttl) {
                    wrong = Some("is suspect early");
                }
            }
            EventKind::Leave => match &mut life.leave {
                None => {
                    let due = event.last + ticks_ceil(ttl + grace);
                    if event.now < due {
                        wrong = Some("left early");
                    } else if punctual_from.is_some_and(|from| due > from && event.now > due) {
                        wrong = Some("left late");
                    } else if !life.suspect && !grace.is_zero() {
                        wrong = Some("left unsuspected");
                    } else if event.attempt() != 1 {
                        wrong = Some("left first with another attempt");
                    }
                    life.leave = Some(Leave { told, last: event.last, interval: every, attempts: 1, done: false });
                    *entries.given.entry(event.user_data()).or_default() += 1;
                }
                Some(leave) => {
                    leave.attempts += 1;
                    if leave.done || event.attempt() != leave.attempts {
                        wrong = Some("left again, or out of turn");
                    }
                }
            },
        }
        if let Some(wrong) = wrong {
            entries.complain(format!("{wrong}: {event}"));
        }
    }

    /// A leave was answered with `Done`, and the answer accepted.
    pub(super) fn done(&self, handle: Handle) {
        let mut entries = self.entries();
        let leave = entries.life(handle).leave.as_mut();
        if leave.is_none_or(|leave| std::mem::replace(&mut leave.done, true)) {
            entries.complain(format!("{handle} was settled twice, or untold"));
        }
    }

    pub(super) fn complain(&self, complaint: String) {
        self.entries().complain(complaint);
    }

    /// Raises what was found wrong in a place where it could not be raised.
    pub(super) fn raise(&self) {
        let complaint = self.entries().complaint.take();
        assert!(complaint.is_none(), "{}", complaint.unwrap_or_default());
    }

    /// After the wheel was dropped: the judge.
    pub(super) fn balance(&self) {
        self.raise();
        let entries = self.entries();
        let mut registered: HashMap<u64, Handle> = HashMap::new();
        for handle in &entries.handles {
            let life = &entries.lives[handle];
            let [user_data] = life.registered[..] else {
                panic!("{handle} was registered {} times", life.registered.len())
            };
            assert!(registered.insert(user_data, *handle).is_none(), "user data are unique");
            judge(*handle, life, entries.goodbyes.get(&user_data), entries.unfinished);
        }
        for (user_data, handle) in &registered {
            let given = entries.given.get(user_data).copied().unwrap_or(0);
            assert_eq!(given, 1, "the user data {user_data} of {handle} were given back {given} times");
        }
        assert_eq!(entries.given.len(), registered.len(), "user data were given back that were never taken");
    }
}

fn judge(handle: Handle, life: &Life, goodbye: Option<&Goodbye>, unfinished: bool) {
    if let Some(goodbye) = goodbye {
        assert!(life.leave.is_none(), "{handle} said goodbye and left");
        assert!(
            goodbye.handle.is_none_or(|named| named == handle),
            "a goodbye reached {handle} and was not meant for it"
        );
        for heard in &life.heard {
            assert!(heard.began < goodbye.returned, "{handle} was heard after its goodbye");
        }
    }
    let Some(leave) = &life.leave else {
        assert!(goodbye.is_some() || unfinished, "{handle} was lost");
        return;
    };
    assert!(leave.done || unfinished, "the leave of {handle} was not done");
    for heard in &life.heard {
        assert!(heard.began < leave.told, "{handle} was heard after it left");
        // A helper made it Live as of an earlier moment, and it has left before its registrant went on to say when it was heard.
        let outrun = heard.registered && life.heard.iter().any(|other| other.aged && other.began < heard.returned);
        let early = heard.from.saturating_sub(leave.last);
        assert!(early == 0 || outrun, "{handle} left as last heard {early} ms before it was heard");
    }
    // An announce that another one followed, begun after it returned, does not have the last word about the interval.
    let announces = || life.heard.iter().filter(|heard| heard.interval.is_some());
    let explained = announces().any(|heard| {
        let outdated = || announces().any(|later| !later.aged && later.began > heard.returned);
        heard.interval == Some(leave.interval) && !outdated()
    });
    assert!(explained, "{handle} left with an interval of {:?}, which was not its last", leave.interval);
    let latest = life.heard.iter().map(|heard| heard.until).max().unwrap_or(EPOCH);
    assert!(leave.last <= latest, "{handle} left as heard {} ms after it was", leave.last - latest);
}
