#!/bin/bash
# Restores Grafana's database from a backup: as a file to look at, or in place.
#
#   restore_grafana.sh FILE --into FILE.db   a new file
#   restore_grafana.sh FILE --in-place       GRAFANA_DATA/grafana.db; what was there is kept as grafana.db.before-<now>.
#                                            Grafana must be stopped: deploy/stack compose stop grafana
#
# BACKUP_AGE_IDENTITY names the key of an encrypted backup.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"

file='' into='' in_place=no
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,8s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --into)
        into=${2:?--into needs a file}
        shift
        ;;
    --in-place) in_place=yes ;;
    -*) fail 2 "unknown flag \"$1\"; see --help" ;;
    *)
        [ -z "$file" ] || fail 2 "one backup at a time: \"$1\" is too much"
        file=$1
        ;;
    esac
    shift
done
[ -n "$file" ] || fail 2 "which backup? see --help"
[ "$in_place" = yes ] || [ -n "$into" ] || fail 2 "--into or --in-place? see --help"
[ "$in_place" = no ] || [ -z "$into" ] || fail 2 "--in-place and --into exclude each other"
need sqlite3 gzip sha256sum
refuse_damaged "$file"

target=${into:-${GRAFANA_DATA:-/volumes/grafana}/grafana.db}
[ "$in_place" = yes ] || [ ! -e "$target" ] || fail 2 "$target exists already"
# Beside it first: a bad backup must change nothing.
new=$target.restored-$(stamp)
trap 'rm -f "$new"' EXIT
(umask 077 && unsealed "$file" >"$new") || fail 1 "$file cannot be read"
[ "$(sqlite3 -batch "$new" 'PRAGMA integrity_check')" = ok ] || fail 1 "$file holds no whole database; nothing was restored"
if [ "$in_place" = yes ]; then
    # Nobody may write to a file that is about to be another one.
    [ ! -e "$target" ] || sqlite3 -batch "file:$target?mode=rw" 'PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE; ROLLBACK' >/dev/null ||
        fail 1 "$target is in use; stop Grafana first"
    # Grafana's user is another one of the same group.
    chmod 660 "$new"
    chgrp --reference="$(dirname "$target")" "$new" 2>/dev/null || true
    for part in "$target" "$target-journal" "$target-wal" "$target-shm"; do
        [ ! -e "$part" ] || mv "$part" "${part/grafana.db/grafana.db.before-$(stamp)}"
    done
fi
mv "$new" "$target"
say "$target: as it was written"
