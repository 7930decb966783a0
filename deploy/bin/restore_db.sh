#!/bin/bash
# Restores a backup of a database into a new one beside it, and compares every table's rows and hashes with the manifest
# in the backup. The database that is in use is touched only with --in-place, and kept under another name even then.
#
#   restore_db.sh FILE                 into <database>_restored_<time of the backup>
#   restore_db.sh FILE --into NAME     into a new database NAME
#   restore_db.sh FILE --in-place      then gives it the name of DB_NAME, whose database becomes <name>_before_<now>;
#                                      stop Probity and status-backend first
#   restore_db.sh FILE --check         only whether the file is whole and can be read
#
# DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD as for backup_db.sh; the user must be allowed to create databases. The
# roles of deploy/postgres/init must exist. BACKUP_AGE_IDENTITY names the key of an encrypted backup.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"
counts=${BACKUP_COUNTS_SQL:-$here/../backup/counts.sql}

file='' into='' in_place=no check=no
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,13s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --into)
        into=${2:?--into needs a name}
        shift
        ;;
    --in-place) in_place=yes ;;
    --check) check=yes ;;
    -*) fail 2 "unknown flag \"$1\"; see --help" ;;
    *)
        [ -z "$file" ] || fail 2 "one backup at a time: \"$1\" is too much"
        file=$1
        ;;
    esac
    shift
done
[ -n "$file" ] || fail 2 "which backup? see --help"
[ "$in_place" = no ] || [ -z "$into" ] || fail 2 "--in-place and --into exclude each other"

need psql gzip sha256sum
refuse_damaged "$file"
started=$SECONDS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unsealed "$file" | sed -n '/^-- probity backup manifest 1$/,$p' >"$work/manifest" ||
    fail 1 "$file cannot be read"
[ "$(tail -n 1 "$work/manifest")" = "-- end of manifest" ] ||
    fail 1 "$file is no backup of backup_db.sh, or its end is missing"
fact() { sed -n "s/^-- $1 //p" "$work/manifest" | head -n 1; }
sed -n 's/^-- table //p' "$work/manifest" >"$work/expected"
say "$file: database $(fact database) as of $(fact taken_at), $(wc -l <"$work/expected") tables"
[ "$check" = no ] || exit 0

connection
original=$PGDATABASE
taken=$(basename "$file" | sed -n 's/^db_backup_\([0-9]*\).*/\1/p')
into=${into:-${original}_restored_${taken:-$(stamp)}}
# Statements about databases run beside them.
admin() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname="${PGMAINTENANCE:-postgres}" "$@"; }
exists() { [ "$(admin --set=name="$1" <<<"SELECT count(*) FROM pg_database WHERE datname = :'name'")" = 1 ]; }

if exists "$into"; then
    fail 2 "there is a database $into already; drop it, or name another with --into"
fi

admin --set=name="$into" --set=encoding="$(fact encoding)" --set=collate="$(fact collate)" --set=ctype="$(fact ctype)" <<'SQL'
CREATE DATABASE :"name" TEMPLATE template0 ENCODING :'encoding' LC_COLLATE :'collate' LC_CTYPE :'ctype';
SQL
give_up() {
    admin --set=name="$into" <<<'DROP DATABASE IF EXISTS :"name"' || true
    fail 1 "$* The half-made database $into is gone again; nothing else was touched"
}
unsealed "$file" | psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --output=/dev/null --dbname="$into" ||
    give_up "$file could not be restored (the message stands above)."

# What pg_dump leaves to the server: who may connect. As in deploy/postgres/init.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=name="$into" --dbname="$into" <<'SQL' || give_up "Rights were not granted."
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SELECT format('GRANT CONNECT, CREATE, TEMPORARY ON DATABASE %I TO probity', :'name')
FROM pg_roles WHERE rolname = 'probity' \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO grafana_ro', :'name') FROM pg_roles WHERE rolname = 'grafana_ro' \gexec
ANALYZE;
SQL

psql --no-psqlrc --quiet --tuples-only --no-align --field-separator=$'\t' --set=ON_ERROR_STOP=1 --dbname="$into" \
    --file="$counts" >"$work/found" || give_up "The restored rows could not be counted."
if ! diff "$work/expected" "$work/found" >"$work/differences"; then
    sed -n 's/^< /in the backup:   /p; s/^> /in the database: /p' "$work/differences" >&2
    fail 1 "the database $into is not what was backed up (table, rows, hashes above); it was left for you to look at"
fi
rows=$(awk -F'\t' '{ n += $2 } END { print n + 0 }' "$work/found")
say "$into: $(wc -l <"$work/found") tables and $rows rows are equal to the backup's, $((SECONDS - started)) s"
[ "$in_place" = yes ] || exit 0

before=${original}_before_$(stamp)
open_again() {
    admin --set=original="$original" <<'SQL'
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS true', datname) FROM pg_database WHERE datname = :'original' \gexec
SQL
}
admin --set=original="$original" --set=before="$before" --set=into="$into" <<'SQL' ||
-- Nobody gets in while the names change. The database to be replaced may be gone altogether.
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', datname) FROM pg_database WHERE datname = :'original' \gexec
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN (:'original', :'into') \g /dev/null
BEGIN;
SELECT format('ALTER DATABASE %I RENAME TO %I', datname, :'before') FROM pg_database WHERE datname = :'original' \gexec
ALTER DATABASE :"into" RENAME TO :"original";
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS true', datname) FROM pg_database WHERE datname = :'before' \gexec
COMMIT;
SQL
    { open_again || true; fail 1 "the names were not changed (the message stands above); the restored database is $into"; }
say "$original is the restored database now, $((SECONDS - started)) s"
if exists "$before"; then say "what it was is kept as $before; drop it when you are sure"; fi
