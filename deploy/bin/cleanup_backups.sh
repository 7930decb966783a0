#!/bin/bash
# Deletes backups that are older than BACKUP_RETENTION_DAYS (7), but of each kind keeps the newest BACKUP_KEEP_MIN (3)
# that are intact, however old they are: when backups have failed for a month, the last good one is still there.
#
#   cleanup_backups.sh             deletes
#   cleanup_backups.sh --dry-run   says what it would delete
#
# A backup is as old as the younger of the time in its name and the time of its file, so that neither a copy nor a
# wrong clock makes it go early. WAL goes when no base backup needs it any more.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"
days=${BACKUP_RETENTION_DAYS:-7}
least=${BACKUP_KEEP_MIN:-3}

dry=no
case ${1:-} in
'') ;;
--dry-run) dry=yes ;;
-h | --help)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac
[[ $days =~ ^[0-9]+$ ]] || fail 2 "BACKUP_RETENTION_DAYS=$days: expected a number of days"
[[ $least =~ ^[1-9][0-9]*$ ]] || fail 2 "BACKUP_KEEP_MIN=$least: expected a number from 1 on"

alone
now=$(date +%s)
deleted=0 left=0

remove() {
    say "$([ "$dry" = yes ] && echo 'would delete' || echo deleted) $1"
    deleted=$((deleted + 1))
    [ "$dry" = yes ] || rm -f "$1" "$1.sha256" "${1%%.*}.wal-start"
}

old() {
    local text time named
    text=$(basename "$1" | sed 's/^[a-z]*_backup_\([0-9]\{14\}\).*/\1/')
    # A name that is no time says nothing of its age.
    named=$(date -u -d "${text:0:4}-${text:4:2}-${text:6:2} ${text:8:2}:${text:10:2}:${text:12:2}" +%s 2>/dev/null) || return 1
    time=$(stat -c %Y "$1")
    [ "$named" -gt "$time" ] && time=$named
    [ $((now - time)) -gt $((days * 86400)) ]
}

for kind in db configs mongo grafana base; do
    good=0
    while IFS= read -r file; do
        # Once enough are known to be good, the rest goes by age alone: no need to read all of them every day.
        if [ "$good" -lt "$least" ] && intact "$file"; then
            good=$((good + 1))
            left=$((left + 1))
            continue
        fi
        if [ "$good" -lt "$least" ]; then
            say "warning: $file is damaged, or its checksum is missing; it does not count among the $least to keep"
        fi
        if old "$file"; then remove "$file"; else left=$((left + 1)); fi
    done < <(backups "$kind")
done

# Names of segments sort by time within a timeline; the last 16 digits are the place in it.
if [ -d "$BACKUP_DIR/wal" ]; then
    oldest=''
    for start in "$BACKUP_DIR"/base_backup_*.wal-start; do
        [ -f "$start" ] || continue
        segment=$(<"$start")
        if [ -z "$oldest" ] || [[ ${segment:8:16} < ${oldest:8:16} ]]; then oldest=$segment; fi
    done
    for file in "$BACKUP_DIR"/wal/[0-9A-F]*.gz "$BACKUP_DIR"/wal/[0-9A-F]*.gz.age; do
        [ -f "$file" ] && [ -n "$oldest" ] || continue
        segment=$(basename "$file")
        segment=${segment%%.*}
        if [ ${#segment} = 24 ] && [[ ${segment:8:16} < ${oldest:8:16} ]]; then remove "$file"; fi
    done
fi
say "$deleted $([ "$dry" = yes ] && echo 'would be ')deleted, $left backups kept"
