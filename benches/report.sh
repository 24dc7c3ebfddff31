#!/usr/bin/env bash
# All benchmarks in one report: the library beside its floor, beside other timers and caches, from C and from Go. Alone on the
# machine. Prints it and keeps it in target/report.txt; progress goes to standard error.
#
#   benches/report.sh          at most 15 minutes, builds included; peers with 10 M hosts where the time is left
#   benches/report.sh short    at most 3 minutes: small fleets, few rounds
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-whole} in
whole)
    fleets=10000,1000000,10000000 peer_fleets=10000,100000,1000000 c_fleets="10000 1000000" go_fleets=10000,100000
    rounds=3 limit=250 large=10000000 minutes=15
    ;;
short)
    fleets=10000 peer_fleets=10000 c_fleets=10000 go_fleets=10000
    rounds=2 limit=30 large= minutes=3
    ;;
*)
    echo "usage: benches/report.sh [short]" >&2
    exit 2
    ;;
esac
target=${CARGO_TARGET_DIR:-target}
# What the peers' part of the largest fleet takes, in seconds.
least=280

part() { printf '\n=== %s (%d s since start)\n\n' "$1" "$SECONDS"; }

core() {
    part "hostwheel and its floor"
    # No name matches: criterion would only say once more what is in the tables.
    HOSTWHEEL_BENCH_HOSTS=$fleets HOSTWHEEL_BENCH_ROUNDS=$rounds cargo bench --quiet --locked --bench core -- '^$'
}

peers() { # hosts; and the environment
    HOSTWHEEL_BENCH_HOSTS=$1 cargo bench --quiet --locked --manifest-path benches/peers/Cargo.toml --target-dir "$target/peers"
}

c() {
    part "from C: the ABI, libevent, libuv"
    for header in event2/event.h uv.h; do
        echo "#include <$header>" | gcc -E - >/dev/null 2>&1 || apt-get install -qy libevent-dev libuv1-dev >&2 || {
            echo "skipped: it needs gcc, libevent-dev and libuv1-dev"
            return
        }
    done
    # shellcheck disable=SC2086
    ffi/bench.sh $c_fleets
}

go_() {
    part "from Go: both backends, and what a scheduler does today"
    command -v go >/dev/null || {
        echo "skipped: there is no go"
        return
    }
    eval "$(ffi/go/native.sh)"
    (cd ffi/go/bench && go run -tags hostwheel_native . -hosts "$go_fleets" -rounds "$rounds" -life 0)
}

largest() {
    [ -n "$large" ] || return 0
    local left=$((minutes * 60 - 30 - SECONDS))
    part "hostwheel and its peers, $large hosts"
    if [ "$left" -lt "$least" ]; then
        echo "skipped: no time is left. HOSTWHEEL_BENCH_HOSTS=$large cargo bench --manifest-path benches/peers/Cargo.toml"
        return
    fi
    # Each is tried on a tenth first, and may be slower on the whole than that says; so it may take less than its half.
    HOSTWHEEL_BENCH_ROUNDS=1 HOSTWHEEL_BENCH_SUBJECTS=hostwheel,DelayQueue HOSTWHEEL_BENCH_SECONDS=$(((left - 30) / 2)) \
        peers "$large"
}

report() {
    git describe --always --dirty 2>/dev/null || true
    core
    part "hostwheel and its peers"
    HOSTWHEEL_BENCH_ROUNDS=$rounds HOSTWHEEL_BENCH_SECONDS=$limit peers "$peer_fleets"
    c
    go_
    largest
    printf '\n%d s in all\n' "$SECONDS"
}

mkdir -p "$target"
report | tee "$target/report.txt"
