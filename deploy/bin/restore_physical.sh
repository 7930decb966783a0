#!/bin/bash
# Makes the data folder of a Postgres server from a base backup, ready to be started: it then replays the WAL that
# backup_wal.sh kept, up to the end or to a moment, and opens as a server of its own.
#
#   restore_physical.sh FILE --into FOLDER                       up to the end of the WAL
#   restore_physical.sh FILE --into FOLDER --until TIME          up to a moment: "2026-03-01 14:05:00+00"
#   restore_physical.sh FILE --into FOLDER --until-name NAME     up to a point made by pg_create_restore_point('NAME')
#   restore_physical.sh FILE --into FOLDER --no-wal              as of the end of the base backup
#
# FOLDER is new or empty. The version of the server must be that of the backup. BACKUP_DIR as for backup_wal.sh;
# BACKUP_AGE_IDENTITY names the key of encrypted backups, and must be readable by the server until it is up.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"

file='' into='' until='' until_name='' wal=yes
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,12s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --into | --until | --until-name)
        [ $# -gt 1 ] || fail 2 "$1 needs a value"
        case $1 in --into) into=$2 ;; --until) until=$2 ;; *) until_name=$2 ;; esac
        shift
        ;;
    --no-wal) wal=no ;;
    -*) fail 2 "unknown flag \"$1\"; see --help" ;;
    *)
        [ -z "$file" ] || fail 2 "one backup at a time: \"$1\" is too much"
        file=$1
        ;;
    esac
    shift
done
[ -n "$file" ] && [ -n "$into" ] || fail 2 "which backup, and where to? see --help"
[ -z "$until" ] || [ -z "$until_name" ] || fail 2 "--until and --until-name exclude each other"
for text in "$until" "$until_name" "$BACKUP_DIR" "${BACKUP_AGE_IDENTITY:-}"; do
    case $text in *[\'\\]*) fail 2 "$text: quotes and backslashes cannot be passed on to Postgres" ;; esac
done

need tar gzip sha256sum
refuse_damaged "$file"
if [ -e "$into" ] && [ -n "$(ls -A "$into")" ]; then
    fail 2 "$into is not empty; a server's data is never overwritten"
fi
started=$SECONDS
mkdir -p "$into"
chmod 700 "$into"
unsealed "$file" | tar --extract --file=- --directory="$into" || fail 1 "$file cannot be unpacked into $into"
# Debian has the servers' programs in folders by version.
version=$(<"$into/PG_VERSION")
PATH=$PATH:/usr/lib/postgresql/$version/bin
need pg_verifybackup
pg_verifybackup --quiet "$into" || fail 1 "the files in $into are not those of the server (pg_verifybackup says which)"

if [ "$wal" = yes ]; then
    {
        echo "# by restore_physical.sh"
        echo "restore_command = 'BACKUP_DIR=\"$BACKUP_DIR\" BACKUP_AGE_IDENTITY=\"${BACKUP_AGE_IDENTITY:-}\" \"$here/restore_wal.sh\" \"%f\" \"%p\"'"
        [ -z "$until" ] || echo "recovery_target_time = '$until'"
        [ -z "$until_name" ] || echo "recovery_target_name = '$until_name'"
        echo "recovery_target_timeline = 'latest'"
        echo "recovery_target_action = 'promote'"
    } >>"$into/postgresql.auto.conf"
    touch "$into/recovery.signal"
fi
if [ "$(id -u)" = 0 ] && [ -n "${BACKUP_SERVER_USER:-}" ]; then
    chown -R "$BACKUP_SERVER_USER" "$into"
fi
say "$into is ready, $((SECONDS - started)) s; give it to the server's user and start it: pg_ctl -D $into start"
