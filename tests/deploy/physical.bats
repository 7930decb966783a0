#!/usr/bin/env bats
# shellcheck disable=SC2154 # `bin` comes from the file that is loaded
# The drill of point-in-time recovery: a base backup, WAL as it is written, the loss of the server, and back to a moment.

load postgres.bash

setup() {
    command -v age >/dev/null || skip "age is not installed"
    FOLDER=$(server_folder)
    start_server "$FOLDER"
    BACKUP_AGE_RECIPIENT=$(make_key "$FOLDER/key.txt")
    export BACKUP_AGE_RECIPIENT BACKUP_AGE_IDENTITY=$FOLDER/key.txt BACKUP_DIR=$FOLDER/backups BACKUP_WAL_SEAL_SECONDS=1
    mkdir "$BACKUP_DIR"
    with_probity migrate >/dev/null
}

teardown() {
    [ ! -e "$FOLDER/receiver" ] || stop_receiving
    stop_server "$FOLDER"
    as_server "$(programs)/pg_ctl" --pgdata="$FOLDER/new" --mode=immediate stop >/dev/null 2>&1 || true
    rm -rf "$FOLDER"
}

receive() {
    "$bin/backup_wal.sh" >"$FOLDER/receiver.log" 2>&1 3>&- &
    echo $! >"$FOLDER/receiver"
    until_true streaming
}
# Its id in a file: each test is a shell of its own.
stop_receiving() {
    kill "$(cat "$FOLDER/receiver")" 2>/dev/null || true
    rm -f "$FOLDER/receiver"
    until_true not_received
}
not_received() { [ -z "$(pgrep -f "pg_receivewal --directory=$BACKUP_DIR/" || true)" ]; }
streaming() { [ "$(value_of "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" = 1 ]; }
received() { [ "$(value_of "SELECT coalesce(bool_and(flush_lsn >= '$1'), false) FROM pg_stat_replication")" = t ]; }

# The new server, as its user; PGHOST then leads to it.
start_restored() {
    own "$FOLDER/new" "$BACKUP_DIR"
    chmod 755 "$BACKUP_DIR"
    mkdir -p "$FOLDER/there"
    own "$FOLDER/there"
    as_server "$(programs)/pg_ctl" --pgdata="$FOLDER/new" --wait --log="$FOLDER/there/server.log" \
        --options="-c listen_addresses='' -k '$FOLDER/there' -c fsync=off" start >/dev/null 2>&1 3>&- ||
        { cat "$FOLDER/there/server.log"; return 1; }
    export PGHOST=$FOLDER/there
    until_true writable
}
writable() { [ "$(value_of "SELECT pg_is_in_recovery()")" = f ]; }

@test "the rule for copies is there once however often its script runs, and lets in from the server's own networks alone" {
    rules=$FOLDER/data/pg_hba.conf
    before=$(cat "$rules")
    for _ in 1 2 3; do
        run as_server env PATH="$(programs):$PATH" PGDATA="$FOLDER/data" POSTGRES_USER="$PGUSER" bash "$root/deploy/postgres/init/20-replication.sh"
        [ "$status" = 0 ]
    done
    [ "$(cat "$rules")" = "$before" ]
    [ "$(grep -c "^host replication $PGUSER samenet scram-sha-256$" "$rules")" = 1 ]
    run grep -E '^host.*(0\.0\.0\.0/0|::/0|trust)' "$rules"
    [ "$status" = 1 ]
    # The role is one, and a wrong password is refused as such.
    [ "$(value_of "SELECT count(*) FROM pg_roles WHERE rolname = '$PGUSER' AND rolreplication")" = 1 ]
    # Taken away, it is written again and counts at once.
    sed -i "/^host replication $PGUSER samenet/d" "$rules"
    as_server env PATH="$(programs):$PATH" PGDATA="$FOLDER/data" POSTGRES_USER="$PGUSER" bash "$root/deploy/postgres/init/20-replication.sh"
    until_true rule_counts
    PGPASSWORD=wrong run "$bin/backup_physical.sh"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"password authentication failed"* ]]
    run "$bin/backup_physical.sh"
    [ "$status" = 0 ]
}

rule_counts() {
    [ "$(value_of "SELECT count(*) FROM pg_hba_file_rules WHERE database = '{replication}' AND address = 'samenet' AND user_name = '{$PGUSER}'")" = 1 ]
}

@test "back to the moment before somebody deleted everything, after the loss of the server" {
    receive
    "$bin/backup_physical.sh"
    [ "$(find "$BACKUP_DIR" -name 'base_backup_*.tar.gz.age' | wc -l)" = 1 ]
    evaluate 2026-01-01T00:00:00Z 2026-01-02T00:00:00Z
    verdicts=$(with_probity verdicts --limit 1000 --format json)
    value_of "SELECT pg_switch_wal()" >/dev/null
    evaluate 2026-01-02T00:00:00Z 2026-01-03T00:00:00Z
    good=$(with_probity verdicts --limit 1000 --format json)
    [ "$good" != "$verdicts" ]
    value_of "SELECT pg_create_restore_point('before the mistake')" >/dev/null
    value_of "DELETE FROM probity.state; DELETE FROM probity.audit" >/dev/null
    until_true received "$(value_of "SELECT pg_current_wal_flush_lsn()")"
    destroy_server "$FOLDER"
    stop_receiving
    "$bin/backup_wal.sh" --seal
    [ "$(find "$BACKUP_DIR/wal" -maxdepth 1 -name '*.gz.age' | wc -l)" -ge 1 ]

    began=$(date +%s%N)
    run "$bin/restore_physical.sh" "$(find "$BACKUP_DIR" -name 'base_backup_*.age')" --into "$FOLDER/new" --until-name 'before the mistake'
    echo "$output"
    [ "$status" = 0 ]
    start_restored
    [ "$(with_probity verdicts --limit 1000 --format json)" = "$good" ]
    [ "$(value_of "SELECT count(*) FROM probity.audit")" = 2 ]
    # It is a server of its own now, which can be written to.
    evaluate 2026-01-03T00:00:00Z 2026-01-04T00:00:00Z
    echo "# point in time: back to a named moment in $((($(date +%s%N) - began) / 1000000)) ms (RTO), from base backup and WAL" >&3
}

# bats test_tags=drill
@test "to the end of the WAL: what the server had acknowledged is there, also from a segment that was being written" {
    receive
    "$bin/backup_physical.sh"
    psql --quiet --command="CREATE TABLE public.acknowledged (n int)"
    for n in 1 2 3 4 5; do psql --quiet --command="INSERT INTO public.acknowledged VALUES ($n)"; done
    until_true received "$(value_of "SELECT pg_current_wal_flush_lsn()")"
    destroy_server "$FOLDER"
    stop_receiving
    [ "$(find "$BACKUP_DIR/wal/incoming" -name '*.partial' | wc -l)" = 1 ]
    "$bin/restore_physical.sh" "$(find "$BACKUP_DIR" -name 'base_backup_*.age')" --into "$FOLDER/new"
    start_restored
    [ "$(value_of "SELECT string_agg(n::text, '' ORDER BY n) FROM public.acknowledged")" = 12345 ]
    echo "# WAL as it is written: RPO 0 of 5 acknowledged rows lost" >&3
}

# bats test_tags=drill
@test "a damaged segment ends recovery instead of passing for the end of the WAL" {
    receive
    "$bin/backup_physical.sh"
    psql --quiet --command="CREATE TABLE public.rows (n int)"
    value_of "SELECT pg_switch_wal()" >/dev/null
    psql --quiet --command="INSERT INTO public.rows VALUES (1)"
    value_of "SELECT pg_switch_wal()" >/dev/null
    until_true received "$(value_of "SELECT pg_current_wal_flush_lsn()")"
    destroy_server "$FOLDER"
    stop_receiving
    "$bin/backup_wal.sh" --seal
    last=$(find "$BACKUP_DIR/wal" -maxdepth 1 -name '*.gz.age' | sort | tail -n 1)
    printf X | dd of="$last" bs=1 seek=250 conv=notrunc status=none
    "$bin/restore_physical.sh" "$(find "$BACKUP_DIR" -name 'base_backup_*.age')" --into "$FOLDER/new"
    run start_restored
    [ "$status" != 0 ]
    [[ $output == *"is not what was written"* ]]
}

# bats test_tags=drill
@test "data of a server is never overwritten, and without WAL it is as of the backup" {
    BACKUP_AGE_RECIPIENT='' BACKUP_UNENCRYPTED=yes "$bin/backup_physical.sh"
    base=$(find "$BACKUP_DIR" -name 'base_backup_*.tar.gz')
    run "$bin/restore_physical.sh" "$base" --into "$FOLDER/data"
    [ "$status" = 2 ]
    [[ $output == *"is not empty"* ]]
    evaluate 2026-01-01T00:00:00Z 2026-01-02T00:00:00Z
    "$bin/restore_physical.sh" "$base" --into "$FOLDER/new" --no-wal
    start_restored
    [ "$(value_of "SELECT count(*) FROM probity.state")" = 0 ]
}
