#!/bin/bash
# Sets STATUS with Probity up on this machine and starts it: checks, secrets, environment file, containers, first user,
# Grafana's service account. Run it as often as you like: what is there already stays as it is.
#
#   deploy/setup.sh [dev|prod]          asks for what it needs to know
#     --non-interactive                 asks nothing: mode prod, user admin, unless said otherwise
#     --user NAME                       who logs in; the password is that of the variable PASS_STATUS, or is made
#     --profile governify|standalone    the Registry and Director of Governify, or Probity in their place
#     --backup-recipient age1…          daily backups at 02:00, encrypted for this key (profile backup)
#     --no-example-data                 without STATUS's catalogues and controls to try
#     --no-start                        writes deploy/.env and stops there
#
# Secrets are made on this machine, stand only in deploy/.env and deploy/secrets (which their owner alone may read), and are
# never printed.
set -euo pipefail
{ set +x; } 2>/dev/null # a trace would print secrets
# shellcheck source=deploy/bin/compose_files.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/bin/compose_files.sh"
umask 077

mode='' ask=yes user='' profile='' recipient='' examples=yes start=yes
while [ $# -gt 0 ]; do
    case $1 in
    dev | prod) mode=$1 ;;
    --non-interactive) ask=no ;;
    --no-example-data) examples=no ;;
    --no-start) start=no ;;
    --user | --profile | --backup-recipient)
        [ $# -gt 1 ] || fail 2 "$1 needs a value"
        case $1 in --user) user=$2 ;; --profile) profile=$2 ;; *) recipient=$2 ;; esac
        shift
        ;;
    -h | --help)
        sed -n '2,15s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) fail 2 "unknown argument \"$1\"; see --help" ;;
    esac
    shift
done
case $profile in '' | governify | standalone) ;; *) fail 2 "--profile $profile: expected governify or standalone" ;; esac
[ -t 0 ] || [ "${SETUP_ASK:-}" = yes ] || ask=no

step() { printf '\n== %s\n' "$*"; }

# ---- the environment file ------------------------------------------------------------------------------------------

# 48 hexadecimal digits: 192 bits, and nothing that a URL or a shell would take for something else.
fresh_secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

choose_mode() {
    [ -n "$mode" ] || mode=$(value DEPLOY_MODE)
    if [ -z "$mode" ] && [ "$ask" = yes ]; then
        read -r -p 'Mode: prod (images by version, everything behind port 3000) or dev (built from source)? [prod] ' mode
    fi
    mode=${mode:-prod}
    case $mode in dev | prod) ;; *) fail 2 "mode \"$mode\": expected dev or prod" ;; esac
}

choose_user() {
    local name=$user password=${PASS_STATUS:-} again
    if [ -z "$name" ] && [ "$ask" = yes ]; then
        read -r -p 'Name of the first user [admin] ' name
    fi
    name=${name:-$(value USER_STATUS admin)}
    [[ $name =~ ^[A-Za-z0-9]{1,60}$ ]] || fail 2 "user name \"$name\": STATUS takes letters and digits only"
    if [ -z "$password" ] && [ "$ask" = yes ]; then
        read -r -s -p 'Its password, 8 characters or more (empty: one is made) ' password
        printf '\n'
        if [ -n "$password" ]; then
            read -r -s -p 'Once more ' again
            printf '\n'
            [ "$password" = "$again" ] || fail 2 "the passwords differ; nothing was changed"
        fi
    fi
    case $password in *[\'\\\"]*) fail 2 "quotes and backslashes in the password cannot be passed on to all services" ;; esac
    put USER_STATUS "$name"
    put PASS_STATUS "${password:-$(fresh_secret)}"
}

write_environment() {
    local line key known made=0
    if [ ! -e "$env_file" ]; then
        cp "$deploy/.env.example" "$env_file"
        say "$env_file: made from .env.example"
    fi
    [ "$(stat -c %a "$env_file" 2>/dev/null || stat -f %Lp "$env_file")" = 600 ] || chmod 600 "$env_file"
    # A last line without an end would become one with what is added.
    [ -z "$(tail -c 1 "$env_file")" ] || echo >>"$env_file"
    # Keys that came with a later version, or that STATUS's own file lacks.
    while IFS= read -r line; do
        [[ $line =~ ^([A-Z][A-Z0-9_]*)=(.*)$ ]] || continue
        key=${BASH_REMATCH[1]} known=${BASH_REMATCH[2]}
        grep -q "^$key=" "$env_file" || printf '%s=%s\n' "$key" "$known" >>"$env_file"
    done <"$deploy/.env.example"
    [ "$(value PASS_STATUS)" != change-me ] || choose_user
    while IFS= read -r line; do
        if [[ $line =~ ^([A-Z][A-Z0-9_]*)=change-me$ ]]; then
            put "${BASH_REMATCH[1]}" "$(fresh_secret)"
            made=$((made + 1))
        fi
    done < <(cat "$env_file")
    [ "$made" = 0 ] || say "$env_file: $made secrets made"
    [ "$(value DEPLOY_MODE)" = "$mode" ] || put DEPLOY_MODE "$mode"
    if [ -n "$profile" ]; then choose_profile; fi
    if [ -n "$recipient" ]; then choose_backup; fi
}

# Others that were switched on stay.
choose_profile() {
    local name profiles=$profile
    for name in $(value COMPOSE_PROFILES | tr , ' '); do
        case $name in governify | standalone) ;; *) profiles=$profiles,$name ;; esac
    done
    [ "$(value COMPOSE_PROFILES)" = "$profiles" ] || put COMPOSE_PROFILES "$profiles"
}

choose_backup() {
    local profiles
    case $recipient in age1* | ssh-*) ;; *) fail 2 "--backup-recipient: expected a public key of age (age1…)" ;; esac
    [ "$(value BACKUP_AGE_RECIPIENT)" = "$recipient" ] || put BACKUP_AGE_RECIPIENT "$recipient"
    profiles=$(value COMPOSE_PROFILES)
    case ,$profiles, in *,backup,*) ;; *) put COMPOSE_PROFILES "${profiles:+$profiles,}backup" ;; esac
}

# Docker would make a folder that it mounts as root's, and Probity could not write there.
make_folders() {
    [ "$mode" = dev ] || return 0
    [ -d "$deploy/node-red-status" ] || mkdir -m 755 "$deploy/node-red-status"
    if [ "$(id -u)" = 0 ]; then
        chown 1000:1000 "$deploy/node-red-status"
    elif [ "$(id -u)" != 1000 ] && [ -z "$(value PROBITY_USER)" ]; then
        put PROBITY_USER "$(id -u):$(id -g)"
    fi
}

# ---- containers ----------------------------------------------------------------------------------------------------

start_containers() {
    # First what fails by itself: nothing is started with half of the images.
    if [ "$mode" = dev ] && ! compose build; then
        say ""
        df -h "$deploy" 2>/dev/null | sed 's/^/  /'
        fail 1 "an image cannot be built, and nothing was started; the last lines above name the service and its step. Is there \
room on the disk (docker builder prune makes some), can the machine reach the registries, are the sources in \
STATUS_BACKEND_SOURCE and STATUS_FRONTEND_SOURCE what they should be? Then run this again"
    fi
    if ! compose up --detach --wait; then
        say ""
        say "what the first job, which looks at the secrets, said:"
        compose logs --no-log-prefix --tail 20 migrate || true
        compose ps --all || true
        fail 1 "not everything is healthy; deploy/stack logs SERVICE says more, deploy/stack doctor what to do"
    fi
}

# ---- first user ----------------------------------------------------------------------------------------------------

base() { printf 'http://127.0.0.1:%s' "$1"; }
addresses() {
    if [ "$mode" = dev ]; then
        backend=$(base "$(value BACKEND_PORT 3001)")/api/v1
        grafana=$(base "$(value GRAFANA_PORT 3100)")
        entry=$(base "$(value FRONTEND_PORT 3000)")
    else
        backend=$(base "$(value PROXY_PORT 3000)")/backend
        grafana=$(base "$(value PROXY_PORT 3000)")/grafana
        entry=$(base "$(value PROXY_PORT 3000)")
    fi
    # For who reaches them in another way.
    backend=${SETUP_BACKEND_URL:-$backend} grafana=${SETUP_GRAFANA_URL:-$grafana}
}

# A value inside of double quotes, for JSON and for curl's configuration.
escaped() {
    local text
    text=$(value "$1")
    text=${text//\\/\\\\}
    printf '%s' "${text//\"/\\\"}"
}

# The password goes by standard input: arguments are for everybody to read.
sign_in() {
    printf '{"username":"%s","password":"%s"}' "$(escaped USER_STATUS)" "$(escaped PASS_STATUS)" |
        curl --silent --show-error --max-time 60 --output /dev/null --write-out '%{http_code}' \
            --header 'content-type: application/json' --data @- "$backend/users/signIn"
}

make_first_user() {
    local answer
    answer=$(sign_in) || fail 1 "status-backend does not answer at $backend"
    if [ "$answer" = 200 ]; then
        say "user $(value USER_STATUS) can log in"
        return
    fi
    if [ "$examples" = yes ]; then
        say "STATUS's example data …"
        compose exec -T status-backend npm run --silent populate >/dev/null || fail 1 "the example data was not stored; try --no-example-data"
    fi
    compose exec -T status-backend node --input-type=module - <"$deploy/status-backend/first_user.mjs" |
        grep '^user ' || true
    answer=$(sign_in)
    [ "$answer" = 200 ] || fail 1 "user $(value USER_STATUS) cannot log in at $backend (HTTP $answer)"
    say "user $(value USER_STATUS) can log in"
}

# ---- Grafana -------------------------------------------------------------------------------------------------------

# ask_grafana METHOD PATH [JSON]: the answer, then its code on a line of its own. The login goes by standard input.
ask_grafana() {
    {
        printf 'request = "%s"\nurl = "%s%s"\n' "$1" "$grafana" "$2"
        case ${key:-} in
        '') printf 'user = "%s:%s"\n' "$(escaped USER_STATUS)" "$(escaped PASS_STATUS)" ;;
        *) printf 'header = "Authorization: Bearer %s"\n' "$key" ;;
        esac
        [ -z "${3:-}" ] || printf 'header = "Content-Type: application/json"\ndata = "%s"\n' "${3//\"/\\\"}"
    } | curl --silent --show-error --max-time 60 --write-out '\n%{http_code}' --config -
}
code() { printf '%s' "${answer##*$'\n'}"; }

make_grafana_token() {
    local answer key account
    key=$(value GRAFANA_API_KEY)
    if [ -n "$key" ]; then
        answer=$(ask_grafana GET '/api/folders?limit=1') || fail 1 "Grafana does not answer at $grafana"
        case $(code) in
        200)
            say "Grafana knows the service account's token"
            return
            ;;
        401 | 403) say "Grafana does not know the token in $env_file (any more)" ;;
        *) fail 1 "Grafana answers HTTP $(code) at $grafana" ;;
        esac
    fi
    key=''
    answer=$(ask_grafana GET '/api/serviceaccounts/search?query=status-system') || fail 1 "Grafana does not answer at $grafana"
    [ "$(code)" = 200 ] || fail 1 "Grafana does not let user $(value USER_STATUS) in (HTTP $(code)); its password was \
changed there: set it in $env_file, or reset it with: deploy/stack compose exec grafana grafana cli admin reset-admin-password"
    account=$(json id <<<"$answer")
    if [ -z "$account" ]; then
        answer=$(ask_grafana POST /api/serviceaccounts '{"name":"status-system","role":"Admin"}')
        account=$(json id <<<"$answer")
        [ -n "$account" ] || fail 1 "Grafana made no service account (HTTP $(code))"
    fi
    answer=$(ask_grafana POST "/api/serviceaccounts/$account/tokens" "{\"name\":\"status-$(date -u +%Y%m%d%H%M%S)\"}")
    key=$(json key <<<"$answer")
    [ -n "$key" ] || fail 1 "Grafana made no token (HTTP $(code))"
    put GRAFANA_API_KEY "$key"
    say "a token of Grafana's service account stands in $env_file"
    # It reads its environment when it starts.
    compose up --detach --wait status-backend
}

step "settings"
choose_mode
write_environment
make_folders
"$deploy/bin/monitoring_secrets.sh"
"$deploy/bin/secret_files.sh"
say "mode $mode, parts $(value COMPOSE_PROFILES), settings in $env_file"
if [ "$start" = no ]; then
    say "not started, as you wished"
    exit 0
fi

step "this machine"
"$deploy/bin/preflight.sh" "$mode"

step "containers"
start_containers

addresses
step "first user"
make_first_user
step "Grafana"
make_grafana_token

step "ready"
say "STATUS is at $entry; user $(value USER_STATUS), its password is PASS_STATUS in $env_file"
case ,$(value COMPOSE_PROFILES), in
*,backup,*) ;;
*) say "there are no backups yet: deploy/setup.sh --backup-recipient age1…" ;;
esac
say "all checks: deploy/stack verify"
