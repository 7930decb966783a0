#!/bin/bash
# Brings the deployment to another version of Probity, with a way back: backup, a trial of the migrations on a restored
# copy of it, then the switch, then all checks. When these fail, it goes back by itself.
#
#   upgrade.sh VERSION       for example 0.2.0
#   upgrade.sh --plan VERSION  what would be migrated; changes nothing
#   upgrade.sh --rollback    back to the version before the last upgrade
#
# A rollback over migrations restores the backup made before: what was recorded since is then in the database that is kept
# as <name>_before_<time>. Without migrations it only changes the version.
set -euo pipefail
# shellcheck source=deploy/bin/compose_files.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/compose_files.sh"
state=$deploy/.upgrade

target='' what=upgrade
while [ $# -gt 0 ]; do
    case $1 in
    --plan) what=plan ;;
    --rollback) what=rollback ;;
    -h | --help)
        sed -n '2,10s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*) fail 2 "unknown flag \"$1\"; see --help" ;;
    *) target=$1 ;;
    esac
    shift
done
[ -f "$env_file" ] || fail 2 "$env_file is missing; deploy/setup.sh makes it"

step() { printf '\n== %s\n' "$*"; }
example_version() { sed -n 's/^ *image: .*PROBITY_VERSION:-\([^}]*\)}.*/\1/p' "$deploy/compose.base.yml" | head -n 1; }
current=$(value PROBITY_VERSION "$(example_version)")

# A job of the new version on a database of this server.
migrate_with() {
    local version=$1 database=$2
    shift 2
    PROBITY_VERSION=$version DB_NAME=$database compose run --rm --no-deps -T migrate migrate "$@"
}
backup_job() { compose run --rm --no-deps -T backup "$@"; }

present() {
    local image
    image=$(value PROBITY_IMAGE probity):$1
    docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image" ||
        fail 1 "there is no image $image; build it (docker build -f deploy/Dockerfile -t $image .) or name a registry by PROBITY_IMAGE"
}

pending() { migrate_with "$1" "$(value DB_NAME statusdb)" --dry-run; }

# remember KEY=VALUE …: what a rollback needs to know.
remember() {
    (
        umask 077
        printf '%s\n' "$@" >"$state.new"
    )
    mv "$state.new" "$state"
}
remembered() { sed -n "s/^$1=//p" "$state"; }

roll_back() {
    local from backup migrated
    [ -f "$state" ] || fail 2 "$state is missing: there is no upgrade to go back from"
    from=$(remembered from) backup=$(remembered backup) migrated=$(remembered migrated)
    step "back to $from"
    if [ "$migrated" = yes ]; then
        say "the schema was migrated: the database of before the upgrade is restored from $backup"
        # Whoever writes stops first; else it would write into what is about to be set aside.
        compose stop nodered governance status-backend grafana 2>/dev/null || compose stop nodered status-backend grafana
        backup_job /usr/local/bin/restore_db.sh "$backup" --in-place
    fi
    put PROBITY_VERSION "$from"
    compose up --detach --wait
    rm -f "$state"
    say "version $from runs again"
}

if [ "$what" = rollback ]; then
    roll_back
    exit 0
fi

[ -n "$target" ] || fail 2 "to which version? see --help"
[[ $target =~ ^[A-Za-z0-9._-]+$ ]] || fail 2 "version \"$target\": expected a tag of an image"
[ "$target" != "$current" ] || fail 2 "version $target runs already"
present "$target"

step "what would be migrated, from $current to $target"
plan=$(pending "$target") || fail 1 "version $target cannot look at the database: $plan"
say "$plan"
[ "$what" = upgrade ] || exit 0

step "backup"
said=$(backup_job /usr/local/bin/backup_db.sh) || fail 1 "the backup failed; nothing was changed"
say "$said"
backup=${said%%:*}
backup_job /usr/local/bin/backup_configs.sh

case $plan in *"is up to date"*) migrated=no ;; *) migrated=yes ;; esac
if [ "$migrated" = yes ]; then
    trial=$(value DB_NAME statusdb)_upgrade_trial
    step "trial on a restored copy, $trial"
    drop_trial() {
        # shellcheck disable=SC2016 # expanded in the container
        backup_job sh -c 'PGHOST=$DB_HOST PGPORT=$DB_PORT PGUSER=$DB_USER PGPASSWORD=$DB_PASSWORD exec dropdb --if-exists --force "$1"' sh "$trial"
    }
    drop_trial
    if [ -n "$(value BACKUP_AGE_RECIPIENT)" ] && [ -z "$(value BACKUP_AGE_IDENTITY_FILE)" ]; then
        # The key that opens backups is, as it should be, not on this machine.
        say "the backup is encrypted and its key is not here (BACKUP_AGE_IDENTITY_FILE): no trial; the migrations run in one"
        say "transaction, which leaves nothing behind when it fails"
    else
        backup_job /usr/local/bin/restore_db.sh "$backup" --into "$trial" || fail 1 "the backup cannot be restored; nothing was changed"
        if ! migrate_with "$target" "$trial"; then
            drop_trial
            fail 1 "the migrations fail on a copy of your data; nothing was changed. Version $current goes on running"
        fi
        drop_trial
    fi
fi

step "switch to $target"
remember "from=$current" "to=$target" "backup=$backup" "migrated=$migrated"
put PROBITY_VERSION "$target"
if compose up --detach --wait && "$deploy/bin/verify.sh"; then
    say "version $target runs; back, if need be: deploy/bin/upgrade.sh --rollback"
    exit 0
fi
say "version $target does not pass the checks"
roll_back
fail 1 "version $target did not pass the checks above; $current runs again"
