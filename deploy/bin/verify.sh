#!/bin/bash
# All checks of a running deployment in one report; changes nothing. Exit code 1 when one fails.
#
#   verify.sh                  everything
#   verify.sh --no-containers  without Docker: what VERIFY_… names, for services that run in another way
#
# Addresses come from deploy/.env; VERIFY_PROBITY_URL, VERIFY_PROXY_URL, VERIFY_GRAFANA_URL name others (an empty one leaves
# its checks out). With --no-containers, PGHOST, PGPORT, PGDATABASE, PGUSER name the database, and GRAFANA_DB_PASSWORD
# is Grafana's password there; BACKUP_DIR is where backups are.
set -euo pipefail
# shellcheck source=deploy/bin/compose_files.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/compose_files.sh"

containers=yes
case ${1:-} in
'') ;;
--no-containers) containers=no ;;
-h | --help)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac

failed=0 passed=0 skipped=0
ok() {
    printf 'ok       %s\n' "$*"
    passed=$((passed + 1))
}
bad() {
    printf 'FAILED   %s\n' "$*"
    failed=$((failed + 1))
}
skip() {
    printf 'skipped  %s\n' "$*"
    skipped=$((skipped + 1))
}

# ---- settings ------------------------------------------------------------------------------------------------------

check_settings() {
    local rights key weak=''
    if [ ! -f "$env_file" ]; then
        if [ "$containers" = yes ]; then bad "$env_file is missing; deploy/setup.sh makes it"; else skip "no $env_file"; fi
        return
    fi
    rights=$(stat -c %a "$env_file")
    if [ "$rights" = 600 ]; then ok "$env_file is for its owner alone"; else bad "$env_file has mode $rights; chmod 600 $env_file"; fi
    for key in PASS_STATUS JWT_SECRET REFRESH_JWT_SECRET DB_PASSWORD PROBITY_DB_PASSWORD GRAFANA_DB_PASSWORD MONGOPASS; do
        case $(value "$key") in '' | change-me | secret) weak="$weak $key" ;; esac
    done
    if [ -z "$weak" ]; then ok "no secret is one of the examples"; else bad "no secrets:$weak; deploy/setup.sh makes those that are change-me"; fi
}

# ---- containers ----------------------------------------------------------------------------------------------------

check_containers() {
    local name state health code rows expected
    if [ "$containers" = no ]; then
        skip "containers"
        return
    fi
    if ! rows=$(compose ps --all --format '{{.Service}} {{.State}} {{.Health}} {{.ExitCode}}' 2>&1); then
        bad "docker compose: $rows"
        return
    fi
    expected=$(compose config --services)
    for name in $expected; do
        read -r _ state health code < <(grep "^$name " <<<"$rows" | sed 's/  / - /') || state=missing
        case $name:$state:${health:-} in
        migrate:exited:*)
            [ "$health" = - ] || code=${health:-$code}
            if [ "${code:-1}" = 0 ]; then ok "migrate ended well"; else bad "migrate ended with ${code:-?}; deploy/stack logs migrate"; fi
            ;;
        *:running:healthy) ok "$name is healthy" ;;
        *:running:-) ok "$name runs (it has no health check)" ;;
        *:missing:*) bad "$name does not run; deploy/stack up" ;;
        *) bad "$name is $state ${health#-}; deploy/stack logs $name" ;;
        esac
    done
}

# Which ports are open to others than this machine.
check_exposure() {
    local open
    [ "$containers" = yes ] || return 0
    open=$(compose config | awk '
        /^[a-z]/ { services = ($1 == "services:") }
        services && /^  [A-Za-z0-9_.-]+:$/ { name = $1; sub(":", "", name) }
        services && $1 == "host_ip:" { ip = $2 }
        services && $1 == "-" && $2 == "mode:" { ip = "" }
        services && $1 == "published:" && ip != "127.0.0.1" && ip != "::1" { gsub("\"", "", $2); print name ":" $2 }' | sort -u | tr '\n' ' ')
    case $open in
    *[a-z]*)
        if grep -qvE '^(reverse-proxy|traefik):' <(tr ' ' '\n' <<<"${open% }"); then
            bad "ports are open to other machines that should not be: $open"
        else
            ok "open to other machines: $open"
        fi
        ;;
    *) ok "no port is open to other machines" ;;
    esac
}

# ---- HTTP ----------------------------------------------------------------------------------------------------------

# answers WHAT URL CODE…: asks, and compares the code.
answers() {
    local what=$1 url=$2 found
    shift 2
    found=$(curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' "$url" || true)
    case " $* " in
    *" $found "*) ok "$what: $url answers $found" ;;
    *" "*) bad "$what: $url answers ${found/000/nothing}, expected $*" ;;
    esac
}

check_http() {
    local mode probity proxy grafana
    mode=$(value DEPLOY_MODE)
    if [ "$mode" = dev ]; then
        probity=http://127.0.0.1:$(value PROBITY_PORT 1880) proxy='' grafana=http://127.0.0.1:$(value GRAFANA_PORT 3100)
    else
        proxy=http://127.0.0.1:$(value PROXY_PORT 3000)
        probity=$proxy/node-red grafana=$proxy/grafana
    fi
    [ "$containers" = yes ] || probity='' proxy='' grafana=''
    probity=${VERIFY_PROBITY_URL-$probity} proxy=${VERIFY_PROXY_URL-$proxy} grafana=${VERIFY_GRAFANA_URL-$grafana}
    if [ -n "$probity" ]; then
        answers "Probity is alive" "$probity/health/live" 200
        answers "Probity can work" "$probity/health/ready" 200
        answers "the editor is there" "$probity/" 200 401
        # Deploying must need a login.
        answers "deploys need a login" "$probity/flows" 401
    else
        skip "Probity over HTTP"
    fi
    if [ -n "$proxy" ]; then
        answers "the proxy" "$proxy/proxy-health" 200
        answers "STATUS's pages" "$proxy/" 200
        # It has nothing at its root but an answer.
        answers "status-backend" "$proxy/backend/" 200 401 404
    else
        skip "the proxy"
    fi
    if [ -n "$grafana" ]; then answers "Grafana" "$grafana/api/health" 200; else skip "Grafana"; fi
}

# ---- database ------------------------------------------------------------------------------------------------------

# Runs SQL as a user (the administrator, or grafana); prints the answer.
ask() {
    local user=$1
    if [ "$containers" = no ]; then
        PGUSER=$user PGPASSWORD=$([ "$user" = grafana ] && printf '%s' "${GRAFANA_DB_PASSWORD:-}" || printf '%s' "${PGPASSWORD:-}") \
            psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 2>&1
    else
        # The server knows both passwords by its own environment.
        # shellcheck disable=SC2016 # expanded in the container
        compose exec -T -e "AS=$user" postgres sh -c 'case $AS in grafana) PGPASSWORD=$GRAFANA_DB_PASSWORD ;; *) PGPASSWORD=$POSTGRES_PASSWORD ;; esac
            export PGPASSWORD; exec psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 \
            --host=127.0.0.1 --username="$AS" --dbname="$POSTGRES_DB"' 2>&1
    fi
}

check_database() {
    local admin said
    if [ "$containers" = no ] && [ -z "${PGHOST:-}" ]; then
        skip "the database"
        return
    fi
    admin=${PGUSER:-$(value DB_USER statususer)}
    if ! said=$(ask "$admin" <<<"SELECT 'schema version ' || max(version) FROM probity.migration WHERE success"); then
        bad "the database: $said"
        return
    fi
    ok "the database answers: $said"
    said=$(ask grafana <<<'SELECT count(*) FROM probity.verdicts' || true)
    if [[ $said =~ ^[0-9]+$ ]]; then ok "Grafana's user reads the views ($said verdicts)"; else bad "Grafana's user cannot read the views: $said"; fi
    said=$(ask grafana <<<'SET default_transaction_read_only = off; DELETE FROM probity.state' || true)
    case $said in
    *"permission denied"*) ok "Grafana's user can write nothing" ;;
    *) bad "Grafana's user is not refused when it deletes: $said" ;;
    esac
}

# ---- backups -------------------------------------------------------------------------------------------------------

check_backups() {
    local newest age
    if [ "$containers" = yes ]; then
        case ,$(value COMPOSE_PROFILES), in
        *,backup,*) ;;
        *)
            bad "there are no backups: the profile backup is off; deploy/setup.sh --backup-recipient age1…"
            return
            ;;
        esac
        if newest=$(compose exec -T backup /usr/local/bin/backup_schedule.sh health 2>&1); then
            ok "a backup run succeeded within the last day"
        else
            bad "backups: $newest"
        fi
        return
    fi
    if [ -z "${BACKUP_DIR:-}" ]; then
        skip "backups"
        return
    fi
    newest=$(find "$BACKUP_DIR" -maxdepth 1 -name 'db_backup_*' ! -name '*.sha256' | sort | tail -n 1)
    if [ -z "$newest" ]; then
        bad "no backup in $BACKUP_DIR"
        return
    fi
    age=$((($(date +%s) - $(stat -c %Y "$newest")) / 3600))
    if ! (cd "$BACKUP_DIR" && sha256sum --check --status "$(basename "$newest").sha256"); then
        bad "the newest backup is damaged: $newest"
    elif [ "$age" -gt "${BACKUP_HEALTH_HOURS:-26}" ]; then
        bad "the newest backup is $age hours old: $newest"
    else
        ok "the newest backup is intact and $age hours old"
    fi
}

check_settings
check_containers
check_exposure
check_http
check_database
check_backups
say "$passed ok, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
