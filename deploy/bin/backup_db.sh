#!/bin/bash
# Backs a database up: BACKUP_DIR/db_backup_YYYYmmddHHMMSS.sql.gz (.age), by pg_dump, with a manifest at its end of the
# rows and hashes of every table in the very snapshot that was dumped, by which restore_db.sh verifies a restore.
#
#   backup_db.sh
#
# BACKUP_DIR (/backups), BACKUP_AGE_RECIPIENT (an age public key) or BACKUP_UNENCRYPTED=yes; the database is that of
# DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD (or DB_PASSWORD_FILE), or libpq's own PG… variables, which win.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"
counts=${BACKUP_COUNTS_SQL:-$here/../backup/counts.sql}

case ${1:-} in
'') ;;
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac

need pg_dump psql gzip sha256sum flock
refuse_unsealed
connection
alone

started=$SECONDS
name=db_backup_$(stamp).sql
work=$(mktemp -d)
trap 'rm -rf "$work"; dropped "$name"' EXIT

# This transaction holds the snapshot: what is dumped and what is counted are the same rows, however much is written
# meanwhile.
coproc HOLDER {
    exec psql --no-psqlrc --quiet --tuples-only --no-align --field-separator=$'\t' --set=ON_ERROR_STOP=1 2>"$work/said"
}
exec 7<&"${HOLDER[0]}" 8>&"${HOLDER[1]}"
holder=$HOLDER_PID
cat >&8 <<'SQL' || true
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SELECT pg_export_snapshot(), current_database(), current_setting('server_version'),
    pg_encoding_to_char(encoding), datcollate, datctype, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
FROM pg_database WHERE datname = current_database();
SQL
IFS=$'\t' read -r -u 7 snapshot database version encoding collate ctype taken_at ||
    fail 1 "cannot read the database $PGDATABASE at $PGHOST: $(<"$work/said")"

manifest() {
    printf '%s\n' "-- probity backup manifest 1" "-- taken_at $taken_at" "-- database $database" "-- server $version" \
        "-- encoding $encoding" "-- collate $collate" "-- ctype $ctype"
    cat "$counts" - >&8 <<<'\echo end'
    local line
    while IFS= read -r -u 7 line; do
        [ "$line" != end ] || break
        printf -- '-- table %s\n' "$line"
    done
    [ "${line:-}" = end ] || fail 1 "cannot count the rows: $(<"$work/said")"
    printf '%s\n' "-- end of manifest"
}

{ pg_dump --snapshot="$snapshot" --format=plain --encoding=UTF8 && manifest | tee "$work/manifest"; } | keep "$name" ||
    fail 1 "the database $database was not backed up; nothing is left of the attempt"
echo '\q' >&8
wait "$holder" || fail 1 "the database $database was not backed up: $(<"$work/said")"

file=$(kept "$name")
tables=$(grep -c '^-- table ' "$work/manifest" || true)
rows=$(awk -F'\t' '/^-- table /{ n += $2 } END { print n + 0 }' "$work/manifest")
say "$file: $tables tables, $rows rows as of $taken_at, $(size_of "$file"), $((SECONDS - started)) s"
