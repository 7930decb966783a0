#!/bin/bash
# Restores a MongoDB from a backup and compares every document and index with it.
#
#   restore_mongo.sh FILE                  into databases beside the others: registry_restored_<time of the backup>
#   restore_mongo.sh FILE --in-place       into those of before, which are kept as registry_before_<now>; stop who writes
#   restore_mongo.sh FILE --unpack FOLDER  into files that mongorestore reads; needs no server
#
# BACKUP_MONGO_URI is the server, BACKUP_AGE_IDENTITY the key of an encrypted backup.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"

file='' in_place=no folder=''
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,8s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --in-place) in_place=yes ;;
    --unpack)
        folder=${2:?--unpack needs a folder}
        shift
        ;;
    -*) fail 2 "unknown flag \"$1\"; see --help" ;;
    *)
        [ -z "$file" ] || fail 2 "one backup at a time: \"$1\" is too much"
        file=$1
        ;;
    esac
    shift
done
[ -n "$file" ] || fail 2 "which backup? see --help"
need /usr/bin/python3 gzip sha256sum
refuse_damaged "$file"
if [ -n "$folder" ]; then
    [ ! -e "$folder" ] || fail 2 "$folder exists already"
    (umask 077 && unsealed "$file" | "$here/mongo_stream.py" unpack "$folder")
    say "$folder: each document as it was written"
    exit 0
fi
[ -n "${BACKUP_MONGO_URI:-}" ] || fail 2 "BACKUP_MONGO_URI names no server: mongodb://user:password@host:27017"
taken=$(basename "$file" | sed -n 's/^mongo_backup_\([0-9]*\).*/\1/p')
started=$SECONDS
suffix=_restored_${taken:-$(stamp)}
unsealed "$file" | "$here/mongo_stream.py" restore "$suffix" || fail 1 "$file was not restored; what runs is as it was"
if [ "$in_place" = yes ]; then "$here/mongo_stream.py" swap "$suffix" "_before_$(stamp)"; fi
say "restored and compared in $((SECONDS - started)) s"
