#!/usr/bin/env bash
# Lists the crates that are linked into the C libraries, with their licences, as ffi/LICENSES.md has it.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "# Licences of what is linked into the C libraries"
echo
echo "Made by \`ffi/licenses.sh\`; a test compares. The Rust standard library (MIT OR Apache-2.0) comes with the compiler."
echo
echo "| crate | version | licence |"
echo "|---|---|---|"
cargo tree --locked -p hostwheel-ffi --edges normal --prefix none --target x86_64-unknown-linux-gnu \
    --format '| {p} | {l} |' | sed -e 's/ (\/[^)]*)//' -e 's/ (proc-macro)//' -e 's/ (\*)//' \
    -e 's/^| \([^ ]*\) v\([^ ]*\) |/| \1 | \2 |/' | sort -u
