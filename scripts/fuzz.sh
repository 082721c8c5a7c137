#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Runs the libFuzzer targets of the package, which are built only under MARTLET_FUZZ=1:
#
#   scripts/fuzz.sh [SECONDS] [NAME-PART]
#
# The corpus in Fuzz/Corpus/<target> is read, never written: new inputs go to corpus-work/. Each
# target must cover more than 50 edges, or its instrumentation was lost and it tests nothing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-60}
wanted=${2:-}
export MARTLET_CORE=1 MARTLET_FUZZ=1 SWIFT_BACKTRACE=enable=no
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0}

mapfile -t targets < <(swift package --scratch-path .build-fuzz dump-package |
    jq -r '.targets[] | select(.path // "" | startswith("Fuzz")) | select(.type == "executable") | .name')
if [ "${#targets[@]}" = 0 ]; then
    echo "fuzz: SKIPPED: the package has no fuzz targets"
    exit 0
fi

# SwiftPM's --sanitize=fuzzer alone loses the coverage; the compiler flag brings it.
build=(swift build --scratch-path .build-fuzz --sanitize=fuzzer --sanitize=address
    -Xswiftc "-sanitize=fuzzer,address")
"${build[@]}" || exit 1
bin=$("${build[@]}" --show-bin-path) || exit 1

failed=0
for target in "${targets[@]}"; do
    case "$target" in *"$wanted"*) ;; *) continue ;; esac
    work=corpus-work/$target
    mkdir -p "$work"
    corpus=("$work")
    [ -d "Fuzz/Corpus/$target" ] && corpus+=("Fuzz/Corpus/$target")
    log=$work.log
    "$bin/$target" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$work/" "${corpus[@]}" >"$log" 2>&1
    status=$?
    edges=$(grep -o 'cov: [0-9]*' "$log" | awk '$2 > most { most = $2 } END { print most + 0 }')
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$status" != 0 ]; then
        echo "fuzz: FAILED $target: exit status $status"
        tail -40 "$log" | sed 's/^/    /'
        failed=1
    elif [ "$edges" -le 50 ]; then
        echo "fuzz: FAILED $target: only $edges edges covered, is it instrumented?"
        failed=1
    else
        echo "fuzz: passed $target: $edges edges, ${runs:-?} inputs in $seconds s"
    fi
done
exit "$failed"
