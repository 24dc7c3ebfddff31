#!/usr/bin/env python3
"""Removes each second look of the lock-free code, one at a time, and expects a test to fail.

A second look is whatever finds out that what was read is not so any more: a load that is repeated, a check after a
fence, the comparison in a compare-and-swap. One that can be removed unnoticed is not needed, or lacks a test. Those for
which a reason is known are in EXCEPTIONS, with it.

Usage: .ci/looks.py [--only TEXT] [--list] [--first] (from the top of the repository).
"""

import argparse
import sys
import time

sys.dont_write_bytecode = True
from mutants import Tree

TABLE, BUCKET = "src/index/table.rs", "src/index/bucket.rs"
FREE, SLAB, IDS, DIRTY, LINE = (f"src/record/{name}.rs" for name in ["free", "slab", "ids", "dirty", "line"])
SHARED, RENEW, REGISTRATION, REPLACE, ENGINE, VIEWS, SWEEP, HANDING, OUTSTANDING = (
    f"src/liveness/{name}.rs"
    for name in ["mod", "renew", "registration", "replace", "engine", "views", "sweep", "handing",
                 "outstanding"])

# Tests: the cfg that they need, and a part of their names.
HELD = ("", "held::")
SCHEDULES = ("shuttle", "shuttle_")
INDEX = ("loom", "index::models")
MEMORY = ("loom", "models::memory")
LIFE = ("loom", "models::life")
HANDSHAKE = ("loom", "models::handshake")
REPLACEMENT = ("loom", "models::replace")

# (file, name, text that is there once, what it becomes, the tests that should notice first; then all that are near it)
LOOKS = [
    # The index.
    (TABLE, "whoever comes to a bucket does not look whether it is about to be split",
     "if control.is_settled_at(level) {\n"
     "                return",
     "if control.has_come_to(level) {\n"
     "                return", HELD),
    (TABLE, "a look-up does not look whether its bucket is that of the level",
     "if control.is_settled_at(level)\n"
     "            && let Some",
     "if true\n"
     "            && let Some", HELD),
    (TABLE, "whoever splits a bucket does not look whether that was done",
     "if control.has_come_to(level) {\n"
     "                return;\n"
     "            }\n"
     "            if control.is_frozen()",
     "if control.is_frozen()", HELD),
    (TABLE, "a helper of a split does not look whether the bucket is still frozen",
     "if !bucket.is_still(frozen) && !planted(Canary::LateHelper) {",
     "if false {", HELD),
    (TABLE, "a helper of a split does not look whether what it asked about has moved",
     "if moves.are_still(bucket, frozen) || planted(Canary::TrustedRecord) {",
     "if true {", HELD),
    (TABLE, "a helper of a split unfreezes the bucket whatever it has become",
     "bucket.swap(frozen, frozen.split(level, moves.slots));",
     "bucket.swap(bucket.control(), frozen.split(level, moves.slots));", HELD),
    (BUCKET, "a helper of a split empties a slot whatever is in it",
     "let _ = self.slots[slot].compare_exchange(content.0, MOVED + level, Ordering::Release, "
     "Ordering::Relaxed);",
     "let _ = content;\n"
     "        self.slots[slot].store(MOVED + level, Ordering::Release);", HELD),
    (BUCKET, "a helper of a split fills a slot whatever is in it",
     "let _ = self.slots[slot].compare_exchange(\n"
     "                VIRGIN,\n"
     "                occupied(level, record),\n"
     "                Ordering::Relaxed,\n"
     "                Ordering::Relaxed,\n"
     "            );",
     "self.slots[slot].store(occupied(level, record), Ordering::Relaxed);", HELD),
    (BUCKET, "a helper of a split sets tags whatever they are",
     "let _ = word.compare_exchange(0, tags, Ordering::Relaxed, Ordering::Relaxed);",
     "word.store(tags, Ordering::Relaxed);", HELD),
    (BUCKET, "a helper of a split declares a bucket born that is",
     "self.swap(Control::UNBORN, Control::born(level, filled));",
     "self.control.store(Control::born(level, filled).0, Ordering::Release);", HELD),
    (TABLE, "a search does not look at the control word again",
     "fence(Ordering::Acquire);\n"
     "            if bucket.is_still(control) || planted(Canary::TrustedEntry) {\n"
     "                return (bucket",
     "if true {\n"
     "                return (bucket", HELD),
    (TABLE, "a look-up does not look at the control word again",
     "fence(Ordering::Acquire);\n"
     "                if bucket.is_still(control) || planted(Canary::TrustedEntry) {\n"
     "                    return Some",
     "if true {\n"
     "                    return Some", HELD),
    (TABLE, "a walk does not look at the control word again",
     "if bucket.is_still(control) {\n"
     "                return (entries",
     "if true {\n"
     "                return (entries", HELD),
    (TABLE, "a removal does not look at the control word again",
     "if bucket.is_still(control) || planted(Canary::TrustedAbsence) {",
     "if true {", HELD),
    (BUCKET, "a bucket changes whatever it has become",
     "self.control.compare_exchange(old.0, new.0, Ordering::Release, Ordering::Relaxed).is_ok()",
     "let _ = old;\n"
     "        self.control.store(new.0, Ordering::Release);\n"
     "        true", HELD),
    (BUCKET, "a slot is claimed whatever is in it",
     "&& self.slots[slot].compare_exchange(empty, claimed, Ordering::AcqRel, Ordering::Relaxed).is_ok()",
     "&& self.slots[slot].swap(claimed, Ordering::Acquire) != claimed", HELD),
    (BUCKET, "a slot of a split is claimed",
     "(empty <= last || planted(Canary::EarlyClaim) && empty <= RECORD)",
     "(empty <= RECORD || last == 0)", HELD),
    (BUCKET, "a tag is set whatever its neighbours are",
     "match word.compare_exchange_weak(tags, with, Ordering::Relaxed, Ordering::Relaxed) {",
     "match Ok::<u64, u64>(word.swap(with, Ordering::Relaxed)) {", HELD),
    (TABLE, "the table grows whatever its level is",
     "let _ = self.level.compare_exchange(level, level + 1, Ordering::Release, Ordering::Relaxed);",
     "self.level.store(level + 1, Ordering::Release);", HELD),
    (TABLE, "a record is entered whatever its bucket has become since it was searched",
     "let control = if planted(Canary::BlindEntry) { bucket.control() } else { control };",
     "let control = bucket.control();", HELD),
    # The records.
    (FREE, "a popper does not look whether the head has come back",
     "let tag = if planted(Canary::UntaggedHead) { 0 } else { TAG };",
     "let tag = 0;", ("loom", "loom_the_free_list")),
    (FREE, "a popper takes whatever the head has become",
     "match self.0.compare_exchange_weak(head, tagged, Ordering::Relaxed, Ordering::Acquire) {",
     "match Ok::<u64, u64>(self.0.swap(tagged, Ordering::AcqRel)) {", ("loom", "loom_what_is_pushed")),
    (FREE, "a pusher overwrites whatever the head has become",
     "match self.0.compare_exchange_weak(head, pushed, Ordering::Release, Ordering::Relaxed) {",
     "match Ok::<u64, u64>(self.0.swap(pushed, Ordering::AcqRel)) {", ("loom", "loom_what_is_pushed")),
    (SLAB, "whoever takes a record that was never used does not look again whether there is one",
     "loop {\n"
     "            if fresh >= self.max_hosts {",
     "let first = fresh;\n"
     "        loop {\n"
     "            if first >= self.max_hosts {", ("loom", "loom_the_last_record")),
    (SLAB, "a record that was never used is taken whoever else takes one",
     "match self.fresh.compare_exchange_weak(fresh, fresh + 1, Ordering::Relaxed, Ordering::Relaxed) {",
     "match Ok::<u32, u32>(self.fresh.swap(fresh + 1, Ordering::Relaxed)) {", ("loom", "loom_the_last_record")),
    (LINE, "a record is made free whatever it has become",
     "let _ = self.word.compare_exchange(0, free.bits(), Ordering::Relaxed, Ordering::Relaxed);",
     "self.word.store(free.bits(), Ordering::Relaxed);", SCHEDULES),
    (IDS, "a block that was never used is taken whoever else takes one",
     "match self.fresh.compare_exchange_weak(fresh, next, Ordering::Relaxed, Ordering::Relaxed) {",
     "match Ok::<u32, u32>(self.fresh.swap(next, Ordering::Relaxed)) {", ("loom", "loom_long_ids")),
    (IDS, "a piece of blocks takes the place of another",
     "if slot.compare_exchange(std::ptr::null_mut(), made, Ordering::Release, Ordering::Relaxed).is_err() {",
     "slot.store(made, Ordering::Release);\n"
     "        if false {", ("loom", "loom_long_ids")),
    (DIRTY, "a marker that finds its leaf bit set does not set the others",
     "if before & 1 << bit != 0 && planted(Canary::TrustedLeaf) {",
     "if before & 1 << bit != 0 {", ("loom", "loom_a_shortened_deadline")),
    # Announces and goodbyes.
    (SHARED, "a look-up that finds a dead host does not ask the index again",
     "if again == handle || planted(Canary::TrustedDeath) {",
     "if again == handle || again != handle {", ("loom", "loom_an_id_that_is_replaced")),
    (SHARED, "a goodbye that finds a dead host does not look for its successor",
     "if let Ok(user_data) = self.say_goodbye(handle) {\n"
     "                return Ok(user_data);\n"
     "            }",
     "return self.say_goodbye(handle).map_err(|_| LeaveError::NotFound);", HELD),
    (SHARED, "a goodbye does not look at the generation",
     "if record.generation() != handle.generation() {\n"
     "                return Err(State::Free);",
     "if false {\n"
     "                return Err(State::Free);", HELD),
    (SHARED, "a goodbye looks at the generation before the word",
     "let word = record.word();\n"
     "            point(Point::Judging);\n"
     "            if record.generation() != handle.generation() {\n"
     "                return Err",
     "let other = record.generation() != handle.generation();\n"
     "            let word = record.word();\n"
     "            if other {\n"
     "                return Err", HELD),
    (SHARED, "a goodbye reads the user data after its CAS",
     "point(Point::Left);\n",
     "point(Point::Left);\n"
     "                let user_data = record.user_data();\n", HELD),
    (LINE, "a word is replaced whatever it has become",
     "self.word.compare_exchange(old.bits(), new.bits(), Ordering::Relaxed, Ordering::Relaxed).is_ok()",
     "let _ = old;\n"
     "        self.store_word(new);\n"
     "        true", HELD),
    (LINE, "an announce replaces a word whatever it has become",
     "self.word.compare_exchange(old.bits(), new.bits(), Ordering::SeqCst, Ordering::Relaxed).is_ok()",
     "let _ = old;\n"
     "        self.word.store(new.bits(), Ordering::SeqCst);\n"
     "        true", HELD),
    (RENEW, "a plain announce does not look at the generation",
     "if record.generation() != handle.generation() {\n"
     "            return false;",
     "if false {\n"
     "            return false;", HELD),
    (RENEW, "a plain announce looks at the generation before the word",
     "let word = record.word_seq();\n"
     "        point(Point::Judging);\n"
     "        if record.generation() != handle.generation() {\n"
     "            return false;",
     "let other = record.generation() != handle.generation();\n"
     "        let word = record.word_seq();\n"
     "        if other {\n"
     "            return false;", HELD),
    (RENEW, "an announce does not look at the generation",
     "if record.generation() != handle.generation() {\n"
     "                return Touch::Gone;",
     "if false {\n"
     "                return Touch::Gone;", HELD),
    (RENEW, "an announce looks at the generation before the word",
     "let word = record.word_seq();\n"
     "            point(Point::Judging);\n"
     "            if record.generation() != handle.generation() {\n"
     "                return Touch",
     "let other = record.generation() != handle.generation();\n"
     "            let word = record.word_seq();\n"
     "            if other {\n"
     "                return Touch", HELD),
    (RENEW, "an announce that lost against another one does not look again",
     "if changed && !record.swap_word_seq(word, new) {\n"
     "                continue;\n"
     "            }",
     "if changed {\n"
     "                record.swap_word_seq(word, new);\n"
     "            }", HELD),
    (RENEW, "a plain announce reads when the observer looks before it changes the word",
     "if !record.swap_word_seq(word, new) {\n"
     "            return false;\n"
     "        }\n"
     "        point(Point::Heard);\n"
     "        if new.last_of_live() + new.ttl_floor() < record.armed_seq() {",
     "let armed = record.armed_seq();\n"
     "        if !record.swap_word_seq(word, new) {\n"
     "            return false;\n"
     "        }\n"
     "        point(Point::Heard);\n"
     "        if new.last_of_live() + new.ttl_floor() < armed {", ("loom", "loom_a_hint_moved_upward")),
    (RENEW, "an announce reads the alarm before it marks",
     "self.slab.mark(index);\n"
     "        point(Point::Marked);",
     "if due >= self.alarm.load(Ordering::Relaxed) {\n"
     "            return self.slab.mark(index);\n"
     "        }\n"
     "        self.slab.mark(index);\n"
     "        point(Point::Marked);", ("loom", "loom_an_announcer_and")),
    # Registrations.
    (REGISTRATION, "whoever takes a place does not look again whether there is one",
     "loop {\n"
     "            if taken >= self.max_hosts && !force {",
     "let first = taken;\n"
     "        loop {\n"
     "            if first >= self.max_hosts && !force {", HELD),
    (REGISTRATION, "a place is taken whoever else takes one",
     "match self.places.compare_exchange_weak(taken, taken + 1, Ordering::Relaxed, Ordering::Relaxed) {",
     "match Ok::<u64, u64>(self.places.swap(taken + 1, Ordering::Relaxed)) {", HELD),
    (REGISTRATION, "a registrant does not look whether its record is still its own",
     "word.state() == State::Reserved && self.record.generation() == self.handle.generation();",
     "word.state() == State::Reserved;", HELD),
    (REGISTRATION, "a registrant looks whether its record is its own before it reads the word",
     "let word = self.record.word();\n"
     "        point(Point::Judging);\n"
     "        let reserved = word.state() == State::Reserved && self.record.generation() == "
     "self.handle.generation();",
     "let own = self.record.generation() == self.handle.generation();\n"
     "        let word = self.record.word();\n"
     "        let reserved = word.state() == State::Reserved && own;", HELD),
    # Replacements.
    (REPLACE, "a replacer does not wait for another one",
     "Some(old) if self.is_alive(old) => Found::Busy,",
     "Some(old) if self.is_alive(old) => Found::Dead,", ("loom", "loom_two_replacements")),
    (REPLACE, "a replacer takes a host for dead that is being registered",
     "_ if self.hear(handle, call).is_some() => Found::Alive,",
     "_ if false && self.hear(handle, call).is_some() => Found::Alive,", HELD),
    (REPLACE, "whoever reads which host a record replaces does not look whose record it is by then",
     "old.filter(|_| record.generation() == handle.generation() && record.word() == word)",
     "old", HELD),
    (REPLACE, "a replacement counts as soon as the index knows it",
     "if self.is_alive(old) && !planted(Canary::HastyReplacement) {",
     "if false {", HELD),
    # Views.
    (VIEWS, "a look-up does not look at the generation",
     "word.is_alive() && record.generation() == handle.generation()",
     "word.is_alive()", HELD),
    (VIEWS, "a look-up looks at the generation before the word",
     "let word = record.word();\n"
     "            point(Point::Judging);\n"
     "            word.is_alive() && record.generation() == handle.generation()",
     "record.generation() == handle.generation() && record.word().is_alive()", HELD),
    (VIEWS, "an inspection does not look at the generation",
     "(record.generation() == handle.generation()).then_some((word, user_data, armed, held))",
     "Some((word, user_data, armed, held))", HELD),
    (VIEWS, "an inspection looks at the generation before it has read the record",
     "let word = record.word();\n"
     "        point(Point::Viewing);",
     "let word = record.word();\n"
     "        if record.generation() == handle.generation() {\n"
     "            point(Point::Viewing);\n"
     "            return Some((word, record.user_data(), record.armed(), None));\n"
     "        }", HELD),
    (VIEWS, "a walk does not look whose id it has read",
     "            self.slab.of(entered).filter(|record| record.generation() == entered.generation())?;\n",
     "", HELD),
    (VIEWS, "a walk does not look for the successor of a host that it finds dead",
     "std::iter::from_fn(|| self.find(id).ok()).inspect(|_| point(Point::LookedUp)).find_map(living)",
     "None", HELD),
    (VIEWS, "a walk looks for one successor of a host that it finds dead",
     "std::iter::from_fn(|| self.find(id).ok()).inspect(|_| point(Point::LookedUp)).find_map(living)",
     "self.find(id).ok().inspect(|_| point(Point::LookedUp)).and_then(living)", HELD),
    # The observer.
    (ENGINE, "the observer does not look at the word again after it armed a record",
     "if !word.is_alive() || s.look_at(word) >= due || planted(Canary::NoSecondLook) {",
     "if word.is_alive() || !word.is_alive() {", ("loom", "loom_a_hint_moved_upward")),
    (ENGINE, "the observer does not look at the word again after it spared a host",
     "if record.word() != word {\n"
     "            return false;\n"
     "        }\n",
     "let _ = word;\n", ("loom", "loom_a_spared_host")),
    (ENGINE, "the observer makes a host suspect whatever its word has become",
     "if !record.swap_word(word, suspect) {\n"
     "            return false;\n"
     "        }",
     "record.store_word(suspect);", HELD),
    (ENGINE, "the observer does not visit a record again whose word has changed",
     "if settled {\n"
     "                return;\n"
     "            }",
     "let _ = settled;\n"
     "            return;", HELD),
    (HANDING, "the observer takes a host whatever its word has become",
     "if !claim(record, word, taken) {\n"
     "            return false;\n"
     "        }",
     "record.store_word(taken);", HELD),
    (OUTSTANDING, "the observer hands a leave out again though it was answered meanwhile",
     ".filter(|entry| matches!(entry.phase, Phase::Out(_) | Phase::Retry(_)));",
     ".filter(|_| true);", HELD),
    (HANDING, "a host is taken though its suspect event was not drained",
     "s.is_untold(Handle::new(index, record.generation()), true) && !planted(Canary::Untold) {",
     "false {", ("shuttle", "shuttle_a_small_queue")),
    (ENGINE, "the observer sleeps without a look at the bitmap",
     "let asleep = !(s.slab.any_marked() || s.clock.is_closed()",
     "let asleep = !(s.clock.is_closed()", ("loom", "loom_an_announcer_and")),
    (ENGINE, "the observer sleeps without a look whether the wheel was closed",
     "let asleep = !(s.slab.any_marked() || s.clock.is_closed()",
     "let asleep = !(s.slab.any_marked()", ("loom", "loom_close_reaches")),
    (ENGINE, "the observer sleeps without a look at the queue",
     " || starved && self.room(s) == Room::Yes);",
     ");", ("loom", "loom_room_in_a_full")),
    (SWEEP, "a goodbye that one sweep finds unvisited is taken for lost",
     "State::Left => return lingers(record) && now > word.last(),",
     "State::Left => return now > word.last(),", HELD),
    (SWEEP, "a host that one sweep finds in no list is taken for lost",
     "return s.look_at(word) + OVERDUE < now && lingers(record);",
     "return s.look_at(word) + OVERDUE < now;", HELD),
    (SWEEP, "a host that one sweep finds without an event to wait for is taken for lost",
     "(!nowhere || lingers(record))",
     "(!nowhere || record.place().0 == 0)", HELD),
]

# What is near a file, in the order of what it costs.
NEAR = {
    TABLE: [INDEX, HELD, SCHEDULES], BUCKET: [INDEX, HELD, SCHEDULES],
    FREE: [MEMORY, HELD, SCHEDULES], IDS: [MEMORY, HELD, SCHEDULES],
    REPLACE: [REPLACEMENT, HELD, SCHEDULES],
}
NEAR_ANY = [HELD, MEMORY, REPLACEMENT, HANDSHAKE, LIFE, SCHEDULES]

# The name of a look -> why nothing can notice that it is gone.
EXCEPTIONS = {
    "the observer sleeps without a look whether the wheel was closed":
        "whoever closes the wheel wakes the thread, and a wake before the sleep is kept: the look spares one sleep",
}


def arguments(cfg, tests):
    profile = ["--release"] if cfg else []
    return ["test", *profile, "--lib", "--", tests, "--skip", "canary", "--skip", "canaries", "--test-threads", "2"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="only looks whose file or name contains this")
    parser.add_argument("--list", action="store_true", help="only says what there is, and whether it is found")
    parser.add_argument("--first", action="store_true", help="asks only the tests that should notice first")
    args = parser.parse_args()
    began = time.time()
    verdicts = {"noticed": 0, "excused": 0, "SURVIVED": 0}
    chosen = [look for look in LOOKS if args.only in f"{look[0]}: {look[1]}"]
    with Tree("looks") as tree:
        for name, look, old, new, _ in chosen:
            count = open(tree.path(name)).read().count(old)
            if count != 1:
                sys.exit(f"{name}: {look}: the text is there {count} times\n{old}")
        for name, look, old, new, first in chosen:
            if args.list:
                print(f"{name}: {look}")
                continue
            near = [] if args.first else [tests for tests in NEAR.get(name, NEAR_ANY) if tests != first]
            stages = [first, *near]
            by = None
            with tree.changed(name, lambda original: original.replace(old, new)):
                for cfg, tests in stages:
                    tree.build(cfg, ["test", *(["--release"] if cfg else []), "--lib"], f"{name}: {look}")
                    by = tree.noticed(cfg, arguments(cfg, tests))
                    if by:
                        break
            verdict = "noticed" if by else "excused" if look in EXCEPTIONS else "SURVIVED"
            verdicts[verdict] += 1
            why = f" by {by}" if by else f": {EXCEPTIONS[look]}" if look in EXCEPTIONS else ""
            print(f"{name}: {look}: {verdict}{why}", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()), f"in {time.time() - began:.0f} s")
    sys.exit(1 if verdicts["SURVIVED"] else 0)


if __name__ == "__main__":
    main()
