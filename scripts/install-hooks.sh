#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Installs a pre-commit hook that lints the format of staged Swift files, a tenth of a second. Does
# nothing in CI, outside a clone, or where a hook exists already.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${CI:-}" = true ] && exit 0
hooks=$(git rev-parse --git-path hooks 2>/dev/null) || exit 0
[ -e "$hooks/pre-commit" ] && exit 0
mkdir -p "$hooks"
cat >"$hooks/pre-commit" <<'HOOK'
#!/usr/bin/env bash
# Installed by scripts/install-hooks.sh of Martlet; delete it if it is in the way.
set -euo pipefail
mapfile -t staged < <(git diff --cached --name-only --diff-filter=ACM -- '*.swift')
[ "${#staged[@]}" = 0 ] || swift format lint --strict "${staged[@]}" || {
    echo "pre-commit: run make format, and add the result" >&2
    exit 1
}
HOOK
chmod +x "$hooks/pre-commit"
echo "setup: installed the pre-commit hook (format of staged files)"
