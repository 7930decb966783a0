#!/bin/bash
# Backs up every day at BACKUP_AT (02:00, in the time zone TZ, else UTC): database, configuration, MongoDB and Grafana, with
# BACKUP_PHYSICAL=yes the whole server, then the clean-up. A run that was missed while this was down is made up for once.
#
#   backup_schedule.sh           runs until it is told to stop
#   backup_schedule.sh now       runs the jobs once
#   backup_schedule.sh health    whether the last run that succeeded is recent enough (BACKUP_HEALTH_HOURS, 26)
#
# By cron instead: deploy/backup/crontab. By Probity's own schedules: docs/deploy/operate.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"
at=${BACKUP_AT:-02:00}
[[ $at =~ ^([01][0-9]|2[0-3]):[0-5][0-9]$ ]] || fail 2 "BACKUP_AT=$at: expected a time of day, such as 02:00"

# recorded NAME: the moment in a file, seconds since 1970; 0 when there is none.
recorded() { cat "$BACKUP_DIR/.$1" 2>/dev/null || echo 0; }

# The latest time a run was due, not after the moment given.
due() {
    local day moment back
    for back in 0 86400 172800; do
        printf -v day '%(%F)T' $(($1 - back))
        # A time that a change of clocks leaves out is an hour later.
        moment=$(date -d "$day $at" +%s 2>/dev/null || date -d "$day $at UTC" +%s)
        if [ "$moment" -le "$1" ]; then
            echo "$moment"
            return
        fi
    done
}

# All jobs, whatever becomes of the others; but what failed lets nothing be deleted.
jobs_once() {
    local failed=0
    date +%s >"$BACKUP_DIR/.last-run"
    "$here/backup_db.sh" || failed=1
    "$here/backup_configs.sh" || failed=1
    "$here/backup_volumes.sh" || failed=1
    if [ "${BACKUP_PHYSICAL:-no}" = yes ]; then "$here/backup_physical.sh" || failed=1; fi
    if [ "$failed" = 0 ]; then "$here/cleanup_backups.sh" || failed=1; fi
    if [ "$failed" = 0 ]; then
        date +%s >"$BACKUP_DIR/.last-success"
        say "backup run ended well"
    else
        say "backup run failed; the messages stand above" >&2
    fi
    return "$failed"
}

case ${1:-} in
'') ;;
now)
    jobs_once
    exit
    ;;
health)
    [ $(($(date +%s) - $(recorded last-success))) -le $((${BACKUP_HEALTH_HOURS:-26} * 3600)) ] ||
        fail 1 "no backup has succeeded for ${BACKUP_HEALTH_HOURS:-26} hours"
    exit 0
    ;;
-h | --help)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac

refuse_unsealed
trap 'exit 0' TERM INT
while :; do
    now=$(date +%s)
    if [ "$(recorded last-run)" -lt "$(due "$now")" ]; then
        jobs_once || true
        continue
    fi
    next=$(due $((now + 86400)))
    [ "$next" -gt "$now" ] || next=$((now + 3600))
    # In pieces, so that a clock that is set right does not delay it by as much.
    pause=$((next - now))
    [ "$pause" -le 3600 ] || pause=3600
    sleep "$pause" &
    wait $! || true
done
