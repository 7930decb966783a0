#!/bin/bash
# Copies a whole Postgres server as it runs: BACKUP_DIR/base_backup_YYYYmmddHHMMSS.tar.gz (.age), by pg_basebackup. With
# the WAL that backup_wal.sh keeps, the server can be brought to any moment since (restore_physical.sh).
#
#   backup_physical.sh
#
# Variables as for backup_db.sh; the user must be allowed to replicate, by its role and by pg_hba.conf. One tablespace.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"

case ${1:-} in
'') ;;
-h | --help)
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac

need pg_basebackup gzip sha256sum flock
refuse_unsealed
connection
alone

started=$SECONDS
taken=$(stamp)
name=base_backup_$taken.tar
work=$(mktemp -d)
trap 'rm -rf "$work"; dropped "$name"' EXIT

# The WAL that makes the copy consistent goes with it (fetch): by itself it is a server as of the end of the copy.
pg_basebackup --pgdata=- --format=tar --wal-method=fetch --checkpoint=fast --no-password --verbose 2>"$work/said" |
    keep "$name" || fail 1 "the server at $PGHOST was not copied: $(grep -v '^pg_basebackup: \(initiating\|waiting\|write-ahead\|checkpoint\)' "$work/said" || cat "$work/said")"
# "write-ahead log start point: 0/2000028 on timeline 1"
read -r high low timeline < <(sed -n 's|^.*start point: \([0-9A-F]*\)/\([0-9A-F]*\) on timeline \([0-9]*\)$|\1 \2 \3|p' "$work/said") ||
    fail 1 "pg_basebackup did not say where its WAL begins: $(<"$work/said")"
bytes=$(psql --no-psqlrc --quiet --tuples-only --no-align --dbname="${PGMAINTENANCE:-postgres}" \
    --command="SELECT setting::bigint * CASE unit WHEN '8kB' THEN 8192 ELSE 1 END FROM pg_settings WHERE name = 'wal_segment_size'")
segment=$(printf '%08X%08X%08X' "$timeline" "$((16#$high))" "$((16#$low / bytes))")
printf '%s\n' "$segment" >"$BACKUP_DIR/base_backup_$taken.wal-start"
file=$(kept "$name")
say "$file: WAL from $segment on, $(size_of "$file"), $((SECONDS - started)) s"
