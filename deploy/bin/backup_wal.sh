#!/bin/bash
# Keeps the WAL of a Postgres server as it is written, so that what happened since the last base backup is not lost: by
# pg_receivewal with a replication slot (no gap when this stops for a while) into BACKUP_DIR/wal.
#
#   backup_wal.sh           receives until it is told to stop, and seals what is complete
#   backup_wal.sh --seal    seals what is complete once: BACKUP_DIR/wal/SEGMENT.gz (.age) with its checksum
#   backup_wal.sh --drop    gives the slot up: the server then keeps no WAL for us any more
#
# Variables as for backup_db.sh, and BACKUP_SLOT (probity_backup). The segment that is being written lies in wal/incoming
# in clear until it is full. While this does not run the server keeps its WAL, as far as its max_slot_wal_keep_size lets it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"
slot=${BACKUP_SLOT:-probity_backup}
wal=$BACKUP_DIR/wal
incoming=$wal/incoming

# A segment that was sealed before and came again (after a crash between the two steps) is the same one.
seal() {
    local segment name
    for segment in "$incoming"/[0-9A-F]*; do
        name=$(basename "$segment")
        case $name in *.partial) continue ;; esac
        [ -f "$segment" ] || continue
        (
            BACKUP_DIR=$wal
            keep "$name" <"$segment"
            kept "$name" >/dev/null
        )
        rm "$segment"
    done
}

prepare() {
    refuse_unsealed
    mkdir -p "$incoming"
    chmod 700 "$wal" "$incoming"
}

case ${1:-} in
'') ;;
--seal)
    prepare
    seal
    exit 0
    ;;
--drop)
    connection
    exec pg_receivewal --slot="$slot" --drop-slot --no-password
    ;;
-h | --help)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac

need pg_receivewal gzip sha256sum
prepare
connection
pg_receivewal --slot="$slot" --create-slot --if-not-exists --no-password
# --synchronous: what has arrived is on the disk at once, and the server is told so.
pg_receivewal --directory="$incoming" --slot="$slot" --synchronous --no-password &
receiver=$!
trap 'kill "$receiver" 2>/dev/null || true' EXIT
trap 'exit 0' TERM INT
while kill -0 "$receiver" 2>/dev/null; do
    seal
    # Woken by a signal, or by the end of the receiver.
    sleep "${BACKUP_WAL_SEAL_SECONDS:-10}" &
    wait -n "$receiver" $! || true
done
fail 1 "pg_receivewal ended; its message stands above"
