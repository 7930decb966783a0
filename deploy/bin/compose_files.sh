# shellcheck shell=bash
# What the scripts of operation share: the deployment's files and mode, its environment file, Docker Compose run on them.
# Sourced, never run.
#
# ENV_FILE is the environment file (deploy/.env). DEPLOY_MODE in it says dev or prod; DEPLOY_FILES names further compose
# files below deploy/, with spaces between. The digests that pin.sh wrote come last.
deploy=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
env_file=${ENV_FILE:-$deploy/.env}

say() { printf '%s\n' "$*"; }

# fail CODE TEXT: 1 it did not work, 2 it was asked for wrongly.
fail() {
    local code=$1
    shift
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit "$code"
}

# value KEY [DEFAULT]: what the environment file says, the last one of several, without quotes.
value() {
    local found
    found=$(sed -n "s/^$1=//p" "$env_file" 2>/dev/null | tail -n 1)
    case $found in
    \'*\') found=${found#\'} found=${found%\'} ;;
    \"*\") found=${found#\"} found=${found%\"} ;;
    esac
    printf '%s' "${found:-${2:-}}"
}

# put KEY VALUE: sets a key of the environment file; the file is whole at every moment, and for its owner alone. What is
# not a plain word stands in single quotes, in which Docker Compose takes everything as it is.
put() {
    local text=$2 new=$env_file.new
    [[ $text =~ ^[A-Za-z0-9_.,:/@%+=-]*$ ]] || text=\'$text\'
    (
        umask 077
        # The value comes by the environment: in arguments everybody on the machine could read it.
        TEXT=$text awk -v key="$1" '
            index($0, key "=") == 1 { if (!done) { print key "=" ENVIRON["TEXT"]; done = 1 } next }
            { print }
            END { if (!done) print key "=" ENVIRON["TEXT"] }' "$env_file" >"$new"
    )
    chmod 600 "$new"
    mv "$new" "$env_file"
}

# The compose files of the mode, as arguments.
compose_arguments() {
    local mode name
    mode=${1:-$(value DEPLOY_MODE)}
    case $mode in
    dev | prod) ;;
    *) fail 2 "DEPLOY_MODE in $env_file is \"$mode\": expected dev or prod; deploy/setup.sh writes it" ;;
    esac
    arguments=(--env-file "$env_file" -f "$deploy/compose.base.yml" -f "$deploy/compose.$mode.yml")
    for name in $(value DEPLOY_FILES); do
        [ -f "$deploy/$name" ] || fail 2 "DEPLOY_FILES in $env_file: $deploy/$name: no such file"
        arguments+=(-f "$deploy/$name")
    done
    [ ! -f "$deploy/compose.pins.yml" ] || arguments+=(-f "$deploy/compose.pins.yml")
}

# Docker Compose on the deployment.
compose() {
    local arguments
    compose_arguments
    docker compose "${arguments[@]}" "$@"
}

# One value of a JSON answer, the first of its name: json KEY. For plain words as Grafana and status-backend answer them;
# no other program is needed.
json() {
    tr ',{}[]' '[\n*]' | sed -n "s/^[[:space:]]*\"$1\"[[:space:]]*:[[:space:]]*\"\{0,1\}\([^\"]*\)\"\{0,1\}[[:space:]]*\$/\1/p" | head -n 1
}
