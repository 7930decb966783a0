#!/bin/bash
# Backs Grafana up: BACKUP_DIR/grafana_backup_YYYYmmddHHMMSS.db.gz (.age), its database as of one moment, while it runs:
# users, service accounts, own dashboards, alert states. What is provisioned is configuration (backup_configs.sh).
#
#   backup_grafana.sh
#
# GRAFANA_DATA (/volumes/grafana) is Grafana's data folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"

case ${1:-} in
'') ;;
-h | --help)
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac

need sqlite3 gzip sha256sum flock
refuse_unsealed
alone

database=${GRAFANA_DATA:-/volumes/grafana}/grafana.db
[ -r "$database" ] || fail 1 "$database cannot be read by $(id -un 2>/dev/null || id -u)"
name=grafana_backup_$(stamp).db
work=$(mktemp -d)
trap 'rm -rf "$work"; dropped "$name"' EXIT
# SQLite's own copy of a database that others write to: as of one moment, and waited for.
sqlite3 -batch "file:$database?mode=ro" ".timeout 30000" ".backup '$work/copy'" || fail 1 "$database was not copied"
[ "$(sqlite3 -batch "$work/copy" 'PRAGMA integrity_check')" = ok ] || fail 1 "the copy of $database is damaged; is the database?"
keep "$name" <"$work/copy" || fail 1 "Grafana was not backed up; nothing is left of the attempt"
file=$(kept "$name")
say "$file: $(sqlite3 -batch "$work/copy" "SELECT count(*) FROM sqlite_master WHERE type = 'table'") tables, $(size_of "$file")"
