#!/usr/bin/env bash
# Installs the C libraries, the header and hostwheel.pc, or removes them. Usage: ffi/install.sh [uninstall]
# Respects DESTDIR, PREFIX (default /usr/local) and LIBDIR (default $PREFIX/lib).
set -euo pipefail
# Paths that are given count from where we were called.
[ -z "${DESTDIR:-}" ] || DESTDIR=$(realpath -m "$DESTDIR")
[ -z "${HOSTWHEEL_BUILT:-}" ] || HOSTWHEEL_BUILT=$(realpath "$HOSTWHEEL_BUILT")
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
libdir=${LIBDIR:-$prefix/lib}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' ffi/Cargo.toml | head -1)
major=${version%%.*}
libs="${DESTDIR:-}$libdir"
include="${DESTDIR:-}$prefix/include"

if [ "${1:-}" = uninstall ]; then
    rm -f "$libs/libhostwheel.so.$version" "$libs/libhostwheel.so.$major" "$libs/libhostwheel.so" "$libs/libhostwheel.a" \
        "$libs/pkgconfig/hostwheel.pc" "$include/hostwheel.h"
    exit
fi
built=${HOSTWHEEL_BUILT:-$(ffi/build-lib.sh)}
mkdir -p "$libs/pkgconfig" "$include"
install -m 755 "$built/libhostwheel.so.$version" "$libs/"
ln -sf "libhostwheel.so.$version" "$libs/libhostwheel.so.$major"
ln -sf "libhostwheel.so.$major" "$libs/libhostwheel.so"
install -m 644 "$built/libhostwheel.a" "$libs/"
install -m 644 include/hostwheel.h "$include/"
# As pkg-config reads it, a space in a path has a backslash before it.
pc=$(<ffi/hostwheel.pc.in)
pc=${pc//@PREFIX@/"${prefix// /\\ }"}
pc=${pc//@LIBDIR@/"${libdir// /\\ }"}
printf '%s\n' "${pc//@VERSION@/"$version"}" >"$libs/pkgconfig/hostwheel.pc"
chmod 644 "$libs/pkgconfig/hostwheel.pc"
