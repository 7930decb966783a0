# shellcheck shell=bash
# How backup files are named, sealed, opened and checked. Sourced by the backup and restore scripts, never run.
#
#   db_backup_YYYYmmddHHMMSS.sql.gz        a database, by pg_dump, with its manifest as comments at the end
#   configs_backup_YYYYmmddHHMMSS.tar.gz   configuration: deploy/, flows, settings
#   mongo_backup_YYYYmmddHHMMSS.bson.gz    the databases of a MongoDB
#   grafana_backup_YYYYmmddHHMMSS.db.gz    Grafana's database
#   base_backup_YYYYmmddHHMMSS.tar.gz      a whole server, by pg_basebackup
#
# The time is UTC, so that no hour of a change of clocks has a name twice. With `.age` behind it a file is encrypted.
# Beside each stands FILE.sha256. A file has its name only when it is whole: until then it is called .FILE.partial.

# Where backups are kept.
BACKUP_DIR=${BACKUP_DIR:-/backups}

say() { printf '%s\n' "$*"; }

# fail CODE TEXT: 1 it did not work, 2 it was asked for wrongly.
fail() {
    local code=$1
    shift
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit "$code"
}

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || fail 2 "the program $program is not installed"
    done
}

# The deployment's own names for the database, for those of libpq that are not set. Passwords stay in the environment:
# in arguments everybody on the machine could read them.
connection() {
    export PGHOST=${PGHOST:-${DB_HOST:-postgres}} PGPORT=${PGPORT:-${DB_PORT:-5432}}
    export PGDATABASE=${PGDATABASE:-${DB_NAME:-statusdb}} PGUSER=${PGUSER:-${DB_USER:-statususer}}
    if [ -z "${PGPASSWORD:-}" ] && [ -n "${DB_PASSWORD_FILE:-}" ]; then
        PGPASSWORD=$(<"$DB_PASSWORD_FILE")
    fi
    export PGPASSWORD=${PGPASSWORD:-${DB_PASSWORD:-}}
    [ -n "$PGPASSWORD" ] || unset PGPASSWORD
    export PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-10} PGAPPNAME=${PGAPPNAME:-probity-backup}
    # Messages that are read here must be in English.
    export LC_MESSAGES=C
}

# The moment in a new file's name.
stamp() { date -u +%Y%m%d%H%M%S; }

encrypted() { [ -n "${BACKUP_AGE_RECIPIENT:-}${BACKUP_AGE_RECIPIENTS_FILE:-}" ]; }

# A backup holds all that the database holds. Leaving it in clear must be somebody's decision.
refuse_unsealed() {
    if encrypted; then
        need age
    elif [ "${BACKUP_UNENCRYPTED:-}" != yes ]; then
        fail 2 "BACKUP_AGE_RECIPIENT names no key to encrypt for. Make one with: age-keygen -o backup-key.txt (keep it \
elsewhere; its public key is the recipient), or allow backups in clear with BACKUP_UNENCRYPTED=yes"
    fi
}

# Standard input, compressed and encrypted for those who may read it.
sealed() {
    local to=()
    [ -z "${BACKUP_AGE_RECIPIENT:-}" ] || to+=(--recipient "$BACKUP_AGE_RECIPIENT")
    [ -z "${BACKUP_AGE_RECIPIENTS_FILE:-}" ] || to+=(--recipients-file "$BACKUP_AGE_RECIPIENTS_FILE")
    if encrypted; then gzip -n | age --encrypt "${to[@]}"; else gzip -n; fi
}

# keep NAME: standard input becomes BACKUP_DIR/NAME.gz or NAME.gz.age with its checksum, or nothing is left of it. Sets
# KEPT to the file. With `pipefail`, the caller's pipe fails when what feeds it fails; it then calls `dropped`.
suffix() { if encrypted; then printf .gz.age; else printf .gz; fi; }

keep() {
    local partial=$BACKUP_DIR/.$1.partial
    (umask 077 && sealed >"$partial") && sync "$partial"
}

# kept NAME: the partial file is whole; gives it its checksum and its name. Prints the file.
kept() {
    local name
    name=$1$(suffix)
    (
        umask 077
        cd "$BACKUP_DIR" || exit
        sum=$(sha256sum ".$1.partial")
        printf '%s  %s\n' "${sum%% *}" "$name" >"$name.sha256"
        sync "$name.sha256"
        mv ".$1.partial" "$name"
        sync .
    )
    printf '%s' "$BACKUP_DIR/$name"
}

dropped() { rm -f "$BACKUP_DIR/.$1.partial"; }

# Whether a backup is what was written.
intact() {
    [ -f "$1.sha256" ] && (cd "$(dirname "$1")" && sha256sum --check --status "$(basename "$1").sha256")
}

refuse_damaged() {
    [ -f "$1" ] || fail 2 "$1: no such file"
    [ -f "$1.sha256" ] || fail 1 "$1.sha256 is missing: whether the backup is what was written cannot be known"
    intact "$1" || fail 1 "$1 is not what was written (its checksum differs); take another backup"
}

# What was sealed, to standard output.
unsealed() {
    case $1 in
    *.age)
        [ -n "${BACKUP_AGE_IDENTITY:-}" ] || fail 2 "$1 is encrypted: BACKUP_AGE_IDENTITY must name the file with its key"
        age --decrypt --identity "$BACKUP_AGE_IDENTITY" "$1" | gzip -dc
        ;;
    *) gzip -dc "$1" ;;
    esac
}

# One at a time: two would mix their clean-ups.
alone() {
    [ -d "$BACKUP_DIR" ] || fail 2 "BACKUP_DIR=$BACKUP_DIR: no such folder"
    [ -w "$BACKUP_DIR" ] || fail 2 "BACKUP_DIR=$BACKUP_DIR: $(id -un 2>/dev/null || id -u) may not write there"
    exec 9>"$BACKUP_DIR/.lock"
    flock --nonblock 9 || fail 1 "another backup, restore or clean-up works in $BACKUP_DIR"
}

# Backups of a kind (db, configs, mongo, grafana, base), newest first.
backups() {
    local file
    for file in "$BACKUP_DIR/$1"_backup_[0-9]*.gz "$BACKUP_DIR/$1"_backup_[0-9]*.gz.age; do
        [ ! -f "$file" ] || printf '%s\n' "$file"
    done | sort -r
}

size_of() { du -h "$1" | cut -f1; }
