#!/usr/bin/env bats
# shellcheck disable=SC2154 # `deploy` and `root` come from the file that is loaded
# preflight, verify, upgrade, pin and the everyday commands, with a fake docker command.

load fakes.bash

setup() {
    surroundings
    sed -i 's/^#PROXY_PORT=.*/PROXY_PORT=48211/' "$deploy/.env.example"
    "$deploy/setup.sh" --non-interactive --no-start >/dev/null
}

teardown() { stop_services; }

# Everything runs, as after setup.sh.
running() {
    start_services
    "$deploy/setup.sh" --non-interactive --no-start --backup-recipient age1qqqq >/dev/null
    "$deploy/stack" up
    : >"$FAKE/calls"
}

calls() { cat "$FAKE/calls"; }

# ---- preflight -----------------------------------------------------------------------------------------------------

@test "preflight: a machine that can" {
    run "$deploy/bin/preflight.sh" prod
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"ok       Docker 28.3.0"* ]]
    [[ $output == *"ports looked at"* ]]
}

@test "preflight: no engine, an old one, an old Compose" {
    touch "$FAKE/no-engine"
    run "$deploy/bin/preflight.sh" prod
    [ "$status" = 1 ]
    [[ $output == *"the Docker engine does not answer; start it"* ]]
    rm "$FAKE/no-engine"
    echo 20.10.24 >"$FAKE/engine-version"
    echo 2.3.4 >"$FAKE/compose-version"
    run "$deploy/bin/preflight.sh" prod
    [ "$status" = 1 ]
    [[ $output == *"Docker 20.10.24 is too old: at least 21.0.0"* ]]
    [[ $output == *"Docker Compose 2.3.4 is too old"* ]]
    [[ $output == *"2 problems; nothing was started"* ]]
}

@test "preflight: an image that is not built is named with what builds it" {
    echo none >"$FAKE/local-images"
    run "$deploy/bin/preflight.sh" prod
    [ "$status" = 1 ]
    [[ $output == *"there is no image probity:0.1.0; build it: docker build -f deploy/Dockerfile"* ]]
}

@test "preflight: a port that somebody else has is named, with its service; one's own is not" {
    exec 5< <(python3 -c 'import socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True); sys.stdin.read()' < <(sleep 600 & echo $! >"$FAKE/sleep"; wait))
    read -r -u 5 port
    sed -i "s/^PROXY_PORT=.*/PROXY_PORT=$port/" "$deploy/.env"
    run "$deploy/bin/preflight.sh" prod
    echo "0.0.0.0:$port->3000/tcp" >"$FAKE/ports"
    own=$("$deploy/bin/preflight.sh" prod) && good=yes || good=no
    kill "$(cat "$FAKE/sleep")"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"port $port, which reverse-proxy needs, is taken"* ]]
    [ "$good" = yes ]
    [[ $own != *"is taken"* ]]
}

@test "preflight: development needs the sources" {
    run "$deploy/bin/preflight.sh" dev
    [ "$status" = 1 ]
    [[ $output == *"../../status-backend (seen from deploy/) has no Dockerfile"* ]]
    mkdir -p "$BATS_TEST_TMPDIR/sources"
    touch "$BATS_TEST_TMPDIR/sources/Dockerfile"
    printf 'STATUS_BACKEND_SOURCE=%s\nSTATUS_FRONTEND_SOURCE=%s\n' "$BATS_TEST_TMPDIR/sources" "$BATS_TEST_TMPDIR/sources" >>"$deploy/.env"
    run "$deploy/bin/preflight.sh" dev
    [[ $output != *"has no Dockerfile"* ]]
}

# ---- verify --------------------------------------------------------------------------------------------------------

@test "verify: all is well" {
    running
    run "$deploy/bin/verify.sh"
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"ok       migrate ended well"* ]]
    [[ $output == *"ok       nodered is healthy"* ]]
    [[ $output == *"ok       open to other machines: reverse-proxy:48211"* ]]
    [[ $output == *"ok       Grafana's user can write nothing"* ]]
    [[ $output == *" 0 failed"* ]]
}

@test "verify: what does not run, is unhealthy, readable by others or open is named" {
    running
    sed -i '/^grafana$/d' "$FAKE/running"
    echo 0.1.0 >"$FAKE/unhealthy"
    chmod 644 "$deploy/.env"
    sed -i 's/^JWT_SECRET=.*/JWT_SECRET=secret/' "$deploy/.env"
    echo 'services: {postgres: {ports: ["0.0.0.0:5432:5432"]}}' >"$deploy/compose.more.yml"
    echo 'DEPLOY_FILES=compose.more.yml' >>"$deploy/.env"
    run "$deploy/bin/verify.sh"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"FAILED   grafana does not run"* ]]
    [[ $output == *"FAILED   nodered is running unhealthy"* ]]
    [[ $output == *"has mode 644"* ]]
    [[ $output == *"FAILED   no secrets: JWT_SECRET"* ]]
    [[ $output == *"FAILED   ports are open to other machines that should not be: "*postgres:5432* ]]
    [[ $output == *"6 failed"* || $output == *"5 failed"* ]]
}

@test "verify: nothing answers" {
    running
    VERIFY_PROBITY_URL=http://127.0.0.1:9 VERIFY_PROXY_URL='' VERIFY_GRAFANA_URL='' run "$deploy/bin/verify.sh"
    [ "$status" = 1 ]
    [[ $output == *"FAILED   Probity is alive: http://127.0.0.1:9/health/live answers nothing, expected 200"* ]]
    [[ $output == *"skipped  Grafana"* ]]
}

# ---- upgrade -------------------------------------------------------------------------------------------------------

upgradable() {
    running
    echo "probity:0.2.0 probity:0.1.0" >"$FAKE/local-images"
}

@test "upgrade: backup, trial on a copy, switch, checks" {
    upgradable
    sed -i 's/^BACKUP_AGE_RECIPIENT=.*/BACKUP_AGE_RECIPIENT=/; s/^BACKUP_UNENCRYPTED=.*/BACKUP_UNENCRYPTED=yes/' "$deploy/.env"
    printf '2 migrations would run on postgres:\n  0009 queue\n  0010 ticks' >"$FAKE/migrations"
    run "$deploy/bin/upgrade.sh" 0.2.0
    echo "$output"
    [ "$status" = 0 ]
    [ "$(setting PROBITY_VERSION)" = 0.2.0 ]
    # In this order.
    calls | grep -n 'backup_db\|restore_db\|migrate migrate$\|^compose up' | sed 's/^[0-9]*:compose //' | cut -c1-60 >"$BATS_TEST_TMPDIR/order"
    diff "$BATS_TEST_TMPDIR/order" - <<'ORDER'
run --rm --no-deps -T backup /usr/local/bin/backup_db.sh
run --rm --no-deps -T backup /usr/local/bin/restore_db.sh /b
run --rm --no-deps -T migrate migrate
up --detach --wait
ORDER
    calls | grep -q 'restore_db.sh /backups/db_backup_20260101020000.sql.gz.age --into statusdb_upgrade_trial'
    [ "$(stat -c %a "$deploy/.upgrade")" = 600 ]
}

@test "upgrade: a plan changes nothing" {
    upgradable
    before=$(everything)
    printf '1 migrations would run on postgres:\n  0009 queue' >"$FAKE/migrations"
    run "$deploy/bin/upgrade.sh" --plan 0.2.0
    [ "$status" = 0 ]
    [[ $output == *"0009 queue"* ]]
    [ "$(everything)" = "$before" ]
    [ "$(calls | grep -c backup_db)" = 0 ]
}

@test "upgrade: when the backup or the trial fails, the running version goes on" {
    upgradable
    sed -i 's/^BACKUP_AGE_RECIPIENT=.*/BACKUP_AGE_RECIPIENT=/; s/^BACKUP_UNENCRYPTED=.*/BACKUP_UNENCRYPTED=yes/' "$deploy/.env"
    printf '1 migrations would run on postgres:\n  0009 queue' >"$FAKE/migrations"
    echo yes >"$FAKE/backup-fails"
    run "$deploy/bin/upgrade.sh" 0.2.0
    [ "$status" = 1 ]
    [[ $output == *"the backup failed; nothing was changed"* ]]
    rm "$FAKE/backup-fails"
    echo yes >"$FAKE/trial-fails"
    run "$deploy/bin/upgrade.sh" 0.2.0
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"the migrations fail on a copy of your data; nothing was changed"* ]]
    [ -z "$(setting PROBITY_VERSION)" ]
    [ "$(calls | grep -c '^compose up')" = 0 ]
}

@test "upgrade: a version that is not healthy is taken back, over migrations with the backup" {
    upgradable
    echo 0.2.0 >"$FAKE/unhealthy"
    run "$deploy/bin/upgrade.sh" 0.2.0
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"did not pass the checks above; 0.1.0 runs again"* ]]
    [ "$(setting PROBITY_VERSION)" = 0.1.0 ]
    # No migration: the database stays.
    [ "$(calls | grep -c restore_db)" = 0 ]
    printf '1 migrations would run on postgres:\n  0009 queue' >"$FAKE/migrations"
    run "$deploy/bin/upgrade.sh" 0.2.0
    [ "$status" = 1 ]
    calls | grep -q 'compose stop nodered'
    calls | grep -q 'restore_db.sh /backups/db_backup_20260101020000.sql.gz.age --in-place'
}

@test "upgrade: an image that is nowhere, the version that runs, no upgrade to go back from" {
    upgradable
    run "$deploy/bin/upgrade.sh" 9.9.9
    [ "$status" = 1 ]
    [[ $output == *"there is no image probity:9.9.9; build it"* ]]
    run "$deploy/bin/upgrade.sh" 0.1.0
    [ "$status" = 2 ]
    run "$deploy/bin/upgrade.sh" --rollback
    [ "$status" = 2 ]
    [[ $output == *"there is no upgrade to go back from"* ]]
}

# ---- pin -----------------------------------------------------------------------------------------------------------

digests() {
    python3 - "$1" >"$FAKE/digests" <<'DIGESTS'
import json, sys
images = ["statuscompliance/status-backend:latest", "ghcr.io/statuscompliance/frontend:latest", "postgres:17.2",
          "grafana/grafana-oss:12.1.1", "ghcr.io/dragonflydb/dragonfly:v1.25.1", "ghcr.io/governify/registry:pr.35",
          "ghcr.io/governify/director:pr.39", "mongo:6.0.19", "nginx:1.27.3-alpine"]
print(json.dumps({image: "sha256:" + f"{n:02x}{sys.argv[1]}" * 16 for n, image in enumerate(images)}))
DIGESTS
}

@test "pin: the digests of the registries, and what is built here as it is" {
    digests aa
    echo "probity:0.1.0" >"$FAKE/local-images"
    run "$deploy/bin/pin.sh"
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"nodered: probity:0.1.0 is in no registry"* ]]
    [[ $output == *"9 images pinned"* ]]
    run "$deploy/stack" compose config --images
    [[ $output == *"postgres@sha256:02aa02aa"* ]]
    [[ $output == *"probity:0.1.0"* ]]
    [[ $output != *"postgres:17.2"* ]]
    "$deploy/bin/pin.sh" --check
    digests bb
    run "$deploy/bin/pin.sh" --check
    [ "$status" = 1 ]
    [[ $output == *"other images for the same tags"* ]]
    "$deploy/bin/pin.sh" --remove
    [ ! -e "$deploy/compose.pins.yml" ]
}

@test "pin: without a digest nothing is written" {
    echo '{}' >"$FAKE/digests"
    run "$deploy/bin/pin.sh"
    [ "$status" = 1 ]
    [[ $output == *"no registry gives a digest"* ]]
    [ ! -e "$deploy/compose.pins.yml" ]
}

@test "no digest is committed" {
    run grep -rlE 'sha256:[0-9a-f]{64}' "$root/deploy" --include='*.yml' --include='*.yaml' --include=Dockerfile
    [ "$status" = 1 ]
}

# ---- everyday ------------------------------------------------------------------------------------------------------

@test "the everyday commands ask Docker for the right thing" {
    running
    "$deploy/stack" logs nodered
    "$deploy/stack" restart nodered
    "$deploy/stack" backup
    "$deploy/stack" restore /backups/x.gz
    "$deploy/stack" restore-mongo /backups/m.gz --in-place
    "$deploy/stack" restore-grafana /backups/g.gz --in-place
    "$deploy/stack" doctor
    diff <(calls) - <<'CALLS'
compose logs --follow --tail 200 nodered
compose restart nodered
compose run --rm --no-deps -T backup /usr/local/bin/backup_db.sh
compose run --rm --no-deps -T backup /usr/local/bin/backup_configs.sh
compose run --rm --no-deps -T backup /usr/local/bin/backup_volumes.sh
compose run --rm --no-deps -T backup /usr/local/bin/restore_db.sh /backups/x.gz
compose run --rm --no-deps -T backup /usr/local/bin/restore_mongo.sh /backups/m.gz --in-place
compose run --rm --no-deps -T restore-grafana /usr/local/bin/restore_grafana.sh /backups/g.gz --in-place
compose exec -T nodered /probity doctor
CALLS
    run "$deploy/stack" down --volumes
    [ "$status" = 2 ]
    [[ $output == *"that would delete all data"* ]]
    run "$deploy/stack" nonsense
    [ "$status" = 2 ]
}

@test "every script says what it is for" {
    for script in "$deploy"/bin/*.sh "$deploy/setup.sh" "$deploy/stack"; do
        [ -x "$script" ] || continue
        case $script in */restore_wal.sh) continue ;; esac
        run "$script" --help
        [ "$status" = 0 ] || { echo "$script"; return 1; }
        [ -n "$output" ]
    done
}
