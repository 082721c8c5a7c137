#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The core's tests under the thread sanitizer, all or those whose names match:
#
#   scripts/tsan.sh [FILTER]
#
# MARTLET_TSAN=1 gives Primitives.Lock a form that the sanitizer knows. A planted race goes first: if
# that is not reported, the silence of the others means nothing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
filter=${1:-}
export MARTLET_CORE=1 MARTLET_TSAN=1 SWIFT_BACKTRACE=enable=no
swift=(--scratch-path .build-tsan --sanitize=thread)

swift build --build-tests "${swift[@]}" ${JOBS:+-j "$JOBS"} || exit 1

canary=.build-tsan/canary.log
if MARTLET_TSAN_CANARY=1 swift test --skip-build "${swift[@]}" --filter plantedRace >"$canary" 2>&1 ||
    ! grep -Eq 'ThreadSanitizer: .*race' "$canary"; then
    echo "tsan: FAILED: the planted race was not found"
    tail -20 "$canary"
    exit 1
fi
echo "tsan: passed: the planted race was found"

log=.build-tsan/report.log
if swift test --skip-build "${swift[@]}" ${filter:+--filter "$filter"} 2>&1 | tee "$log" |
    grep -E 'Test run with|recorded an issue|^WARNING: ThreadSanitizer|^SUMMARY: ThreadSanitizer'; then
    echo "tsan: passed: no race"
else
    echo "tsan: FAILED: $(grep -c '^WARNING: ThreadSanitizer' "$log") reports, all of it in $log"
    grep -A 30 -m 3 '^WARNING: ThreadSanitizer' "$log"
    exit 1
fi
