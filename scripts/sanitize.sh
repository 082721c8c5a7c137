#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The core's tests under a sanitizer:
#
#   scripts/sanitize.sh address|thread [FILTER]
#
# FILTER picks tests by name; without one all test modules run, one after another, those that handle
# raw memory and threads first. MINUTES bounds all of it: no module begins after that, and what was
# left out is named. A planted fault goes first: if that is not reported, the silence of the others
# means nothing. MARTLET_TSAN=1 gives Primitives.Lock a form that the thread sanitizer knows.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
kind=${1:-}
filter=${2:-}
minutes=${MINUTES:-}
case "$kind" in
address) name=asan canary=plantedOverrun report='AddressSanitizer: heap-buffer-overflow' ;;
thread) name=tsan canary=plantedRace report='ThreadSanitizer: .*race' ;;
*)
    echo "sanitize: bad arguments: no sanitizer is named '$kind': scripts/sanitize.sh address|thread [FILTER]" >&2
    exit 2
    ;;
esac
case "$minutes" in
*[!0-9]*)
    echo "sanitize: bad arguments: MINUTES=$minutes is not a number of minutes: MINUTES=20 make $name" >&2
    exit 2
    ;;
esac
export MARTLET_CORE=1 SWIFT_BACKTRACE=enable=no
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0}
[ "$kind" = address ] || export MARTLET_TSAN=1
folder=.build-$name
swift=(--scratch-path "$folder" "--sanitize=$kind")

swift build --build-tests "${swift[@]}" ${JOBS:+-j "$JOBS"} || exit 1

if MARTLET_CANARY=1 swift test --skip-build "${swift[@]}" --filter "$canary" >"$folder/canary.log" 2>&1 ||
    ! grep -Eq "$report" "$folder/canary.log"; then
    echo "$name: FAILED: the planted fault was not found"
    tail -20 "$folder/canary.log"
    exit 1
fi
echo "$name: passed: the planted fault was found"

# What has most to hide first, and last what is most pure logic and takes longest.
first=(HostIOTests PrimitivesTests NBDProtocolTests NBDServerTests ShardTests JournalTests FormatsTests
    CleanCacheTests ObjectStoreTests ControlPlaneTests VolumeMapTests VolumeEngineTests)
last=(CommitterTests MaintenanceTests ImageToolsTests SimulatorTests)
if [ -n "$filter" ]; then
    filters=("$filter")
else
    mapfile -t modules < <(swift package --scratch-path "$folder" dump-package |
        jq -r '.targets[] | select(.type == "test") | .name')
    [ "${#modules[@]}" -gt 0 ] || { echo "$name: FAILED: the package names no tests"; exit 1; }
    # TidyTests read sources and run none of the product.
    mapfile -t filters < <({
        printf '%s\n' "${first[@]}" | grep -Fx "$(printf '%s\n' "${modules[@]}")"
        printf '%s\n' "${modules[@]}" | grep -Fxv "$(printf '%s\n' "${first[@]}" "${last[@]}" TidyTests)"
        printf '%s\n' "${last[@]}" | grep -Fx "$(printf '%s\n' "${modules[@]}")"
    } | sed 's/.*/^&\\./')
fi

failed=0
tests=0
left_out=()
for each in "${filters[@]}"; do
    shown=$(tr -d '^\\.' <<<"$each")
    if [ -n "$minutes" ] && [ "$SECONDS" -ge $((minutes * 60)) ]; then
        left_out+=("$shown")
        continue
    fi
    log=$folder/$shown.log
    began=$SECONDS
    # What has begun gets half of the minutes more.
    limit=0
    [ -z "$minutes" ] || limit=$((minutes * 90 - SECONDS))
    timeout "$limit" swift test --skip-build "${swift[@]}" --filter "$each" >"$log" 2>&1
    status=$?
    if [ "$status" = 124 ] && ! grep -Eq 'recorded an issue|Sanitizer: ' "$log"; then
        left_out+=("$shown, in which $(grep -Ec '^. Test .* passed after' "$log") tests passed")
        continue
    fi
    run=$(sed -nE 's/.*Test run with ([0-9]+) tests?.* passed after .*/\1/p' "$log" | tail -1)
    if [ "$status" = 0 ] && [ "${run:-0}" -gt 0 ]; then
        echo "$name: passed $shown: $run tests ($((SECONDS - began)) s)"
        tests=$((tests + run))
    else
        failed=1
        echo "$name: FAILED $shown: exit status $status, ${run:-no} tests passed; all of it in $log"
        grep -E 'recorded an issue' -m 20 "$log"
        grep -E -A 30 -m 3 '^(WARNING: ThreadSanitizer|==[0-9]+==ERROR: AddressSanitizer)' "$log"
        tail -5 "$log"
    fi
done
for each in "${left_out[@]}"; do echo "$name: SKIPPED $each: $minutes minutes are over"; done
echo "$name: Test run with $tests tests in $((${#filters[@]} - ${#left_out[@]})) of ${#filters[@]} modules in $SECONDS s"
exit "$failed"
