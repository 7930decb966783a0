#!/bin/bash
# Gives Postgres a segment of WAL that backup_wal.sh kept: the restore_command of a server that restore_physical.sh made.
#
#   restore_wal.sh %f %p
#
# BACKUP_DIR, and BACKUP_AGE_IDENTITY for encrypted segments. Exit code 1: there is no such segment, which is how the end
# of the WAL is found. Any other failure ends recovery (code 255), instead of passing for that end.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"
segment=$1 target=$2
wal=$BACKUP_DIR/wal

for file in "$wal/$segment.gz.age" "$wal/$segment.gz"; do
    [ -f "$file" ] || continue
    intact "$file" || { echo "restore_wal.sh: $file is not what was written" >&2; exit 255; }
    # In a shell of its own, so that no exit code of its passes for "no such segment".
    (unsealed "$file") >"$target.partial" || exit 255
    mv "$target.partial" "$target"
    exit 0
done
# Complete but not yet sealed, or the one that was being written when the server was lost.
for file in "$wal/incoming/$segment" "$wal/incoming/$segment.partial"; do
    [ -f "$file" ] || continue
    cp "$file" "$target" || exit 255
    exit 0
done
exit 1
