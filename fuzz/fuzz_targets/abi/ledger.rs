//! What a program knows of the hosts of one wheel: which handles it got, and who owns each host's user data.

use std::collections::HashMap;

use hostwheel_ffi::*;

/// User data are this and the number of the announce that brought them.
const DATA: u64 = 0xDA7A_0000_0000_0000;

/// Where a host's user data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Given to an announce; the caller's, unless that registers a host.
    Offered,
    /// The wheel's.
    Owned,
    /// A leave function returned them.
    Returned,
    /// A leave event showed them.
    Shown,
    /// As `Shown`, and the leave was answered with DONE.
    Done,
    /// The program's function was called for them.
    Released,
}

#[derive(Debug)]
pub struct Host {
    pub id: Vec<u8>,
    /// 0: not known.
    pub handle: u64,
    pub fate: Fate,
    /// Of the last leave event.
    pub attempt: u32,
    /// That attempt was answered.
    pub answered: bool,
}

/// An id that the wheel keeps alive for the program.
struct Lent {
    host: usize,
    id: *const u8,
    length: usize,
}

// SAFETY: read under the ledger's lock, while the wheel promises that it is there.
unsafe impl Send for Lent {}

#[derive(Default)]
pub struct Ledger {
    hosts: Vec<Host>,
    by_handle: HashMap<u64, usize>,
    /// Ids of drained leaves, by handle, and of the other events of the last drain.
    lent: HashMap<u64, Lent>,
    lent_briefly: Vec<Lent>,
    /// Events told.
    pub events: usize,
    /// Announces that registered, and leaves by the program.
    pub registered: u64,
    pub left: u64,
}

impl Ledger {
    /// User data for an announce.
    pub fn offer(&mut self, id: &[u8]) -> u64 {
        self.hosts.push(Host { id: id.to_vec(), handle: 0, fate: Fate::Offered, attempt: 0, answered: false });
        DATA + self.hosts.len() as u64 - 1
    }

    fn at(&self, user_data: u64) -> usize {
        let at = user_data.wrapping_sub(DATA) as usize;
        assert!(at < self.hosts.len(), "user data {user_data:#x} were never given");
        at
    }

    pub fn host(&self, handle: u64) -> Option<&Host> {
        self.by_handle.get(&handle).map(|at| &self.hosts[*at])
    }

    pub fn fate(&self, handle: u64) -> Option<Fate> {
        self.host(handle).map(|host| host.fate)
    }

    /// Hosts whose user data are the wheel's.
    pub fn owned(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.fate == Fate::Owned)
    }

    /// The handle issued `ago` handles before the last.
    pub fn issued(&self, ago: u8) -> Option<u64> {
        let handles: Vec<_> = self.hosts.iter().filter(|host| host.handle != 0).map(|host| host.handle).collect();
        handles.len().checked_sub(1 + usize::from(ago)).map(|at| handles[at])
    }

    /// An announce with this user data registered a host.
    pub fn register(&mut self, user_data: u64, handle: u64) {
        let at = self.at(user_data);
        let host = &mut self.hosts[at];
        // An event may have told before.
        if host.fate == Fate::Offered {
            host.fate = Fate::Owned;
            self.registered += 1;
        }
        if host.handle == 0 {
            assert_ne!(handle, 0);
            host.handle = handle;
            assert_eq!(self.by_handle.insert(handle, at), None, "a handle was issued twice");
        }
        assert_eq!(self.hosts[at].handle, handle);
    }

    /// A host as the library shows it is one of ours.
    pub fn check(&self, handle: u64, user_data: u64, id: Option<&[u8]>) {
        let host = self.host(handle).expect("a handle that was issued");
        assert_eq!(self.at(user_data), self.by_handle[&handle], "user data of another host");
        assert!(id.is_none_or(|id| id == host.id));
    }

    /// A leave function succeeded, and returned the user data if they were asked for.
    pub fn leave(&mut self, handle: u64, returned: Option<u64>, releases: bool) {
        let at = self.by_handle[&handle];
        let host = &mut self.hosts[at];
        match returned {
            Some(user_data) => {
                assert_eq!(user_data, DATA + at as u64, "user data of another host");
                assert_eq!(host.fate, Fate::Owned, "user data given twice");
            }
            None if releases => assert_eq!(host.fate, Fate::Released, "user data went to nobody"),
            None => assert_eq!(host.fate, Fate::Owned),
        }
        if host.fate == Fate::Owned {
            host.fate = Fate::Returned;
        }
        self.left += 1;
    }

    /// The program's function for user data was called.
    pub fn release(&mut self, user_data: u64) {
        let at = self.at(user_data);
        assert_eq!(self.hosts[at].fate, Fate::Owned, "released, and was not the wheel's");
        self.hosts[at].fate = Fate::Released;
    }

    /// An event came.
    ///
    /// # Safety
    /// As the library hands it out.
    pub unsafe fn tell(&mut self, event: &hostwheel_event_t) {
        if event.kind == HOSTWHEEL_EVENT_GUARD {
            assert!((HOSTWHEEL_GUARD_SILENCE_BEGAN..=HOSTWHEEL_GUARD_CLOCK_CAME_BACK).contains(&event.reason));
            assert!(!event.id.is_null() && event.id_len == 0 && event.handle == 0);
            return;
        }
        self.events += 1;
        assert!((HOSTWHEEL_EVENT_SUSPECT..=HOSTWHEEL_EVENT_LEAVE).contains(&event.kind));
        assert!((HOSTWHEEL_REASON_TTL..=HOSTWHEEL_REASON_HOST_TTL).contains(&event.reason), "{}", event.reason);
        assert!(event.flags <= HOSTWHEEL_EVENT_SUPERSEDED);
        assert_eq!((event.verdict, event.reserved0, event.retry_after_ns, event.reserved), (0, 0, 0, [0; 4]));
        self.register(event.user_data, event.handle);
        // SAFETY: the caller's promise.
        let id = unsafe { std::slice::from_raw_parts(event.id, event.id_len) };
        self.check(event.handle, event.user_data, Some(id));
        let at = self.at(event.user_data);
        let host = &mut self.hosts[at];
        if event.kind != HOSTWHEEL_EVENT_LEAVE {
            assert_eq!(event.attempt, 1);
            return;
        }
        assert!(matches!(host.fate, Fate::Owned | Fate::Shown), "a leave of a host that is {:?}", host.fate);
        assert_eq!(event.attempt, host.attempt + 1);
        (host.fate, host.attempt, host.answered) = (Fate::Shown, event.attempt, false);
    }

    /// The last attempt of a leave was answered.
    pub fn answer(&mut self, handle: u64, verdict: u32) {
        let host = &mut self.hosts[self.by_handle[&handle]];
        assert_eq!(host.fate, Fate::Shown);
        host.answered = true;
        if verdict == HOSTWHEEL_VERDICT_DONE {
            host.fate = Fate::Done;
            self.lent.remove(&handle);
        }
    }

    /// A drain begins: what it ends is not looked at any more.
    pub fn drain(&mut self) {
        self.lent_briefly.clear();
    }

    /// The id of a drained event is the program's for a while.
    pub fn lend(&mut self, event: &hostwheel_event_t) {
        if event.kind == HOSTWHEEL_EVENT_GUARD {
            return;
        }
        let lent = Lent { host: self.by_handle[&event.handle], id: event.id, length: event.id_len };
        if event.kind == HOSTWHEEL_EVENT_LEAVE {
            self.lent.insert(event.handle, lent);
        } else {
            self.lent_briefly.push(lent);
        }
    }

    /// Reads all ids that must be there.
    ///
    /// # Safety
    /// The wheel was not freed.
    pub unsafe fn read_lent(&self) {
        for lent in self.lent.values().chain(&self.lent_briefly) {
            // SAFETY: the caller's promise, and the library's.
            let id = unsafe { std::slice::from_raw_parts(lent.id, lent.length) };
            assert_eq!(id, self.hosts[lent.host].id);
        }
    }

    /// The wheel was freed: none of what was given to it is left.
    pub fn close_accounts(&self, releases: bool) {
        assert!(!releases || self.owned().next().is_none(), "user data went to nobody");
    }
}
