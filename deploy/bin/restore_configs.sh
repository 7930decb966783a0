#!/bin/bash
# Restores configuration from a backup: into a folder to look at, or in place.
#
#   restore_configs.sh FILE                 into ./configs_restored_<time of the backup>
#   restore_configs.sh FILE --into FOLDER   into a new folder, below which the paths begin
#   restore_configs.sh FILE --in-place      to where the files came from; one that differs is kept as NAME.before-<now>
#
# Every file is compared with the checksum in the backup. BACKUP_AGE_IDENTITY names the key of an encrypted backup.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"

file='' into='' in_place=no
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,8s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --into)
        into=${2:?--into needs a folder}
        shift
        ;;
    --in-place) in_place=yes ;;
    -*) fail 2 "unknown flag \"$1\"; see --help" ;;
    *)
        [ -z "$file" ] || fail 2 "one backup at a time: \"$1\" is too much"
        file=$1
        ;;
    esac
    shift
done
[ -n "$file" ] || fail 2 "which backup? see --help"
[ "$in_place" = no ] || [ -z "$into" ] || fail 2 "--in-place and --into exclude each other"

need tar gzip sha256sum
refuse_damaged "$file"
taken=$(basename "$file" | sed -n 's/^configs_backup_\([0-9]*\).*/\1/p')
into=${into:-configs_restored_${taken:-$(stamp)}}
[ "$in_place" = yes ] || [ ! -e "$into" ] || fail 2 "$into exists already; move it away, or name another with --into"

# Unpacked and compared elsewhere first: a bad backup must change nothing.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unsealed "$file" >"$work/tar" || fail 1 "$file cannot be read"
# Only plain files below the folder: no links, no paths that lead out of it.
if tar --list --verbose --file="$work/tar" | grep -qv '^-' || tar --list --file="$work/tar" | grep -Eq '^/|(^|/)\.\.(/|$)'; then
    fail 1 "$file holds something else than plain files; nothing was restored"
fi
mkdir "$work/files"
tar --extract --file="$work/tar" --directory="$work/files" --no-same-owner --preserve-permissions
[ -f "$work/files/MANIFEST.sha256" ] || fail 1 "$file is no backup of backup_configs.sh"
(cd "$work/files" && sha256sum --check --quiet MANIFEST.sha256) || fail 1 "files in $file are not what was written"
number=$(wc -l <"$work/files/MANIFEST.sha256")
found=$(find "$work/files" -type f ! -path "$work/files/MANIFEST.sha256" | wc -l)
[ "$found" = "$number" ] || fail 1 "$file holds $found files, its manifest names $number"

if [ "$in_place" = no ]; then
    rm "$work/files/MANIFEST.sha256"
    mv "$work/files" "$into"
    say "$into: $number files, each as it was written"
    exit 0
fi

now=$(stamp) same=0 changed=0
while IFS= read -r -d '' source; do
    target=/${source#"$work"/files/}
    [ "$target" != /MANIFEST.sha256 ] || continue
    if [ -f "$target" ] && cmp -s "$source" "$target"; then
        same=$((same + 1))
        continue
    fi
    mkdir -p "$(dirname "$target")"
    [ ! -e "$target" ] || cp --preserve=all "$target" "$target.before-$now"
    # Through a name beside it: a reader sees the old file or the new one. A file's owner stays.
    cp --preserve=mode,timestamps "$source" "$target.restored-$now"
    [ ! -e "$target" ] || chown --reference="$target" "$target.restored-$now" 2>/dev/null || true
    mv "$target.restored-$now" "$target"
    changed=$((changed + 1))
    say "restored $target"
done < <(find "$work/files" -type f -print0 | sort -z)
say "$changed files restored, $same were as in the backup; what was there before is beside them as *.before-$now"
