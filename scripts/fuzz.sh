#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Runs the libFuzzer targets of the package, which are built only under MARTLET_FUZZ=1:
#
#   scripts/fuzz.sh [SECONDS] [NAME-PART]
#
# The corpus in Fuzz/Corpus/<target> is read, never written: new inputs go to corpus-work/. Each
# target must cover more than 50 edges, or its instrumentation was lost and it tests nothing. The
# canary goes first, whatever NAME-PART says: its planted overrun must be found in the time, or the
# silence of the others means nothing. Targets run side by side, one for each core.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-60}
wanted=${2:-}
case "$seconds" in
*[!0-9]* | "")
    echo "fuzz: bad arguments: $seconds is not a number of seconds: scripts/fuzz.sh [SECONDS] [NAME-PART]" >&2
    exit 2
    ;;
esac
export MARTLET_CORE=1 MARTLET_FUZZ=1 SWIFT_BACKTRACE=enable=no
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0}
canary=FuzzCanary

mapfile -t targets < <(swift package --scratch-path .build-fuzz dump-package |
    jq -r '.targets[] | select(.path // "" | startswith("Fuzz")) | select(.type == "executable") | .name')
if [ "${#targets[@]}" = 0 ]; then
    echo "fuzz: SKIPPED: the package has no fuzz targets"
    exit 0
fi
chosen=()
for target in "${targets[@]}"; do
    case "$target" in
    "$canary") ;;
    *"$wanted"*) chosen+=("$target") ;;
    esac
done
if [ "${#chosen[@]}" = 0 ]; then
    echo "fuzz: FAILED: no target has $wanted in its name; there are: ${targets[*]}"
    exit 1
fi

# SwiftPM's --sanitize=fuzzer alone loses the coverage; the compiler flag brings it. The linker warns
# once for every function of the sanitizer.
build=(swift build --scratch-path .build-fuzz --sanitize=fuzzer --sanitize=address
    -Xswiftc "-sanitize=fuzzer,address")
products=("$canary" "${chosen[@]}")
for product in "${products[@]}"; do
    "${build[@]}" --product "$product" 2>&1 | grep -v 'ld.gold: warning: Cannot export'
    [ "${PIPESTATUS[0]}" = 0 ] || exit 1
done
bin=$("${build[@]}" --show-bin-path) || exit 1
mkdir -p corpus-work

# One target for $seconds; leaves its report in corpus-work/<target>.log.
fuzz() {
    local target=$1 work=corpus-work/$1 corpus
    mkdir -p "$work"
    corpus=("$work")
    [ -d "Fuzz/Corpus/$target" ] && corpus+=("Fuzz/Corpus/$target")
    "$bin/$target" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$work/" "${corpus[@]}" >"$work.log" 2>&1
}

edges_of() { grep -o 'cov: [0-9]*' "$1" | awk '$2 > most { most = $2 } END { print most + 0 }'; }
runs_of() { sed -n 's/^stat::number_of_executed_units: *//p' "$1"; }

rm -rf "corpus-work/$canary"
if fuzz "$canary" || ! grep -q 'AddressSanitizer: heap-buffer-overflow' "corpus-work/$canary.log"; then
    echo "fuzz: FAILED $canary: its planted overrun was not found in $seconds s"
    tail -5 "corpus-work/$canary.log" | sed 's/^/    /'
    exit 1
fi
echo "fuzz: passed $canary: planted overrun found after $(runs_of "corpus-work/$canary.log") inputs"

one() {
    local target=$1 log=corpus-work/$1.log status edges runs
    fuzz "$target"
    status=$?
    edges=$(edges_of "$log")
    runs=$(runs_of "$log")
    if [ "$status" != 0 ]; then
        echo "fuzz: FAILED $target: exit status $status"
        tail -40 "$log" | sed 's/^/    /'
        return 1
    elif [ "$edges" -le 50 ]; then
        echo "fuzz: FAILED $target: only $edges edges covered, is it instrumented?"
        return 1
    fi
    echo "fuzz: passed $target: $edges edges, ${runs:-?} inputs in $seconds s"
}

failed=0
jobs_max=$(nproc)
running=0
for target in "${chosen[@]}"; do
    if [ "$running" -ge "$jobs_max" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    one "$target" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
exit "$failed"
