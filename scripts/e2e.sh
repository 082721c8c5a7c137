#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Runs the end-to-end tests, Tests/e2e/*.sh, against the built binary: each in a fresh directory that
# is its working directory, with MARTLET naming the binary. Exit status 77 means skipped, for the
# reason it printed. With arguments only the tests whose name contains one of them.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1

shopt -s nullglob
tests=()
for file in Tests/e2e/*.sh; do
    name=$(basename "$file" .sh)
    [ "$name" = common ] && continue
    [ $# -eq 0 ] && tests+=("$name")
    for wanted in "$@"; do
        case "$name" in *"$wanted"*) tests+=("$name"); break ;; esac
    done
done
if [ "${#tests[@]}" = 0 ]; then
    echo "e2e: SKIPPED: no test in Tests/e2e matches '$*'"
    # A name that was asked for must exist; the whole set may still be empty.
    [ $# -eq 0 ]
    exit
fi

if [ -z "${MARTLET:-}" ]; then
    MARTLET=$(swift build --show-bin-path)/martlet
    [ -x "$MARTLET" ] || swift build --product martlet || exit 1
fi
export MARTLET ROOT=$root SWIFT_BACKTRACE=enable=no

passed=0 skipped=() failed=()
for name in "${tests[@]}"; do
    work=$(mktemp -d "${TMPDIR:-/tmp}/martlet-e2e.XXXXXX")
    began=$SECONDS
    (cd "$work" && timeout --kill-after=10 "${E2E_SECONDS:-600}" \
        bash "$root/Tests/e2e/$name.sh") >"$work.log" 2>&1
    status=$?
    took=$((SECONDS - began))
    case $status in
        0)
            passed=$((passed + 1))
            echo "e2e: passed $name (${took} s)"
            rm -rf "$work" "$work.log"
            continue
            ;;
        77)
            skipped+=("$name")
            echo "e2e: SKIPPED $name: $(tail -1 "$work.log")"
            rm -rf "$work" "$work.log"
            continue
            ;;
        124 | 137) echo "e2e: FAILED $name: still running after ${took} s" ;;
        *) echo "e2e: FAILED $name: exit status $status" ;;
    esac
    failed+=("$name")
    sed 's/^/    /' "$work.log" | tail -60
    echo "e2e: files kept in $work, output in $work.log"
done
echo "e2e: $passed passed, ${#skipped[@]} skipped, ${#failed[@]} failed"
[ "${#failed[@]}" = 0 ]
