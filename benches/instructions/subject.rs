//! What `.ci/instructions` reads.

/// A subject is over: so many times was done what it is named after. callgrind writes out its counts when this returns.
#[inline(never)]
pub fn ends(name: &str, times: u64) {
    println!("{times}\t{name}");
}

/// What was counted since the last subject belongs to none.
pub fn leave_out() {
    ends("-", 0);
}
