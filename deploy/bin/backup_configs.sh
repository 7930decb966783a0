#!/bin/bash
# Backs configuration up: BACKUP_DIR/configs_backup_YYYYmmddHHMMSS.tar.gz (.age), with a checksum of every file inside.
#
#   backup_configs.sh
#
# BACKUP_CONFIG_PATHS: folders and files, separated by colons. Default: the folder deploy/ and, in the container, the
# data folders of Probity: flows, settings, credentials. Files that hold secrets (.env, credentials and their key, keys
# of TLS) are in it only when it is encrypted: BACKUP_AGE_RECIPIENT, or else BACKUP_UNENCRYPTED=yes.
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

need tar gzip sha256sum flock
refuse_unsealed
alone

name=configs_backup_$(stamp).tar
work=$(mktemp -d)
trap 'rm -rf "$work"; dropped "$name"' EXIT

if [ -n "${BACKUP_CONFIG_PATHS:-}" ]; then
    IFS=: read -r -a paths <<<"$BACKUP_CONFIG_PATHS"
else
    paths=()
    for path in /deploy /volumes/node-red-status /volumes/governance; do
        [ ! -e "$path" ] || paths+=("$path")
    done
    [ ${#paths[@]} -gt 0 ] || paths=("$(cd "$here/.." && pwd)")
fi

# What may hold secrets, by name.
secret() {
    case $(basename "$1") in
    .env | .env.* | *_cred.json | *_cred.json.* | .config.runtime.json* | *.key | *.pem | acme.json | settings.js) [ "$(basename "$1")" != .env.example ] ;;
    *) false ;;
    esac
}

left_out=0
unreadable=()
: >"$work/list"
for path in "${paths[@]}"; do
    case $path in
    /*) ;;
    *) path=$PWD/$path ;;
    esac
    [ -e "$path" ] || fail 2 "BACKUP_CONFIG_PATHS: $path: no such file or folder"
    # Databases, caches and packages are no configuration.
    while IFS= read -r -d '' found; do
        if ! encrypted && secret "$found"; then
            left_out=$((left_out + 1))
        elif [ ! -r "$found" ]; then
            unreadable+=("$found")
        else
            printf '%s\0' "${found#/}" >>"$work/list"
        fi
    done < <(find "$path" \( -name node_modules -o -name .git -o -name plugins-cache \) -prune -o -type f \
        ! -name '*.db' ! -name '*.db-*' ! -name '*.log' -print0 | sort -z)
done
[ -s "$work/list" ] || fail 1 "there is nothing to back up in ${paths[*]}"

(cd / && xargs -0 sha256sum --binary --) <"$work/list" >"$work/MANIFEST.sha256" || fail 1 "a file cannot be read"
tar --create --file=- --directory="$work" MANIFEST.sha256 --directory=/ --null --files-from="$work/list" |
    keep "$name" || fail 1 "the configuration was not backed up; nothing is left of the attempt"
file=$(kept "$name")
say "$file: $(wc -l <"$work/MANIFEST.sha256") files, $(size_of "$file")"
for path in "${unreadable[@]}"; do
    say "warning: $path is not in it, since $(id -un 2>/dev/null || id -u) may not read it; keep a copy of it elsewhere"
done
[ "$left_out" = 0 ] || say "$left_out files that may hold secrets are not in it, since it is not encrypted"
