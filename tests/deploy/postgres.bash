# shellcheck shell=bash
# A private Postgres for the tests of the backup scripts, made as the deployment's image makes its own: the same arguments
# of initdb, the same init scripts. Reached by a Unix socket; stopped by `stop_server`.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export bin=$root/deploy/bin
export probity=${CARGO_TARGET_DIR:-$root/target}/debug/probity

# The folder with `initdb`: the newest of Debian's, or PROBITY_TEST_POSTGRES_PROGRAMS, whose clients then stand first in PATH.
programs() {
    local found=${PROBITY_TEST_POSTGRES_PROGRAMS:-}
    [ -n "$found" ] || found=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort | tail -n 1)
    [ -x "$found/initdb" ] || { echo "no Postgres programs under /usr/lib/postgresql: apt-get install postgresql" >&2; return 1; }
    printf '%s' "$found"
}

# The server refuses to run as root.
as_server() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --clear-groups --reset-env env PATH="$PATH" "$@"
    else
        "$@"
    fi
}

own() { [ "$(id -u)" != 0 ] || chown -R postgres "$@"; }

# A folder that the server's user can reach, too, which that of bats is not.
server_folder() {
    local folder
    folder=$(mktemp -d "${TMPDIR:-/tmp}/probity-pg-XXXXXX")
    chmod 755 "$folder"
    printf '%s' "$folder"
}

# start_server FOLDER: on FOLDER/data, which it makes when it is not there. Sets the variables of libpq.
start_server() {
    local folder=$1 programs arguments
    programs=$(programs)
    mkdir -p "$folder/socket"
    chmod 755 "$folder"
    own "$folder/socket"
    export PGHOST=$folder/socket PGUSER=statususer PGDATABASE=statusdb PGPASSWORD=0f1e2d3c4b5a69788796a5b4
    if [ ! -d "$folder/data" ]; then
        mkdir -m 700 "$folder/data"
        own "$folder/data"
        # As in compose.base.yml.
        arguments=$(sed -n 's/^ *POSTGRES_INITDB_ARGS: //p' "$root/deploy/compose.base.yml")
        printf '%s\n' "$PGPASSWORD" >"$folder/socket/password"
        # shellcheck disable=SC2086 # a list of words
        as_server "$programs/initdb" --pgdata="$folder/data" --username="$PGUSER" --encoding=UTF8 --locale=C.UTF-8 --no-sync \
            $arguments --pwfile="$folder/socket/password" >"$folder/initdb.log"
        run_server "$folder"
        psql --dbname=postgres --quiet --command="CREATE DATABASE $PGDATABASE"
        init_roles "$folder"
    else
        run_server "$folder"
    fi
}

# Without fsync: no test here cuts the power.
run_server() {
    as_server "$(programs)/pg_ctl" --pgdata="$1/data" --wait --log="$1/socket/server.log" \
        --options="-c listen_addresses='' -k '$1/socket' -c fsync=off -c max_slot_wal_keep_size=1GB" start >/dev/null 2>&1 3>&- ||
        { cat "$1/socket/server.log" >&2; return 1; }
}

# What the image runs once, as the server's user with the variables that the image has.
init_roles() {
    local script
    for script in "$root"/deploy/postgres/init/*.sh; do
        as_server env PATH="$(programs):$PATH" PGHOST="$PGHOST" PGPASSWORD="$PGPASSWORD" PGDATA="$1/data" POSTGRES_USER="$PGUSER" \
            POSTGRES_DB="$PGDATABASE" PROBITY_DB_PASSWORD=1f1e2d3c4b5a69788796a5b4 GRAFANA_DB_PASSWORD=2f1e2d3c4b5a69788796a5b4 \
            bash "$script"
    done
}

stop_server() { as_server "$(programs)/pg_ctl" --pgdata="$1/data" --mode=immediate stop >/dev/null 2>&1 || true; }

# The server and all it had are gone, as after the loss of a machine.
destroy_server() {
    stop_server "$1"
    rm -rf "$1/data"
}

# psql, one value.
value_of() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --command="$1" "${@:2}"; }

# Probity's command on the database, as its own user.
with_probity() {
    local url="postgres://probity:1f1e2d3c4b5a69788796a5b4@localhost/${DATABASE:-$PGDATABASE}?host=$PGHOST"
    (cd "$BATS_TEST_TMPDIR" 2>/dev/null || cd "$BATS_FILE_TMPDIR" && PROBITY_DATABASE_URL=$url "$probity" "$@")
}

# An evaluation: 96 states, a run and an entry of the audit log.
evaluate() {
    with_probity evaluate service-level --from "$1" --to "$2" --store >/dev/null
}

# Waits for a condition that others bring about; fails after half a minute.
until_true() {
    local left=600
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "never came true: $*" >&2; return 1; }
        read -r -t 0.05 <> <(:) || true
    done
}

# An age key pair: KEY (file) and RECIPIENT.
make_key() {
    age-keygen -o "$1" 2>/dev/null
    chmod 644 "$1"
    sed -n 's/^# public key: //p' "$1"
}
