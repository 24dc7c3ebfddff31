#!/usr/bin/env bash
# The C benchmark: calls through the ABI beside the direct call, libevent and libuv. Usage: ffi/bench.sh [hosts ...]; alone on the
# machine.
set -euo pipefail
cd "$(dirname "$0")/.."
for header in event2/event.h uv.h; do
    echo "#include <$header>" | gcc -E - >/dev/null 2>&1 || {
        echo "$header is missing: apt-get install gcc libevent-dev libuv1-dev" >&2
        exit 1
    }
done
target=${CARGO_TARGET_DIR:-target}/c-bench
libraries=$(ffi/build-lib.sh)
# Cargo would build what the tests need before it, which takes half a minute.
cargo rustc --quiet --release --locked -p hostwheel --lib --target-dir "$target"
rustc --edition 2024 -C opt-level=3 --crate-type staticlib ffi/benches/direct.rs -o "$target/libdirect.a" \
    --extern "hostwheel=$target/release/libhostwheel.rlib" -L "dependency=$target/release/deps"
gcc -std=c99 -O2 -Wall -Wextra -Werror -Iinclude ffi/benches/abi.c -o "$target/abi" \
    -L"$libraries" -lhostwheel -Wl,-rpath,"$(realpath "$libraries")" "$target/libdirect.a" \
    -levent_core -luv -lgcc_s -lutil -lrt -lpthread -lm -ldl
"$target/abi" "$@"
