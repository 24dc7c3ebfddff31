#!/usr/bin/env python3
"""Reads lcov from standard input and prints a table of line and branch coverage, then every line that was not reached.

What is there for tests alone does not count: modules behind `#[cfg(test)]` at a file's end, and the files named below.
"""

import re
import sys

FOR_TESTS = re.compile(r"/(tests|models|schedules)/|/(held|canary|pause|tests|check)\.rs$")
TEST_MODULE = re.compile(r"#\[cfg\((all\()?test\b")


def end_of_code(path):
    """The number of the line at which a file's tests begin."""
    lines = open(path, encoding="utf-8").read().splitlines()
    for number, line in enumerate(lines, 1):
        follows = lines[number : number + 1]
        if TEST_MODULE.match(line) and follows and re.match(r"mod \w+ \{", follows[0]):
            return number
    return len(lines) + 1


def read(lcov):
    """By file: {line: count} and [(line, taken)]."""
    files = {}
    for entry in lcov:
        kind, _, rest = entry.strip().partition(":")
        if kind == "SF":
            lines, branches = files.setdefault(rest, ({}, []))
            end = end_of_code(rest)
        elif kind == "DA":
            line, count = map(int, rest.split(",")[:2])
            if line < end:
                lines[line] = max(lines.get(line, 0), count)
        elif kind == "BRDA":
            line, _, _, taken = rest.split(",")
            if int(line) < end:
                branches.append((int(line), taken not in ("-", "0")))
    return {path: found for path, found in files.items() if not FOR_TESTS.search(path)}


def share(reached, total):
    return f"{reached:5} of {total:5} {100 * reached / total:6.1f} %" if total else " " * 23


def main():
    files = read(sys.stdin)
    sums = [0, 0, 0, 0]
    print(f"{'':34}{'lines':>23}   {'branches':>23}")
    missed = []
    for path, (lines, branches) in sorted(files.items()):
        name = re.sub(r"^.*?((ffi/)?src/)", r"\1", path)
        figures = [
            sum(count > 0 for count in lines.values()),
            len(lines),
            sum(taken for _, taken in branches),
            len(branches),
        ]
        sums = [a + b for a, b in zip(sums, figures)]
        print(f"{name:34}{share(*figures[:2])}   {share(*figures[2:])}".rstrip())
        source = open(path, encoding="utf-8").read().splitlines()
        missed += [f"{name}:{line}: {source[line - 1].strip()}" for line, count in sorted(lines.items()) if count == 0]
    print(f"{'in all':34}{share(*sums[:2])}   {share(*sums[2:])}")
    print("\nNot reached:")
    print("\n".join(missed))


main()
