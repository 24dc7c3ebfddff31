#!/usr/bin/env bash
# Builds the library for the native backend, and prints the line that has Go link it, for: eval "$(ffi/go/native.sh)"
set -euo pipefail
cd "$(dirname "$0")/../.."
libraries=$(ffi/build-lib.sh)
# A folder with the static library alone: what is linked from it needs nothing at run time.
alone=${CARGO_TARGET_DIR:-target}/go${CARGO_BUILD_TARGET:+-$CARGO_BUILD_TARGET}
mkdir -p "$alone"
made=$(mktemp "$alone/.made.XXXXXX")
cp "$libraries/libhostwheel.a" "$made"
mv -f "$made" "$alone/libhostwheel.a"
# Go does not look at what is linked when it decides what to build again; it looks at headers.
header=ffi/go/internal/native/archive.h
line="/* libhostwheel.a: $(sha256sum <"$alone/libhostwheel.a" | cut -d' ' -f1) */"
[ "$(cat "$header" 2>/dev/null)" = "$line" ] || echo "$line" >"$header"
echo "export CGO_LDFLAGS='-L$(realpath "$alone")'"
