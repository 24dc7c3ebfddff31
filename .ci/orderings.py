#!/usr/bin/env python3
"""Weakens each atomic ordering and fence of the lock-free code, one at a time, and expects a loom model to fail.

An ordering that can be weakened unnoticed is either stronger than needed or lacks a model. Those for which a reason is
known are listed in EXCEPTIONS, with it. Usage: .ci/orderings.py [--only TEXT] [--after FILE:LINE] [--excused] [--green] (from the top of the repository).
"""

import argparse
import os
import re
import sys
import time

sys.dont_write_bytecode = True
from mutants import Tree

FILES = [
    "src/record/line.rs",
    "src/record/slab.rs",
    "src/record/free.rs",
    "src/record/dirty.rs",
    "src/liveness/mod.rs",
    "src/liveness/renew.rs",
    "src/liveness/registration.rs",
    "src/liveness/replace.rs",
    "src/liveness/views.rs",
    "src/liveness/engine.rs",
    "src/clock.rs",
    "src/clock/counter.rs",
    "src/record/ids.rs",
    "src/index/bucket.rs",
    "src/index/table.rs",
]

# The models that may notice something, those that should first.
INDEX = ["index::models", "models::memory"]
LIVENESS = ["models::handshake", "models::replace", "models::life", "models::stamps"]


def models_of(name):
    if name.startswith("src/clock"):
        return ["models::stamps"]
    if name.startswith("src/index") or name == "src/record/ids.rs":
        return INDEX
    return [INDEX[1], *LIVENESS] if name.startswith("src/liveness") else [INDEX[1], INDEX[0], *LIVENESS]


# What an ordering is weakened to. SeqCst accesses are on the announcer's path only, where they stand for a fence that loom
# gets explicitly (Record::armed_seq; the canary NoAnnouncerFence removes it). Left to test are their acquire and release.
WEAKER = {
    "Acquire": ["Relaxed"],
    "Release": ["Relaxed"],
    "AcqRel": ["Acquire", "Release"],
    "SeqCst": ["Acquire"],  # a load: Relaxed
}

# (file, the source line, weakened to) -> why no model can notice.
EXCEPTIONS = {
    ("src/record/line.rs", "self.armed.load(Ordering::SeqCst)", "Relaxed"):
        "loom has the explicit fence in its place",
    ("src/record/dirty.rs", "slab.middle[middle].fetch_or(1 << leaf_bit, Ordering::Release);", "Relaxed"):
        "orders the leaf bit before the middle bit; loom runs read-modify-writes in program order and reads the latest",
    ("src/record/dirty.rs", "self.middle = slab.middle[self.middle_word].swap(0, Ordering::Acquire);", "Relaxed"):
        "the other side of the same order",
    ("src/record/dirty.rs", "slab.top[middle / FAN].fetch_or(1 << (middle % FAN), Ordering::Release);", "Relaxed"):
        "orders the middle bit before the top bit; as above",
    ("src/record/dirty.rs", "self.top = word.swap(0, Ordering::Acquire);", "Relaxed"):
        "the other side of the same order",
    ("src/record/slab.rs", "if index < self.backed.load(Ordering::Acquire) {", "Relaxed"):
        "publication of more records: in models all have memory from the start (there would be thousands of loom objects)",
    ("src/record/slab.rs", "self.backed.fetch_max(end as u32, Ordering::Release);", "Relaxed"):
        "the other side of the same publication",
    ("src/index/bucket.rs", "&& self.slots[slot].compare_exchange(empty, claimed, Ordering::AcqRel, Ordering::Relaxed).is_ok()", "Release"):
        "orders the tag of the slot's last owner before that of the new one, both read-modify-writes, which loom runs in program order",
    ("src/index/table.rs", "self.level.load(Ordering::Acquire)", "Relaxed"):
        "publication of more buckets: in models all have memory from the start",
    ("src/index/table.rs", "let _ = self.level.compare_exchange(level, level + 1, Ordering::Release, Ordering::Relaxed);", "Relaxed"):
        "the other side of the same publication",
    ("src/record/ids.rs", "if !slot.load(Ordering::Acquire).is_null() {", "Relaxed"):
        "publication of a piece of blocks: as above",
    ("src/record/ids.rs", "if slot.compare_exchange(std::ptr::null_mut(), made, Ordering::Release, Ordering::Relaxed).is_err() {", "Relaxed"):
        "the other side of the same publication",
    ("src/record/ids.rs", "let space = self.pieces[piece].load(Ordering::Acquire);", "Relaxed"):
        "the same publication, for who reads",
    ("src/clock.rs", "let shift_ns = || self.published.shift_ns.load(Ordering::Acquire);", "Relaxed"):
        "part of the order look, shift, sum, counter; in the model who makes a sum has read a time from after the look before",
}


def sites(root):
    for name in FILES:
        lines = open(os.path.join(root, name)).read().split("\n")
        for number, line in enumerate(lines):
            if re.search(r"mod (tests|os) \{", line):
                break
            code = line.split("//")[0]
            if re.search(r"\bfence\(Ordering::\w+\);", code):
                yield name, number, line, re.sub(r"[\w:]*fence\(Ordering::\w+\);", "();", line, count=1), "no fence"
                continue
            for match in re.finditer(r"Ordering::(Acquire|Release|AcqRel|SeqCst)\b", code):
                for weaker in WEAKER[match[1]]:
                    if match[1] == "SeqCst" and ".load(" in code:
                        weaker = "Relaxed"
                    mutated = line[: match.start(1)] + weaker + line[match.end(1):]
                    yield name, number, line, mutated, weaker


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="only sites whose file:line or text contains this")
    parser.add_argument("--preemptions", default="2", help="LOOM_MAX_PREEMPTIONS of the models (default 2)")
    parser.add_argument("--excused", action="store_true", help="also runs the models for what is excused")
    parser.add_argument("--after", default="", help="only sites after this file:line")
    parser.add_argument("--green", action="store_true", help="the models are known to pass without a mutation")
    args = parser.parse_args()
    models = {"LOOM_MAX_PREEMPTIONS": args.preemptions}
    test = ["test", "--release", "--lib"]

    def stage(tests):
        return [*test, "--", tests, "--skip", "canary", "--test-threads", "2"]

    began = time.time()
    noticed, excused, survived = 0, 0, []
    with Tree("orderings") as tree:
        if not args.green and tree.cargo("loom", stage("loom_"), **models):
            sys.exit("the models fail without any mutation")
        every = [(f"{name}:{number + 1}", name, number, *rest) for name, number, *rest in sites(tree.root)]
        first = max((at + 1 for at, site in enumerate(every) if site[0] == args.after), default=0)
        for where, name, number, line, mutated, weaker in every[first:]:
            if args.only not in where + " " + line:
                continue
            reason = EXCEPTIONS.get((name, line.strip(), weaker))
            if reason and not args.excused:
                excused += 1
                print(f"{where}: {line.strip()} -> {weaker}: excused: {reason}", flush=True)
                continue

            def change(original):
                lines = original.split("\n")
                lines[number] = mutated
                return "\n".join(lines)

            with tree.changed(name, change):
                tree.build("loom", test, where, **models)
                found = (tree.noticed("loom", stage(near), **models) for near in models_of(name))
                by = next((by for by in found if by), None)
            if by:
                noticed += 1
                verdict = f"noticed by {by}"
            elif reason:
                excused += 1
                verdict = f"excused: {reason}"
            else:
                survived.append(where)
                verdict = "SURVIVED"
            print(f"{where}: {line.strip()} -> {weaker}: {verdict}", flush=True)
    print(f"{noticed} noticed, {excused} excused, {len(survived)} survived, in {time.time() - began:.0f} s")
    sys.exit(1 if survived or noticed == 0 else 0)


if __name__ == "__main__":
    main()
