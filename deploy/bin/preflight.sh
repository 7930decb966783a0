#!/bin/bash
# Looks, before anything is started, whether this machine can run the deployment: Docker and Compose, free ports, sources
# in development, memory and disk. Prints every problem with what to do about it.
#
#   preflight.sh [dev|prod]     the mode; default: DEPLOY_MODE of deploy/.env
#
# Exit codes: 0 it can, 1 it cannot, 2 usage.
set -euo pipefail
# shellcheck source=deploy/bin/compose_files.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/compose_files.sh"

docker_least=21.0.0
compose_least=2.20.0

case ${1:-} in
-h | --help)
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
mode=${1:-$(value DEPLOY_MODE)}
case $mode in
dev | prod) ;;
*) fail 2 "which mode, dev or prod?" ;;
esac
[ -f "$env_file" ] || env_file=$deploy/.env.example

errors=0
ok() { printf 'ok       %s\n' "$*"; }
warning() { printf 'warning  %s\n' "$*"; }
error() {
    printf 'error    %s\n' "$*"
    errors=$((errors + 1))
}

# at_least FOUND LEAST
at_least() { printf '%s\n%s\n' "$2" "$1" | sort --check=quiet --version-sort; }

engine=no
check_docker() {
    local found
    if ! command -v docker >/dev/null; then
        error "docker is not installed; see https://docs.docker.com/engine/install/"
        return
    fi
    if ! found=$(docker version --format '{{.Server.Version}}' 2>/dev/null) || [ -z "$found" ]; then
        error "the Docker engine does not answer; start it, or let $(id -un) use it (group docker, or rootless Docker)"
        return
    fi
    engine=yes
    if at_least "$found" "$docker_least"; then
        ok "Docker $found"
    else
        error "Docker $found is too old: at least $docker_least is needed"
    fi
    found=$(docker compose version --short 2>/dev/null || true)
    found=${found#v}
    if [ -z "$found" ]; then
        error "Docker has no compose plugin; install docker-compose-plugin"
        engine=no
    elif at_least "$found" "$compose_least"; then
        ok "Docker Compose $found"
    else
        error "Docker Compose $found is too old: at least $compose_least is needed"
    fi
}

check_programs() {
    local program
    for program in curl awk sed sort; do
        command -v "$program" >/dev/null || error "the program $program is not installed"
    done
}

# Whether somebody listens on a TCP port of this machine, on any address.
taken() {
    local hex
    hex=$(printf ':%04X' "$1")
    if [ -r /proc/net/tcp ]; then
        awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }' \
            /proc/net/tcp /proc/net/tcp6 2>/dev/null
    else
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
    fi
}

# Ports as the compose files publish them, with their service.
published() {
    local arguments
    compose_arguments "$mode"
    docker compose "${arguments[@]}" config 2>/dev/null | awk '
        /^[a-z]/ { services = ($1 == "services:") }
        services && /^  [A-Za-z0-9_.-]+:$/ { name = $1; sub(":", "", name) }
        services && $1 == "published:" { gsub("\"", "", $2); print $2, name }'
}

check_ports() {
    local port name own count=0
    [ "$engine" = yes ] || return 0
    # Those of a deployment that runs already are its own.
    own=$(docker ps --filter "label=com.docker.compose.project=${COMPOSE_PROJECT_NAME:-status}" --format '{{.Ports}}' 2>/dev/null || true)
    while read -r port name; do
        count=$((count + 1))
        case $own in *":$port->"*) continue ;; esac
        if taken "$port"; then
            error "port $port, which $name needs, is taken; stop who has it (ss -ltnp 'sport = :$port'), or give $name \
another one at the end of deploy/.env"
        fi
    done < <(published)
    if [ "$count" = 0 ]; then
        error "the compose files cannot be read; see: docker compose --env-file $env_file -f deploy/compose.base.yml -f deploy/compose.$mode.yml config"
    else
        ok "$count ports looked at"
    fi
}

# Images that are built here are in no registry that `up` could ask.
check_images() {
    local arguments image recipe
    [ "$engine" = yes ] && [ "$mode" = prod ] || return 0
    compose_arguments "$mode"
    while read -r image; do
        case $image in
        probity-backup:*) recipe="docker build -f deploy/backup/Dockerfile -t $image deploy" ;;
        probity:*) recipe="docker build -f deploy/Dockerfile -t $image ." ;;
        *) continue ;;
        esac
        if docker image inspect "$image" >/dev/null 2>&1; then
            ok "image $image"
        else
            error "there is no image $image; build it: $recipe"
        fi
    done < <(docker compose "${arguments[@]}" config 2>/dev/null | awk '$1 == "image:" { print $2 }' | sort -u)
}

check_sources() {
    local name folder
    [ "$mode" = dev ] || return 0
    for name in STATUS_BACKEND_SOURCE:../../status-backend STATUS_FRONTEND_SOURCE:../../frontend; do
        folder=$(value "${name%%:*}" "${name#*:}")
        if (cd "$deploy" && [ -f "$folder/Dockerfile" ]); then
            ok "sources in $folder"
        else
            error "$folder (seen from deploy/) has no Dockerfile: clone it there, or name its folder by ${name%%:*} in deploy/.env"
        fi
    done
}

check_room() {
    local free memory
    free=$(df -Pk "$deploy" | awk 'NR == 2 { print int($4 / 1048576) }')
    if [ "$free" -lt 2 ]; then error "only $free GB are free on the disk of $deploy; at least 2 are needed"; else ok "$free GB free"; fi
    memory=$(awk '/^MemTotal:/ { print int($2 / 1048576) }' /proc/meminfo 2>/dev/null || true)
    if [ -n "$memory" ] && [ "$memory" -lt 4 ]; then
        warning "$memory GB of memory: the services' limits together are about 6 GB"
    fi
}

check_programs
check_docker
check_ports
check_images
check_sources
check_room
if [ "$errors" -gt 0 ]; then
    say "$errors problems; nothing was started"
    exit 1
fi
