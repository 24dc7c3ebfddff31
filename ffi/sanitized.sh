#!/usr/bin/env bash
# The C tests with library and tests under a sanitizer, or under valgrind. Usage: ffi/sanitized.sh asan|tsan|valgrind
# Each begins with a program that is wrong on purpose, which must be noticed.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:?asan, tsan or valgrind}
triple=$(rustc -vV | sed -n 's/^host: //p')
target=${CARGO_TARGET_DIR:-target}/ffi-$mode
programs=$target/programs
mkdir -p "$programs"
cc="gcc -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -Wall -Wextra -Werror -Iinclude -Iffi/tests"
libs="-lgcc_s -lutil -lrt -lpthread -lm -ldl"

build() { # the library, with the flags given; sanitizers are for the nightly compiler, and for the stable one if it is told so
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="$*" cargo build --quiet --release --locked --target "$triple" --target-dir "$target" -p hostwheel-ffi
}

must_fail() { # a program that is wrong on purpose
    if "$@" >"$programs/canary.log" 2>&1; then
        echo "$mode does not notice a planted bug: $*"
        exit 1
    fi
}

# A use of a wheel after it was freed: found in the library's code, not in the program's.
cat >"$programs/canary.c" <<'C'
#include "check.h"
int main(void) {
  static struct log log;
  hostwheel_config_t config = manual_config(&log);
  hostwheel_t *wheel = open_with(&config);
  uint64_t now;
  hostwheel_free(wheel);
  return hostwheel_now(wheel, &now);
}
C
# A datum that two threads write.
cat >"$programs/race.c" <<'C'
#include <pthread.h>
static int shared;
static void *add(void *arg) { int i; for (i = 0; i < 100000; i++) shared++; return arg; }
int main(void) {
  pthread_t other;
  if (pthread_create(&other, 0, add, 0) != 0) return 0;
  add(0);
  pthread_join(other, 0);
  return 0;
}
C

case $mode in
asan)
    build -Zsanitizer=address
    flags="-fsanitize=address,undefined -fno-sanitize-recover=all"
    library=$target/$triple/release/libhostwheel_ffi.a
    $cc $flags "$programs/canary.c" "$library" $libs -o "$programs/canary"
    must_fail "$programs/canary"
    grep -q heap-use-after-free "$programs/canary.log"
    for source in ffi/tests/*.c ffi/examples/*.c; do
        # The sanitizer needs terabytes of addresses itself.
        [ "$source" != ffi/tests/short_memory.c ] || continue
        $cc $flags "$source" "$library" $libs -o "$programs/program"
        echo "asan: $source"
        ASAN_OPTIONS=detect_leaks=1 "$programs/program" >/dev/null
    done
    ;;
tsan)
    build -g -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer
    library=$target/$triple/release/libhostwheel_ffi.a
    # The runtime of the Rust compiler, for both sides.
    runtime=$(find "$(rustc --print sysroot)/lib/rustlib/$triple/lib" -name 'librustc-*_rt.tsan.a')
    link() {
        $cc -fsanitize=thread -c "$1" -o "$programs/program.o"
        gcc "$programs/program.o" "$library" "$runtime" $libs -o "$programs/program"
    }
    link "$programs/race.c"
    must_fail "$programs/program"
    export TSAN_OPTIONS="suppressions=ffi/tests/tsan.supp"
    # Not lifecycle.c: after a fork of a process with threads the runtime makes no promises.
    for name in threads delivery user_data api cut; do
        link "ffi/tests/$name.c"
        echo "tsan: $name"
        "$programs/program" >/dev/null
    done
    ;;
valgrind)
    build -Cdebuginfo=1
    library=$target/$triple/release/libhostwheel_ffi.a
    memcheck="valgrind --quiet --fair-sched=yes --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=9"
    $cc "$programs/canary.c" "$library" $libs -o "$programs/canary"
    must_fail $memcheck "$programs/canary"
    for run in api delivery user_data cut "lifecycle no-fork" "threads 40"; do
        echo "valgrind: $run"
        read -r name argument <<<"$run"
        $cc "ffi/tests/$name.c" "$library" $libs -o "$programs/program"
        $memcheck "$programs/program" $argument
    done
    ;;
*)
    echo "asan, tsan or valgrind"
    exit 2
    ;;
esac
