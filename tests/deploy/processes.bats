#!/usr/bin/env bats
# shellcheck disable=SC2154 # `bin` and `probity` come from the file that is loaded
# verify.sh on real processes: Probity with users on a real Postgres, as the image makes it, and a backup.

load postgres.bash

setup() {
    FOLDER=$(server_folder)
    start_server "$FOLDER"
    export BACKUP_DIR=$FOLDER/backups BACKUP_UNENCRYPTED=yes GRAFANA_DB_PASSWORD=2f1e2d3c4b5a69788796a5b4
    mkdir "$BACKUP_DIR" "$FOLDER/probity"
    with_probity migrate >/dev/null
    USER_STATUS=ana PASS_STATUS='a password of hers' PROBITY_LISTEN=127.0.0.1:0 \
        PROBITY_DATABASE_URL="postgres://probity:1f1e2d3c4b5a69788796a5b4@localhost/statusdb?host=$PGHOST" \
        "$probity" serve --data-dir "$FOLDER/probity" >/dev/null 2>"$FOLDER/probity.log" 3>&- &
    echo $! >"$FOLDER/probity.pid"
    until_true listening
    VERIFY_PROBITY_URL=$(address)
    export VERIFY_PROBITY_URL ENV_FILE=$FOLDER/none
}

teardown() {
    kill "$(cat "$FOLDER/probity.pid")" || true
    stop_server "$FOLDER"
    rm -rf "$FOLDER"
}

address() { grep -o 'http://127.0.0.1:[0-9]*' "$FOLDER/probity.log" | head -n 1; }
listening() { [ -n "$(address)" ]; }

@test "all is well; then without a backup, with a damaged one, without the database" {
    "$bin/backup_db.sh"
    run "$bin/verify.sh" --no-containers
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"ok       Probity can work"* ]]
    [[ $output == *"ok       deploys need a login"* ]]
    [[ $output == *"ok       Grafana's user can write nothing"* ]]
    [[ $output == *"ok       the newest backup is intact and 0 hours old"* ]]

    file=$(find "$BACKUP_DIR" -name '*.sql.gz')
    touch -d '2 days ago' "$file"
    run "$bin/verify.sh" --no-containers
    [ "$status" = 1 ]
    [[ $output == *"FAILED   the newest backup is 48 hours old"* ]]
    echo x >>"$file"
    run "$bin/verify.sh" --no-containers
    [[ $output == *"FAILED   the newest backup is damaged"* ]]
    rm "$file"
    run "$bin/verify.sh" --no-containers
    [[ $output == *"FAILED   no backup in"* ]]

    stop_server "$FOLDER"
    run "$bin/verify.sh" --no-containers
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"ok       Probity is alive"* ]]
    [[ $output == *"FAILED   Probity can work: "*"answers 503, expected 200"* ]]
    [[ $output == *"FAILED   the database: "* ]]
}
