#!/usr/bin/env bats
# shellcheck disable=SC2154 # `bin` comes from the file that is loaded
# How long backups are kept, and that configuration comes back as it was. No database is needed.

load postgres.bash

setup() {
    export BACKUP_DIR=$BATS_TEST_TMPDIR/backups BACKUP_UNENCRYPTED=yes
    unset BACKUP_AGE_RECIPIENT BACKUP_RETENTION_DAYS BACKUP_KEEP_MIN
    mkdir "$BACKUP_DIR"
}

# backup KIND DAYS [FILE_DAYS]: a backup of so many days ago by its name, and by its file's time.
backup() {
    local name
    name=$1_backup_$(date -u -d "$2 days ago" +%Y%m%d%H%M%S).gz
    echo "$1 $2" | gzip -n >"$BACKUP_DIR/$name"
    (cd "$BACKUP_DIR" && sha256sum "$name" >"$name.sha256")
    touch -d "${3:-$2} days ago" "$BACKUP_DIR/$name" "$BACKUP_DIR/$name.sha256"
    printf '%s' "$BACKUP_DIR/$name"
}

left() { find "$BACKUP_DIR" -name "$1_backup_*.gz" | wc -l; }

@test "what is older than seven days goes, with its checksum; younger ones stay" {
    for days in 1 2 3 4 5 6; do backup db "$days" >/dev/null; done
    old=$(backup db 8)
    run "$bin/cleanup_backups.sh"
    [ "$status" = 0 ]
    [[ $output == *"deleted $old"* ]]
    [ ! -e "$old" ]
    [ ! -e "$old.sha256" ]
    [ "$(left db)" = 6 ]
}

@test "the newest three stay however old they are, of each kind" {
    for days in 30 31 32 33 34; do
        backup db "$days" >/dev/null
        backup configs "$days" >/dev/null
        backup base "$days" >/dev/null
    done
    "$bin/cleanup_backups.sh"
    [ "$(left db) $(left configs) $(left base)" = "3 3 3" ]
    # Again: nothing more goes.
    run "$bin/cleanup_backups.sh"
    [[ $output == *"0 deleted, 9 backups kept"* ]]
}

@test "damaged ones do not count: the last good one is kept" {
    good=$(backup db 40)
    for days in 30 31 32; do
        file=$(backup db "$days")
        echo damaged >>"$file"
        touch -d "$days days ago" "$file"
    done
    BACKUP_KEEP_MIN=1 run "$bin/cleanup_backups.sh"
    [ "$status" = 0 ]
    [ -e "$good" ]
    [ "$(left db)" = 1 ]
    [[ $output == *"is damaged"* ]]
}

@test "neither a copy nor a wrong clock makes a backup go early" {
    for days in 1 2 3; do backup db "$days" >/dev/null; done
    # Copied today, so its file is young; and a file whose time was lost, with a young name.
    copied=$(backup db 20 0)
    timeless=$(backup db 4 9000)
    "$bin/cleanup_backups.sh"
    [ -e "$copied" ]
    [ -e "$timeless" ]
}

@test "days and number can be set, and what is none is refused" {
    for days in 1 2 5 6; do backup db "$days" >/dev/null; done
    BACKUP_RETENTION_DAYS=3 BACKUP_KEEP_MIN=1 "$bin/cleanup_backups.sh"
    [ "$(left db)" = 2 ]
    for wrong in BACKUP_RETENTION_DAYS=week BACKUP_KEEP_MIN=0; do
        run env "$wrong" "$bin/cleanup_backups.sh"
        [ "$status" = 2 ]
        [[ $output == *"$wrong: expected a number"* ]]
    done
}

@test "a dry run says what would go and leaves it" {
    for days in 1 2 3 20; do backup db "$days" >/dev/null; done
    run "$bin/cleanup_backups.sh" --dry-run
    [[ $output == *"would delete "* ]]
    [ "$(left db)" = 4 ]
}

@test "WAL goes when no base backup needs it" {
    mkdir "$BACKUP_DIR/wal"
    for days in 1 2 3 20; do
        file=$(backup base "$days")
        printf '00000001000000000000001%s\n' "$((9 - days % 10))" >"${file%%.*}.wal-start"
    done
    # The one of 20 days ago begins at …19 and goes; of the rest the oldest begins at …16.
    for segment in 5 6 7; do : >"$BACKUP_DIR/wal/00000001000000000000001$segment.gz"; done
    printf '000000010000000000000010\n' >"$(find "$BACKUP_DIR" -name '*.wal-start' | sort | head -n 1)"
    "$bin/cleanup_backups.sh"
    [ "$(left base)" = 3 ]
    [ ! -e "$BACKUP_DIR/wal/000000010000000000000015.gz" ]
    [ -e "$BACKUP_DIR/wal/000000010000000000000016.gz" ]
    [ -e "$BACKUP_DIR/wal/000000010000000000000017.gz" ]
}

# ---- configuration -------------------------------------------------------------------------------------------------

configuration() {
    export BACKUP_CONFIG_PATHS=$BATS_TEST_TMPDIR/etc
    mkdir -p "$BACKUP_CONFIG_PATHS/data"
    echo 'worker_processes auto;' >"$BACKUP_CONFIG_PATHS/nginx.conf"
    echo '[]' >"$BACKUP_CONFIG_PATHS/data/flows with spaces.json"
    printf '\0\1\2' >"$BACKUP_CONFIG_PATHS/data/bytes"
    chmod 640 "$BACKUP_CONFIG_PATHS/nginx.conf"
    echo 'JWT_SECRET=5e5e5e5e' >"$BACKUP_CONFIG_PATHS/.env"
    echo '{"$":"cipher"}' >"$BACKUP_CONFIG_PATHS/data/flows_cred.json"
}

newest_configs() { find "$BACKUP_DIR" -name 'configs_backup_*' ! -name '*.sha256'; }

@test "configuration comes back byte by byte, with its rights; in clear, without secrets" {
    configuration
    run "$bin/backup_configs.sh"
    [ "$status" = 0 ]
    [[ $output == *"2 files that may hold secrets are not in it"* ]]
    [[ $(newest_configs) =~ /configs_backup_[0-9]{14}\.tar\.gz$ ]]
    [ "$(gzip -dc "$(newest_configs)" | grep -ca 5e5e5e5e)" = 0 ]
    cd "$BATS_TEST_TMPDIR"
    run "$bin/restore_configs.sh" "$(newest_configs)"
    [ "$status" = 0 ]
    back=$(find "$BATS_TEST_TMPDIR" -maxdepth 1 -name 'configs_restored_*')$BACKUP_CONFIG_PATHS
    rm "$BACKUP_CONFIG_PATHS/.env" "$BACKUP_CONFIG_PATHS/data/flows_cred.json"
    diff -r "$back" "$BACKUP_CONFIG_PATHS"
    [ "$(stat -c %a "$back/nginx.conf")" = 640 ]
}

@test "encrypted, it has the secrets, too, and only the key opens it" {
    command -v age >/dev/null || skip "age is not installed"
    configuration
    BACKUP_AGE_RECIPIENT=$(make_key "$BATS_TEST_TMPDIR/key") "$bin/backup_configs.sh"
    [[ $(newest_configs) == *.tar.gz.age ]]
    BACKUP_AGE_IDENTITY=$BATS_TEST_TMPDIR/key "$bin/restore_configs.sh" "$(newest_configs)" --into "$BATS_TEST_TMPDIR/back"
    diff -r "$BATS_TEST_TMPDIR/back$BACKUP_CONFIG_PATHS" "$BACKUP_CONFIG_PATHS"
    run "$bin/restore_configs.sh" "$(newest_configs)" --into "$BATS_TEST_TMPDIR/other"
    [ "$status" != 0 ]
    [ ! -e "$BATS_TEST_TMPDIR/other" ]
}

@test "in place, what differs is kept beside it, and what is equal is left alone" {
    configuration
    "$bin/backup_configs.sh"
    echo broken >"$BACKUP_CONFIG_PATHS/nginx.conf"
    rm "$BACKUP_CONFIG_PATHS/data/bytes"
    run "$bin/restore_configs.sh" "$(newest_configs)" --in-place
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"2 files restored, 1 were as in the backup"* ]]
    [ "$(cat "$BACKUP_CONFIG_PATHS/nginx.conf")" = 'worker_processes auto;' ]
    [ "$(cat "$BACKUP_CONFIG_PATHS"/nginx.conf.before-*)" = broken ]
    [ -e "$BACKUP_CONFIG_PATHS/data/bytes" ]
}

@test "an archive that leads out of its folder, or holds links, restores nothing" {
    cd "$BATS_TEST_TMPDIR"
    name=configs_backup_20260101000000.tar.gz
    echo evil >evil
    mkdir work
    ln -s /etc/passwd work/link
    for what in out link; do
        case $what in
        out) tar --create --file=- --absolute-names --transform='s|^|../../|' evil | gzip -n >"$BACKUP_DIR/$name" ;;
        link) tar --create --file=- --directory=work link | gzip -n >"$BACKUP_DIR/$name" ;;
        esac
        (cd "$BACKUP_DIR" && sha256sum "$name" >"$name.sha256")
        run "$bin/restore_configs.sh" "$BACKUP_DIR/$name" --into "$BATS_TEST_TMPDIR/back"
        [ "$status" = 1 ]
        [[ $output == *"something else than plain files"* ]]
        [ ! -e "$BATS_TEST_TMPDIR/back" ]
    done
}

# ---- when ----------------------------------------------------------------------------------------------------------

# The scheduler beside fakes of the jobs, with a clock that a fake `sleep` moves: each sleep moves it by what was asked, and
# the clock stops the scheduler when it passes END. Prints when the jobs ran.
scheduler() {
    local fakes=$BATS_TEST_TMPDIR/fakes job
    mkdir -p "$fakes"
    cp "$bin/backup_schedule.sh" "$bin/backup_files.sh" "$fakes"
    for job in backup_db backup_configs backup_volumes cleanup_backups; do
        printf '#!/bin/sh\n[ ! -e %q ] || exit 1\ndate +"%s %%F %%H:%%M" >>%q\n' "$BATS_TEST_TMPDIR/$job.fails" "$job" \
            "$BATS_TEST_TMPDIR/ran" >"$fakes/$job.sh"
    done
    cat >"$fakes/date" <<'DATE'
#!/bin/sh
# A clock for tests: "now" is what stands in the file; everything else is the real date's.
for word; do case $word in -d) exec /bin/date "$@" ;; esac; done
exec /bin/date -d "@$(cat "$CLOCK")" "$@"
DATE
    cat >"$fakes/sleep" <<'SLEEP'
#!/bin/sh
echo $(($(cat "$CLOCK") + $1)) >"$CLOCK"
[ "$(cat "$CLOCK")" -lt "$END" ] || kill -TERM "$PPID"
SLEEP
    chmod +x "$fakes"/*
    export CLOCK=$BATS_TEST_TMPDIR/clock END
    END=$(/bin/date -d "$2" +%s)
    /bin/date -d "$1" +%s >"$CLOCK"
    PATH=$fakes:$PATH "$fakes/backup_schedule.sh" >"$BATS_TEST_TMPDIR/said" 2>&1
}

@test "every day at two, the jobs in order" {
    TZ=UTC scheduler "2026-03-01 12:00 UTC" "2026-03-03 12:00 UTC"
    # The first is made up for at once: there is no backup yet.
    diff "$BATS_TEST_TMPDIR/ran" - <<'RAN'
backup_db 2026-03-01 12:00
backup_configs 2026-03-01 12:00
backup_volumes 2026-03-01 12:00
cleanup_backups 2026-03-01 12:00
backup_db 2026-03-02 02:00
backup_configs 2026-03-02 02:00
backup_volumes 2026-03-02 02:00
cleanup_backups 2026-03-02 02:00
backup_db 2026-03-03 02:00
backup_configs 2026-03-03 02:00
backup_volumes 2026-03-03 02:00
cleanup_backups 2026-03-03 02:00
RAN
}

@test "a run missed while it was down is made up for once" {
    TZ=UTC scheduler "2026-03-01 12:00 UTC" "2026-03-01 13:00 UTC"
    : >"$BATS_TEST_TMPDIR/ran"
    # Down for four days.
    TZ=UTC scheduler "2026-03-05 09:30 UTC" "2026-03-06 03:00 UTC"
    [ "$(grep backup_db "$BATS_TEST_TMPDIR/ran")" = $'backup_db 2026-03-05 09:30\nbackup_db 2026-03-06 02:00' ]
    # Down for an hour: nothing was missed.
    : >"$BATS_TEST_TMPDIR/ran"
    TZ=UTC scheduler "2026-03-06 04:00 UTC" "2026-03-06 05:00 UTC"
    [ ! -s "$BATS_TEST_TMPDIR/ran" ]
}

@test "across a change of clocks it runs once a day" {
    # Berlin has no 02:00 on 2026-03-29, and two of it on 2026-10-25.
    TZ=Europe/Berlin scheduler "2026-03-27 12:00 UTC" "2026-03-31 12:00 UTC"
    [ "$(grep -c backup_db "$BATS_TEST_TMPDIR/ran")" = 5 ]
    rm "$BATS_TEST_TMPDIR/ran" "$BACKUP_DIR"/.last-*
    TZ=Europe/Berlin scheduler "2026-10-23 12:00 UTC" "2026-10-27 12:00 UTC"
    [ "$(grep -c backup_db "$BATS_TEST_TMPDIR/ran")" = 5 ]
}

@test "when a job fails nothing is deleted, and health says so after a day" {
    touch "$BATS_TEST_TMPDIR/backup_db.fails"
    TZ=UTC scheduler "2026-03-01 12:00 UTC" "2026-03-01 13:00 UTC"
    [ "$(grep -c cleanup_backups "$BATS_TEST_TMPDIR/ran")" = 0 ]
    grep -q 'backup run failed' "$BATS_TEST_TMPDIR/said"
    PATH=$BATS_TEST_TMPDIR/fakes:$PATH run "$BATS_TEST_TMPDIR/fakes/backup_schedule.sh" health
    [ "$status" = 1 ]
    rm "$BATS_TEST_TMPDIR/backup_db.fails"
    TZ=UTC scheduler "2026-03-02 12:00 UTC" "2026-03-02 13:00 UTC"
    PATH=$BATS_TEST_TMPDIR/fakes:$PATH "$BATS_TEST_TMPDIR/fakes/backup_schedule.sh" health
    /bin/date -d "2026-03-03 15:00 UTC" +%s >"$CLOCK"
    PATH=$BATS_TEST_TMPDIR/fakes:$PATH run "$BATS_TEST_TMPDIR/fakes/backup_schedule.sh" health
    [ "$status" = 1 ]
    [[ $output == *"no backup has succeeded for 26 hours"* ]]
}

@test "the crontab names scripts that are there, at two" {
    grep -q '^0 2 \* \* \* ' "$root/deploy/backup/crontab"
    grep -o '/opt/probity/deploy/bin/[a-z_]*\.sh' "$root/deploy/backup/crontab" | while read -r script; do
        [ -x "$root/${script#/opt/probity/}" ]
    done
}
