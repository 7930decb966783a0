#!/bin/bash
# Backs a MongoDB up, that of the Registry: BACKUP_DIR/mongo_backup_YYYYmmddHHMMSS.bson.gz (.age), all databases but the
# server's own, with the number and the hashes of every collection's documents.
#
#   backup_mongo.sh
#
# BACKUP_MONGO_URI: mongodb://user:password@host:27017. Each collection is as it was while it was read; what is written
# meanwhile may be in one and not in another.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"

case ${1:-} in
'') ;;
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac

need /usr/bin/python3 gzip sha256sum flock
[ -n "${BACKUP_MONGO_URI:-}" ] || fail 2 "BACKUP_MONGO_URI names no server: mongodb://user:password@host:27017"
refuse_unsealed
alone

started=$SECONDS
name=mongo_backup_$(stamp).bson
work=$(mktemp -d)
trap 'rm -rf "$work"; dropped "$name"' EXIT
"$here/mongo_stream.py" dump 2>"$work/said" | keep "$name" ||
    fail 1 "MongoDB was not backed up, and nothing is left of the attempt: $(tail -n 1 "$work/said")"
file=$(kept "$name")
say "$file: $(wc -l <"$work/said") collections, $(awk '{ n += $2 } END { print n + 0 }' "$work/said") documents, $(size_of "$file"), $((SECONDS - started)) s"
