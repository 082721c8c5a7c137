#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Installs what building and testing Martlet needs on Debian 12 or 13, and nothing that is there
# already: a second run prints nothing, uses no network and takes a fraction of a second.
#
#   scripts/setup.sh          libraries and tools for `make build`, `make run`, `make unit`
#   scripts/setup.sh --test   and the clients, servers and tracers that `make test` and `make stores`
#                             drive
#
# Swift 6.2 or later must be on the path; everything else comes from the distribution, but for some
# test servers, which come from PyPI into an environment under .build-stores.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s : %s : %s\n' "$1" "$2" "$3" >&2; exit 1; }

with_tests=no
case "${1:-}" in
    "") ;;
    --test) with_tests=yes ;;
    *) fail "unknown argument $1" "only --test is known" "see the head of scripts/setup.sh" ;;
esac

command -v swift >/dev/null || fail "cannot build" "no swift on the path" \
    "install Swift 6.2 or later from https://www.swift.org/install/linux/"

build_packages=(gcc libc6-dev binutils libncurses6 make pkg-config git ca-certificates
    liblz4-dev libzstd-dev libxxhash-dev zlib1g-dev curl e2fsprogs jq python3 libnbd-bin)
test_packages=(nbdkit python3-libnbd fio qemu-utils strace valgrind util-linux procps shellcheck
    radosgw ceph-mon ceph-osd ceph-common haproxy python3-venv faketime postgresql sqlite3 iproute2
    iptables xfsprogs btrfs-progs fuse3 libfuse3-dev)

wanted=("${build_packages[@]}")
[ "$with_tests" = no ] || wanted+=("${test_packages[@]}")

# One query for all: names that dpkg does not know at all are simply not in its answer.
known=$(dpkg-query -W -f='${db:Status-Status}:${Package}\n' "${wanted[@]}" 2>/dev/null || true)
installed=" $(sed -n 's/^installed://p' <<<"$known" | tr '\n' ' ') "
missing=()
for package in "${wanted[@]}"; do
    case "$installed" in *" $package "*) ;; *) missing+=("$package") ;; esac
done
# Swift takes the newest libstdc++ there is; its package is named after gcc's version.
has_cxx=yes
compgen -G '/usr/include/c++/*/cstddef' >/dev/null || has_cxx=no
has_blake3=yes
command -v pkg-config >/dev/null && pkg-config --exists libblake3 2>/dev/null || has_blake3=no

# moto, nanio and boto3, exactly as listed; the list that is installed lies beside them.
venv=$root/.build-stores/venv
requirements=$root/Tests/stores/requirements.txt
install_venv() {
    # A prefix of its own: the scripts in it name the folder they were made for.
    if cmp -s "$requirements" "$venv/installed.txt" && "$venv/bin/python" -c '' \
        2>/dev/null; then return; fi
    say "installing the test servers of Tests/stores/requirements.txt under .build-stores"
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    /usr/bin/python3 -m venv "$venv" ||
        fail "cannot make $venv" "python3 -m venv failed as shown above" "install python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --no-deps \
        -r "$requirements" ||
        fail "cannot install $requirements" "pip failed as shown above" "check the access to PyPI"
    cp "$requirements" "$venv/installed.txt"
}

if [ "${#missing[@]}" = 0 ] && [ "$has_cxx" = yes ] && [ "$has_blake3" = yes ]; then
    [ "$with_tests" = no ] || install_venv
    exit 0
fi

command -v apt-get >/dev/null || fail "cannot install ${missing[*]:-libblake3}" \
    "no apt-get here" "install the equivalents of these Debian packages by hand"

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo DEBIAN_FRONTEND=noninteractive "$@"
    else
        fail "cannot install ${missing[*]:-libblake3}" "not root and no sudo" \
            "run scripts/setup.sh${1:+ as root} once, then again as yourself"
    fi
}

export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -qq

install_packages() {
    say "installing $*"
    # apt is silent unless it fails; then all it said is shown.
    local log
    log=$(mktemp)
    as_root apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        fail "cannot install $*" "apt-get failed as shown above" "check the apt sources"
    }
    rm -f "$log"
    local package
    for package in "$@"; do
        say "installed $package $(dpkg-query -W -f='${Version}' "$package")"
    done
}

if [ "$has_cxx" = no ]; then
    newest=$(apt-cache pkgnames libstdc++- | grep -E '^libstdc\+\+-[0-9]+-dev$' | sort -V | tail -1)
    missing+=("${newest:-g++}")
fi
[ "${#missing[@]}" = 0 ] || install_packages "${missing[@]}"

# BLAKE3: the official C implementation. Debian 13 packages it; on Debian 12 the same sources lie
# in librust-blake3-dev, which is unpacked and never installed.
install_blake3_from_source() {
    local sources version
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # Here apt runs as whoever we are: its own user could not write into the directory.
    (cd "$work" && apt-get -o APT::Sandbox::User="$(id -un)" download -qq librust-blake3-dev) ||
        fail "cannot fetch librust-blake3-dev" "apt-get download failed" "check the apt sources"
    dpkg-deb -x "$work"/librust-blake3-dev_*.deb "$work/root"
    sources=$(dirname "$(find "$work/root" -path '*/c/blake3.c' | head -1)")
    version=$(sed -n 's/^#define BLAKE3_VERSION_STRING "\(.*\)"/\1/p' "$sources/blake3.h")
    (
        cd "$sources"
        case "$(uname -m)" in
            x86_64) kernels=(blake3_sse2_x86-64_unix.S blake3_sse41_x86-64_unix.S
                blake3_avx2_x86-64_unix.S blake3_avx512_x86-64_unix.S) ;;
            aarch64) kernels=(blake3_neon.c) ;;
            *) kernels=() ;;
        esac
        gcc -O3 -fPIC -c blake3.c blake3_dispatch.c blake3_portable.c "${kernels[@]}"
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

if [ "$has_blake3" = no ] && ! pkg-config --exists libblake3 2>/dev/null; then
    if apt-cache show libblake3-dev >/dev/null 2>&1; then
        install_packages libblake3-dev
    else
        install_blake3_from_source
    fi
fi
[ "$with_tests" = no ] || install_venv
