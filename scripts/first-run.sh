#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# The main job, end to end, on the embedded default: a real file-system image goes through NBD into a
# volume and from there into the object store; the daemon is killed and its cache deleted; a fork of
# the snapshot gives every byte back. Leaves the daemon serving. `make run` calls it after the build.
#
# Touches only ./martlet-data (or $MARTLET_RUN_DATA). Where that holds exports of yours, the daemon is
# started and nothing else is done: their uncommitted writes live in the cache that this would delete.
set -euo pipefail

martlet=${1:?usage: scripts/first-run.sh PATH-TO-MARTLET}
martlet=$(realpath "$martlet")
data=${MARTLET_RUN_DATA:-$PWD/martlet-data}
tree=${MARTLET_RUN_TREE:-/usr/bin}
export SWIFT_BACKTRACE=enable=no
export MARTLET_API="unix:$data/run/api.sock"
log="$data/daemon.log"
pid_file="$data/daemon.pid"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '  $ %s\n' "$*"; "$@"; }
fail() { printf 'first-run: %s : %s : %s\n' "$1" "$2" "$3" >&2; exit 1; }

serving() { [ -S "$data/run/api.sock" ] && "$martlet" list >/dev/null 2>&1; }

start_daemon() {
    mkdir -p "$data/run"
    : >"$log.ready"
    (
        cd "$(dirname "$data")"
        exec setsid "$martlet" run --store "file://$data/store" --cache "$data/cache" \
            --nbd "unix:$data/run/nbd.sock" --api "unix:$data/run/api.sock" \
            >"$log.ready" 2>>"$log" </dev/null
    ) &
    echo $! >"$pid_file"
    # Its end is no news of this shell's.
    disown
    for _ in $(seq 1 300); do
        grep -q '^ready:' "$log.ready" && { sed 's/^/  /' "$log.ready"; return 0; }
        kill -0 "$(cat "$pid_file")" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$log" >&2
    fail "the daemon did not become ready" "its last words are above" "see $log"
}

mkdir -p "$data"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "Start the daemon on the embedded default: a directory as the object store"
if serving; then echo "  already serving from $data"; else start_daemon; fi
others=$("$martlet" list --json | jq -r '.exports[].name' | grep -v '^first-run' || true)
if [ -n "$others" ]; then
    echo "  $data holds exports of yours ($(echo "$others" | tr '\n' ' ')): left alone."
    exit 0
fi
for old in $("$martlet" list --json | jq -r '.exports[].name'); do
    "$martlet" delete "$old" --purge >/dev/null
done

say "Make a real file-system image of $tree"
kib=$(du -sk "$tree" | cut -f1)
size_mib=$(((kib * 13 / 10) / 1024 + 64))
truncate -s "${size_mib}M" "$work/image"
show mkfs.ext4 -q -F -d "$tree" -L martlet "$work/image"

run=$(date +%s)
disk="first-run-$run"
uri="nbd+unix:///$disk?socket=$data/run/nbd.sock"
say "Create a volume and write the image through NBD"
show "$martlet" create "$disk" --size "${size_mib}M"
show nbdcopy "$work/image" "$uri"

say "Snapshot it: the reply comes when the bucket holds everything"
show "$martlet" snapshot "$disk" --tag "first-run-$run"
sequence=$("$martlet" snapshots "$disk" --json | jq -r '.[-1]')
echo "  the store now holds $(find "$data/store" -type f | wc -l) objects," \
    "$(du -sm "$data/store" | cut -f1) MiB for an image of $size_mib MiB"

say "Kill the daemon, delete its cache: only the object store is left"
show kill -9 "$(cat "$pid_file")"
while kill -0 "$(cat "$pid_file")" 2>/dev/null; do sleep 0.05; done
show rm -rf "$data/cache"

say "Start again with an empty cache and fork the snapshot"
start_daemon
show "$martlet" create "$disk-fork" --from "snapshot:$disk@$sequence"
fork="nbd+unix:///$disk-fork?socket=$data/run/nbd.sock"

say "Verify every byte, then the file system"
show nbdcopy "$fork" "$work/back"
show cmp --bytes="$(stat -c %s "$work/image")" "$work/image" "$work/back"
show e2fsck -fn "$work/back"
echo "  every byte is back."

say "It is serving. Next:"
cat <<TEXT
  martlet is $martlet
  export MARTLET_API=$MARTLET_API
  martlet list
  martlet status $disk-fork
  martlet create scratch --size 10G
  nbdinfo "nbd+unix:///scratch?socket=$data/run/nbd.sock"
  martlet snapshot scratch
  kill $(cat "$pid_file")        # drains everything, closes cleanly, exits 0
TEXT
