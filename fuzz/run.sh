#!/usr/bin/env bash
# Fuzzing. See README.md.
#
#   fuzz/run.sh [seconds] [target...]   fuzzes each target (or all) for so many seconds, 20 if it is not said
#   fuzz/run.sh canaries [target...]    checks that each target finds each of its planted bugs within 60 s
#
# It starts from the committed corpora and writes to fuzz/target and, what it found, to fuzz/artifacts; it fails if it found
# anything. Without Go, the targets of the Go package are skipped; with HOSTWHEEL_REQUIRE_GO=1 that fails.
set -euo pipefail
cd "$(dirname "$0")"

rust_targets=(operations abi index snapshot)
go_targets=(FuzzIDs FuzzTraces)
declare -A canaries=(
    [operations]="Lost Double Early ForgottenRetry WordReuse NoGrace CountedAbsence Untold"
    [abi]="WrittenOnError KeptUserData WholeStruct TrustedTail Double"
    [index]="HashOnly KeptSlot"
    [snapshot]="LongId LongFrame HalfChecked UncappedAge"
    [FuzzIDs]="TagOnly NarrowLength"
    [FuzzTraces]="Early OldNews"
)
host=$(rustc -vV | sed -n 's/^host: //p')
scratch=$PWD/target/scratch
# Sanitizers are not stable; nothing else here needs that.
export RUSTC_BOOTSTRAP=1
# As cargo-fuzz sets it.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_odr_violation=0}

mode=fuzz
seconds=20
case ${1:-} in
canaries)
    mode=canaries
    seconds=60
    shift
    ;;
[0-9]*)
    seconds=$1
    shift
    ;;
esac
chosen=("$@")
[ $# -gt 0 ] || chosen=("${rust_targets[@]}" "${go_targets[@]}")

is_rust() { [[ " ${rust_targets[*]} " == *" $1 "* ]]; }

for target in "${chosen[@]}"; do
    [ -n "${canaries[$target]:-}" ] || { echo "there is no target $target" >&2; exit 2; }
done

build_rust() {
    [ -z "${built_rust:-}" ] || return 0
    built_rust=1
    cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked --version '~0.13'
    cargo fuzz build --fuzz-dir . --target "$host"
}

# Prints nothing if there is no Go.
find_go() { command -v go || true; }

# The tests as a program, which runs in a folder of its own: what it finds goes there, and not among the committed seeds.
build_go() { # tags
    [ -z "${built_go:-}" ] || return 0
    built_go=1
    go_home=$scratch/go/ffi/go
    mkdir -p "$go_home"
    ln -sfn "$(realpath ../tests)" "$scratch/go/tests"
    (cd ../ffi/go && go test -c -fuzz=. -tags "$1" -o "$go_home/fuzz.test" .)
}

go_tags() {
    if [ "$mode" = canaries ]; then
        echo hostwheel_canary
    elif command -v cc >/dev/null; then
        echo hostwheel_native
    fi
}

# Where a run puts what it finds; empty at first.
fresh() { # folder
    rm -rf "$1"
    mkdir -p "$1"
}

run_rust() { # target findings corpus...
    local target=$1 findings=$2
    shift 2
    "target/$host/release/$target" "$@" -max_total_time="$seconds" -timeout=10 -artifact_prefix="$findings/" \
        -print_final_stats=1
}

run_go() { # target findings cache
    local target=$1 findings=$2 cache=$3 status=0
    fresh "$go_home/testdata/fuzz"
    [ ! -d "../ffi/go/testdata/fuzz" ] || cp -r ../ffi/go/testdata/fuzz/. "$go_home/testdata/fuzz"
    touch "$go_home/begun"
    (cd "$go_home" && ./fuzz.test -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="${seconds}s" \
        -test.fuzzcachedir="$cache" -test.fuzzminimizetime=50x) || status=$?
    find "$go_home/testdata/fuzz/$target" -newer "$go_home/begun" -type f -exec cp {} "$findings" \; 2>/dev/null || true
    return $status
}

# Whether all that a run of Go's says is that its time is over. That is a race in Go's coordinator, not a finding: it takes its
# deadline for a failure if the context's child, by which it knows it, has not heard of it yet. A finding says more.
ended_by_time() {
    [ "$(sed -n '/^--- FAIL: /,$p' "$log" | sed '1d;/^FAIL$/d')" = "    context deadline exceeded" ]
}

# Runs a target and leaves what it says in $log.
run() { # target findings fresh|kept
    local target=$1 findings=$2 corpus=$scratch/corpus/$1
    [ "$3" = kept ] || fresh "$corpus"
    mkdir -p "$corpus" "$findings"
    if is_rust "$target"; then
        run_rust "$target" "$findings" "$corpus" "corpus/$target" >"$log" 2>&1
    else
        run_go "$target" "$findings" "$corpus" >"$log" 2>&1 || {
            ! ended_by_time || return 0
            # Of a seed Go says the name alone.
            grep 'seed corpus entry' "$log" >"$findings/seed" || rm "$findings/seed"
            return 1
        }
    fi
}

mkdir -p "$scratch"
log=$scratch/log
failed=0
for target in "${chosen[@]}"; do
    if is_rust "$target"; then
        build_rust
    elif [ -z "$(find_go)" ]; then
        echo "$target: skipped, there is no go"
        [ "${HOSTWHEEL_REQUIRE_GO:-0}" != 1 ] || failed=1
        continue
    else
        tags=$(go_tags)
        if [ "$tags" = hostwheel_native ] && [ -z "${built_go:-}" ]; then
            eval "$(../ffi/go/native.sh)"
        fi
        build_go "$tags"
    fi
    if [ "$mode" = fuzz ]; then
        findings=$PWD/artifacts/$target
        if run "$target" "$findings" kept; then
            echo "$target: nothing found in $(grep -aoE 'executed_units: [0-9]+|execs: [0-9]+' "$log" | tail -1 | sed 's/.* //') runs"
        else
            tail -n 60 "$log"
            echo "$target: found something, see $findings"
            failed=1
        fi
        continue
    fi
    for canary in ${canaries[$target]}; do
        findings=$scratch/canary
        fresh "$findings"
        began=$SECONDS
        # A failure that leaves no input is another one.
        if ! HOSTWHEEL_CANARY=$canary run "$target" "$findings" fresh && [ -n "$(ls "$findings")" ]; then
            echo "$target: $canary: found in $((SECONDS - began)) s"
        else
            tail -n 20 "$log"
            echo "$target: $canary: NOT FOUND"
            failed=1
        fi
    done
done
exit $failed
