#!/usr/bin/env bats
# shellcheck disable=SC2154 # `bin`, `root` and `probity` come from the file that is loaded
# Backup, destruction, restore and verification on a real Postgres with Probity's real schema and data.

load postgres.bash

setup_file() {
    command -v age >/dev/null || skip "age is not installed"
    FOLDER=$(server_folder)
    export FOLDER
    start_server "$FOLDER"
    with_probity migrate >/dev/null
    evaluate 2026-01-01T00:00:00Z 2026-01-02T00:00:00Z
    BACKUP_AGE_RECIPIENT=$(make_key "$FOLDER/key.txt")
    export BACKUP_AGE_RECIPIENT BACKUP_AGE_IDENTITY=$FOLDER/key.txt
}

teardown_file() {
    stop_server "$FOLDER"
    rm -rf "$FOLDER"
}

setup() {
    export BACKUP_DIR=$BATS_TEST_TMPDIR/backups
    mkdir "$BACKUP_DIR"
}

newest() { find "$BACKUP_DIR" -name "$1_backup_*" ! -name '*.sha256' | sort | tail -n 1; }

databases() { value_of "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'statusdb%'"; }

@test "a backup in clear must be wished for" {
    unset BACKUP_AGE_RECIPIENT
    run "$bin/backup_db.sh"
    [ "$status" = 2 ]
    [[ $output == *"BACKUP_AGE_RECIPIENT names no key"*BACKUP_UNENCRYPTED=yes* ]]
    BACKUP_UNENCRYPTED=yes run "$bin/backup_db.sh"
    [ "$status" = 0 ]
    [[ $(newest db) =~ /db_backup_[0-9]{14}\.sql\.gz$ ]]
    gzip -dc "$(newest db)" | grep -q "^-- table probity.audit"
}

@test "a backup has its name, its checksum, and is for its owner alone" {
    run "$bin/backup_db.sh"
    [ "$status" = 0 ]
    file=$(newest db)
    [[ $file =~ /db_backup_[0-9]{14}\.sql\.gz\.age$ ]]
    [ "$(stat -c %a "$file")" = 600 ]
    (cd "$BACKUP_DIR" && sha256sum --check --quiet "$(basename "$file").sha256")
    [[ $output == *"tables, "*" rows as of "* ]]
    head -c 21 "$file" | grep -q age-encryption.org
    # Nothing half-made beside it.
    [ "$(find "$BACKUP_DIR" -name '*.partial' | wc -l)" = 0 ]
}

@test "a database that cannot be reached leaves nothing behind" {
    PGHOST=$BATS_TEST_TMPDIR run "$bin/backup_db.sh"
    [ "$status" = 1 ]
    [[ $output == *"cannot read the database statusdb"* ]]
    [ -z "$(newest db)" ]
    [ "$(find "$BACKUP_DIR" -name '*.partial' | wc -l)" = 0 ]
    PGDATABASE=nothere run "$bin/backup_db.sh"
    [ "$status" = 1 ]
    [[ $output == *nothere*"does not exist"* ]]
}

@test "backup, destroy, restore, verify: states, runs and audit are equal; RPO and RTO are printed" {
    # tests/drills/restore ROWS: a table of realistic rows beside.
    psql --quiet --command="CREATE TABLE public.bulk AS SELECT n, md5(n::text) AS hash, jsonb_build_object('n', n, 'at', now()) AS detail
        FROM generate_series(1, ${PROBITY_TEST_ROWS:-0}) AS n"
    verdicts=$(with_probity verdicts --limit 1000 --format json)
    audit=$(value_of "SELECT json_agg(to_jsonb(a) ORDER BY to_jsonb(a)::text) FROM probity.audit AS a")
    runs=$(value_of "SELECT json_agg(to_jsonb(r) ORDER BY id) FROM probity.run AS r")
    "$bin/backup_db.sh"
    taken=$(sed -n 's/^-- taken_at //p' <(age -d -i "$BACKUP_AGE_IDENTITY" "$(newest db)" | gzip -dc))
    # What is written between the backup and the loss is what a backup by itself cannot bring back.
    evaluate 2026-01-02T00:00:00Z 2026-01-03T00:00:00Z
    lost=$(value_of "SELECT count(*) FROM probity.state WHERE recorded_at > '$taken'")
    [ "$lost" -ge 96 ]
    seconds=$(value_of "SELECT round(extract(epoch FROM now() - '$taken'), 1)")

    destroy_server "$FOLDER"
    began=$(date +%s%N)
    # An empty server with the roles that deploy/postgres/init makes.
    start_server "$FOLDER"
    run "$bin/restore_db.sh" "$(newest db)" --in-place
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"tables and "*" rows are equal to the backup's"* ]]
    took=$((($(date +%s%N) - began) / 1000000))

    [ "$(with_probity verdicts --limit 1000 --format json)" = "$verdicts" ]
    [ "$(value_of "SELECT json_agg(to_jsonb(a) ORDER BY to_jsonb(a)::text) FROM probity.audit AS a")" = "$audit" ]
    [ "$(value_of "SELECT json_agg(to_jsonb(r) ORDER BY id) FROM probity.run AS r")" = "$runs" ]
    # Probity goes on where it was, as its own user; Grafana's reads and does not write.
    [[ $(with_probity migrate --dry-run) == *"is up to date"* ]]
    evaluate 2026-01-03T00:00:00Z 2026-01-04T00:00:00Z
    psql --quiet --command="DROP TABLE public.bulk"
    export PGPASSWORD=2f1e2d3c4b5a69788796a5b4
    [ "$(value_of "SELECT count(*) FROM probity.verdicts" --username=grafana)" = 192 ]
    run psql --no-psqlrc --quiet --username=grafana <<<'SET default_transaction_read_only = off; DELETE FROM probity.state'
    [[ $output == *"permission denied"* ]]
    echo "# logical backup: RPO ${seconds} s ($lost states written since the backup are lost), RTO $took ms, empty server to verified ${PROBITY_TEST_ROWS:+with $PROBITY_TEST_ROWS rows beside}" >&3
}

@test "a restore goes into another database and never over one that is there" {
    "$bin/backup_db.sh"
    before=$(databases)
    run "$bin/restore_db.sh" "$(newest db)"
    [ "$status" = 0 ]
    name=statusdb_restored_$(basename "$(newest db)" | tr -dc 0-9)
    [[ " $(databases) " == *" $name "* ]]
    run "$bin/restore_db.sh" "$(newest db)"
    [ "$status" = 2 ]
    [[ $output == *"there is a database $name already"* ]]
    dropdb "$name"
    [ "$(databases)" = "$before" ]
}

@test "in place, what was there is kept under another name" {
    "$bin/backup_db.sh"
    evaluate 2026-02-01T00:00:00Z 2026-02-02T00:00:00Z
    later=$(value_of "SELECT count(*) FROM probity.state")
    run "$bin/restore_db.sh" "$(newest db)" --in-place
    [ "$status" = 0 ]
    kept=$(sed -n 's/^what it was is kept as \([^;]*\);.*/\1/p' <<<"$output")
    [ "$(value_of "SELECT count(*) FROM probity.state" --dbname="$kept")" = "$later" ]
    [ "$(value_of "SELECT count(*) FROM probity.state")" -lt "$later" ]
    dropdb "$kept"
}

@test "what is dumped and what is counted are the same rows, however much is written meanwhile" {
    psql --quiet --command="CREATE TABLE public.written (n bigint)"
    # Writes until it is told to stop.
    (while [ ! -e "$BATS_TEST_TMPDIR/stop" ]; do
        psql --quiet --command="INSERT INTO public.written SELECT generate_series(1, 100)" || break
    done) 3>&- &
    writer=$!
    written() { [ "$(value_of "SELECT count(*) FROM public.written")" -ge "$1" ]; }
    until_true written 200
    "$bin/backup_db.sh"
    counted=$(age -d -i "$BACKUP_AGE_IDENTITY" "$(newest db)" | gzip -dc | sed -n 's/^-- table public.written\t\([0-9]*\).*/\1/p')
    # It went on while the backup was made.
    until_true written $((counted + 100))
    touch "$BATS_TEST_TMPDIR/stop"
    wait "$writer"
    run "$bin/restore_db.sh" "$(newest db)" --into under_load
    echo "$output"
    [ "$status" = 0 ]
    [ "$(value_of "SELECT count(*) FROM public.written" --dbname=under_load)" = "$counted" ]
    dropdb under_load
    psql --quiet --command="DROP TABLE public.written"
}

@test "a damaged backup is refused before anything is touched" {
    "$bin/backup_db.sh"
    file=$(newest db)
    before=$(databases)
    cp "$file" "$BATS_TEST_TMPDIR/good"
    printf X | dd of="$file" bs=1 seek=300 conv=notrunc status=none
    run "$bin/restore_db.sh" "$file"
    [ "$status" = 1 ]
    [[ $output == *"is not what was written"* ]]
    cp "$BATS_TEST_TMPDIR/good" "$file"
    mv "$file.sha256" "$BATS_TEST_TMPDIR/sum"
    run "$bin/restore_db.sh" "$file"
    [ "$status" = 1 ]
    [[ $output == *"sha256 is missing"* ]]
    # Cut short, with a checksum of what is left.
    BACKUP_UNENCRYPTED=yes BACKUP_AGE_RECIPIENT='' "$bin/backup_db.sh"
    plain=$(find "$BACKUP_DIR" -name '*.sql.gz')
    gzip -dc "$plain" | head -n -3 | gzip -n >"$BATS_TEST_TMPDIR/cut"
    cp "$BATS_TEST_TMPDIR/cut" "$plain"
    (cd "$BACKUP_DIR" && sha256sum "$(basename "$plain")" >"$plain.sha256")
    run "$bin/restore_db.sh" "$plain"
    [ "$status" = 1 ]
    [[ $output == *"its end is missing"* ]]
    [ "$(databases)" = "$before" ]
}

@test "without the key an encrypted backup cannot be read" {
    "$bin/backup_db.sh"
    BACKUP_AGE_IDENTITY='' run "$bin/restore_db.sh" "$(newest db)"
    [ "$status" != 0 ]
    [[ $output == *"BACKUP_AGE_IDENTITY must name"* ]]
    make_key "$BATS_TEST_TMPDIR/other" >/dev/null
    BACKUP_AGE_IDENTITY=$BATS_TEST_TMPDIR/other run "$bin/restore_db.sh" "$(newest db)"
    [ "$status" != 0 ]
    [[ $output == *"cannot be read"* ]]
}

@test "a restored row that differs is found" {
    BACKUP_UNENCRYPTED=yes BACKUP_AGE_RECIPIENT='' "$bin/backup_db.sh"
    file=$(newest db)
    # One word of one entry of the audit log is another.
    gzip -dc "$file" | sed '/^COPY probity.audit /,/^\\\.$/s/\tevaluate\t/\tforged\t/' | gzip -n >"$BATS_TEST_TMPDIR/forged"
    cp "$BATS_TEST_TMPDIR/forged" "$file"
    (cd "$BACKUP_DIR" && sha256sum "$(basename "$file")" >"$file.sha256")
    run "$bin/restore_db.sh" "$file" --into forged
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"in the backup:   probity.audit"* ]]
    [[ $output == *"the database forged is not what was backed up"* ]]
    dropdb forged
}

@test "--check says whether a file is whole without a database" {
    "$bin/backup_db.sh"
    PGHOST=$BATS_TEST_TMPDIR run "$bin/restore_db.sh" "$(newest db)" --check
    [ "$status" = 0 ]
    [[ $output == *"database statusdb as of "* ]]
}
