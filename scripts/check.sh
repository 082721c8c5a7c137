#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# `make check`: format, tidy, shell and Python scripts. Changes nothing. A tool that is absent is
# skipped loudly; all checks run even if one fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

failed=0
step() {
    local name=$1
    shift
    if "$@"; then printf 'check: %s: ok\n' "$name"; else
        printf 'check: %s: FAILED\n' "$name"
        failed=1
    fi
}
skip() { printf 'check: SKIPPED %s: %s\n' "$1" "$2"; }

present=()
for path in Package.swift Sources Tests Fuzz Benchmarks; do
    [ -e "$path" ] && present+=("$path")
done
step format swift format lint --strict -r "${present[@]}"

# The tests of `make test`, if they are built and nothing changed since: a build saved. Else the core.
bundle=$(compgen -G '.build/debug/*.xctest' | head -n 1)
if [ -n "$bundle" ] && [ -z "$(find Package.swift Sources Tests -name '*.swift' -newer "$bundle" -print -quit)" ]; then
    step tidy env SWIFT_BACKTRACE=enable=no swift test --skip-build --filter TidyTests
else
    core=(env MARTLET_CORE=1 SWIFT_BACKTRACE=enable=no)
    step tidy-build "${core[@]}" swift build --build-tests --scratch-path .build-core -q
    step tidy "${core[@]}" swift test --skip-build --scratch-path .build-core --filter TidyTests
fi

# What `make -j run` builds must wait for what setup installs: the order is in make's own database.
step make-order bash -c "make -pn run 2>/dev/null | grep -Eq '^release:.*[|] setup\$'"

mapfile -t shell_files < <(git ls-files 'scripts/*.sh' 'Benchmarks/*.sh' .ci/run)
if command -v shellcheck >/dev/null; then
    step shellcheck shellcheck "${shell_files[@]}"
else
    skip shellcheck "not installed (scripts/setup.sh --test installs it)"
    for file in "${shell_files[@]}"; do step "syntax of $file" bash -n "$file"; done
fi

# A mutant whose place in the product is gone tests nothing.
step mutants Tests/mutants/run --check

mapfile -t python_files < <(git ls-files '*.py' Tests/{e2e,mutants,stores}/run Tests/stores/up)
for file in "${python_files[@]}"; do
    step "syntax of $file" python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$file"
done

exit "$failed"
