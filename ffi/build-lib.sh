#!/usr/bin/env bash
# Builds the C libraries: libhostwheel.so.0 with its links, and libhostwheel.a, prelinked so that it exports hostwheel_*
# only and links beside another static library written in Rust. Prints the folder.
# Usage: ffi/build-lib.sh [folder] (default target/c)
# For another machine: CARGO_BUILD_TARGET says which (default folder target/c-<target>), CROSS_COMPILE what the names of
# its tools begin with, as in aarch64-linux-gnu-.
set -euo pipefail
cd "$(dirname "$0")/.."
# Standard output is for the folder's name alone.
exec 3>&1 1>&2
target=${CARGO_BUILD_TARGET:-}
tools=${CROSS_COMPILE:-}
out=${1:-${CARGO_TARGET_DIR:-target}/c${target:+-$target}}
build=${CARGO_TARGET_DIR:-target}/c-build
version=$(sed -n 's/^version = "\(.*\)"/\1/p' ffi/Cargo.toml | head -1)
major=${version%%.*}

for tool in "${tools}gcc" "${tools}ld" "${tools}objcopy"; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install gcc libc6-dev binutils" >&2; exit 1; }
done
release=$build/${target:+$target/}release
cargo rustc --release --locked --quiet -p hostwheel-ffi --lib --crate-type cdylib,staticlib --target-dir "$build" \
    --config 'profile.release.lto="fat"' --config profile.release.codegen-units=1 --config profile.release.debug=false

# Made aside and moved into place, so that whoever links meanwhile sees a whole file.
mkdir -p "$out"
made=$(mktemp -d "$out/.made.XXXXXX")
trap 'rm -rf "$made"' EXIT
cp "$release/libhostwheel_ffi.so" "$made/libhostwheel.so.$version"
"${tools}strip" --strip-unneeded "$made/libhostwheel.so.$version"
# Only what the exported functions need; groups are resolved, so that those of another Rust library are not taken for ours.
wanted=$(sed 's/^/-u /' ffi/symbols.txt)
# shellcheck disable=SC2086
"${tools}ld" -r --force-group-allocation $wanted -o "$made/hostwheel.o" "$release/libhostwheel_ffi.a"
# The standard library comes with LLVM bitcode beside its code, which ar's plugins, where there are any, take for the code.
"${tools}objcopy" --wildcard --keep-global-symbol='hostwheel_*' --strip-unneeded --remove-section='.llvm*' "$made/hostwheel.o"
"${tools}ar" rcs "$made/libhostwheel.a" "$made/hostwheel.o"
ln -s "libhostwheel.so.$version" "$made/libhostwheel.so.$major"
ln -s "libhostwheel.so.$major" "$made/libhostwheel.so"
rm "$made/hostwheel.o"
mv -f "$made"/libhostwheel* "$out/"
echo "$out" >&3
