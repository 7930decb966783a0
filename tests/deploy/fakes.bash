# shellcheck shell=bash
# The surroundings of the scripts that drive Docker: a copy of deploy/ of one's own, the fake docker command, and fakes of
# status-backend and Grafana. Nothing of the repository is written to.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PROBITY_TEST_PROGRAM=${CARGO_TARGET_DIR:-$root/target}/debug/probity

surroundings() {
    export FAKE=$BATS_TEST_TMPDIR/fake deploy=$BATS_TEST_TMPDIR/deploy
    mkdir "$FAKE"
    cp -r "$root/deploy" "$deploy"
    rm -rf "$deploy/.env" "$deploy/.upgrade" "$deploy/compose.pins.yml" "$deploy/node-red-status"
    export PATH=$root/tests/deploy/fakes:$PATH
    unset ENV_FILE COMPOSE_PROFILES PASS_STATUS JWT_SECRET DB_PASSWORD
}

# Starts the fake services; their port is in PORT. They end with their standard input, which `stop_services` closes.
start_services() {
    mkfifo "$FAKE/hold"
    python3 "$root/tests/deploy/fakes/services.py" <"$FAKE/hold" >"$FAKE/port" 3>&- &
    exec 6>"$FAKE/hold"
    local left=600
    until [ -s "$FAKE/port" ]; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        read -r -t 0.05 <> <(:) || true
    done
    PORT=$(cat "$FAKE/port")
    export PORT SETUP_BACKEND_URL=http://127.0.0.1:$PORT/backend SETUP_GRAFANA_URL=http://127.0.0.1:$PORT/grafana
    export VERIFY_PROBITY_URL=http://127.0.0.1:$PORT/node-red VERIFY_PROXY_URL=http://127.0.0.1:$PORT VERIFY_GRAFANA_URL=http://127.0.0.1:$PORT/grafana
}

stop_services() { [ ! -e "$FAKE/port" ] || exec 6>&-; }

# A value of the environment file, as it stands there.
setting() { sed -n "s/^$1=//p" "$deploy/.env"; }

# All that a run may change, in one text.
everything() {
    (cd "$deploy" && find . -type f -print0 | sort -z | xargs -0 stat -c '%n %a %Y %s' && find . -type f -print0 | sort -z | xargs -0 sha256sum)
    cat "$FAKE/users" "$FAKE/grafana.json" 2>/dev/null || true
}
