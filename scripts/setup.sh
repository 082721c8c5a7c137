#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Installs what building and testing Martlet needs on Debian 12 or 13, and nothing that is there
# already: a second run does no network access and takes a fraction of a second.
#
#   scripts/setup.sh          libraries and tools for `make build`, `make run`, `make unit`
#   scripts/setup.sh --test   and the clients, servers and tracers that `make test` drives
#
# Swift 6.2 or later must be on the path; everything else comes from the distribution.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s : %s : %s\n' "$1" "$2" "$3" >&2; exit 1; }

build_packages=(gcc libc6-dev libstdc++-12-dev make pkg-config git ca-certificates
    liblz4-dev libzstd-dev libxxhash-dev zlib1g-dev curl e2fsprogs jq python3 libnbd-bin)
test_packages=(nbdkit python3-libnbd fio qemu-utils strace valgrind util-linux)

wanted=("${build_packages[@]}")
[ "${1:-}" = "--test" ] && wanted+=("${test_packages[@]}")

# Debian 13 has a newer libstdc++; any version serves, so the name is looked up only when absent.
have() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
missing=()
for package in "${wanted[@]}"; do
    case "$package" in
        libstdc++-12-dev) ls /usr/include/c++/*/cstddef >/dev/null 2>&1 && continue ;;
    esac
    have "$package" || missing+=("$package")
done

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else
        command -v sudo >/dev/null || fail "cannot install ${missing[*]:-BLAKE3}" \
            "not root and no sudo" "run scripts/setup.sh once as root"
        sudo "$@"
    fi
}

export DEBIAN_FRONTEND=noninteractive
updated=no
apt_update() {
    [ "$updated" = yes ] || as_root apt-get update -qq
    updated=yes
}

if [ "${#missing[@]}" -gt 0 ]; then
    command -v apt-get >/dev/null || fail "cannot install ${missing[*]}" "no apt-get here" \
        "install the equivalents of these Debian packages by hand"
    apt_update
    say "installing ${missing[*]}"
    as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    for package in "${missing[@]}"; do
        say "installed $package $(dpkg-query -W -f='${Version}' "$package")"
    done
fi

# BLAKE3: the official C implementation. Debian 13 packages it; on Debian 12 the same sources lie
# in librust-blake3-dev, which is unpacked and never installed.
install_blake3_from_source() {
    local work version sources
    work=$(mktemp -d)
    trap 'rm -rf "$work"' RETURN
    apt_update
    (cd "$work" && apt-get download -qq librust-blake3-dev) ||
        fail "cannot fetch librust-blake3-dev" "apt-get download failed" "check the apt sources"
    dpkg-deb -x "$work"/librust-blake3-dev_*.deb "$work/root"
    sources=$(dirname "$(find "$work/root" -path '*/c/blake3.c')")
    version=$(sed -n 's/^#define BLAKE3_VERSION_STRING "\(.*\)"/\1/p' "$sources/blake3.h")
    (
        cd "$sources"
        gcc -O3 -fPIC -c blake3.c blake3_dispatch.c blake3_portable.c \
            blake3_sse2_x86-64_unix.S blake3_sse41_x86-64_unix.S \
            blake3_avx2_x86-64_unix.S blake3_avx512_x86-64_unix.S
        ar rcs libblake3.a ./*.o
    )
    cat >"$work/libblake3.pc" <<PC
prefix=/usr/local
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: libblake3
Description: BLAKE3 cryptographic hash, official C implementation
Version: $version
Libs: -L\${libdir} -lblake3
Cflags: -I\${includedir}
PC
    as_root install -D -m 644 "$sources/libblake3.a" /usr/local/lib/libblake3.a
    as_root install -D -m 644 "$sources/blake3.h" /usr/local/include/blake3.h
    as_root install -D -m 644 "$work/libblake3.pc" /usr/local/lib/pkgconfig/libblake3.pc
    say "installed BLAKE3 $version under /usr/local"
}

if ! pkg-config --exists libblake3 2>/dev/null; then
    if apt-cache show libblake3-dev >/dev/null 2>&1; then
        apt_update
        as_root apt-get install -y -qq --no-install-recommends libblake3-dev >/dev/null
        say "installed libblake3-dev"
    else
        install_blake3_from_source
    fi
fi

command -v swift >/dev/null || fail "cannot build" "no swift on the path" \
    "install Swift 6.2 or later from https://www.swift.org/install/linux/"
