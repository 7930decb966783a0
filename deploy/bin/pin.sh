#!/bin/bash
# Pins the images of the deployment to the digests that their registries give now, on this machine: writes
# deploy/compose.pins.yml (git ignores it), which the other scripts then use. Tags can be moved; digests cannot.
#
#   pin.sh             asks the registries and writes the file
#   pin.sh --check     whether the registries still give the same digests; 1 when one does not
#   pin.sh --remove    back to tags
#
# Images that are built here, and so are in no registry, are left as they are.
set -euo pipefail
# shellcheck source=deploy/bin/compose_files.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/compose_files.sh"
pins=$deploy/compose.pins.yml

check=no
case ${1:-} in
'') ;;
--check) check=yes ;;
--remove)
    rm -f "$pins"
    say "images are taken by their tags again; to use them: deploy/stack up"
    exit 0
    ;;
-h | --help)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac

# Services with their images by tag, and whether they are built.
images() {
    local arguments last
    compose_arguments
    # Without the pins of before, which would be pinned again.
    last=$((${#arguments[@]} - 1))
    if [ "${arguments[last]}" = "$pins" ]; then arguments=("${arguments[@]:0:last-1}"); fi
    docker compose "${arguments[@]}" config | awk '
        /^[a-z]/ { services = ($1 == "services:") }
        services && /^  [A-Za-z0-9_.-]+:$/ { flush(); name = $1; sub(":", "", name); image = ""; built = 0 }
        services && /^    image: / { image = $2 }
        services && /^    build:/ { built = 1 }
        function flush() { if (name != "" && image != "" && !built) print name, image }
        END { flush() }'
}

digest() { docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1" 2>/dev/null; }

# Without a tag, but with the registry's port.
repository() {
    case ${1##*/} in *:*) printf '%s' "${1%:*}" ;; *) printf '%s' "$1" ;; esac
}

found=$(images) || fail 1 "the compose files cannot be read"
[ -n "$found" ] || fail 1 "the compose files name no image"
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
    echo "# Written by deploy/bin/pin.sh on $(date -u +%FT%TZ): digests as the registries gave them."
    echo "services:"
} >"$new"
pinned=0
while read -r name image; do
    case $image in
    *@sha256:*) hash=${image##*@} ;;
    *)
        if ! hash=$(digest "$image") || [[ ! $hash =~ ^sha256:[0-9a-f]{64}$ ]]; then
            if docker image inspect "$image" >/dev/null 2>&1; then
                say "$name: $image is in no registry that can be reached; it was built here and is left as it is"
                continue
            fi
            fail 1 "$name: no registry gives a digest for $image; is its name right, and are you logged in?"
        fi
        ;;
    esac
    repository=$(repository "${image%@*}")
    printf '  %s:\n    image: %s@%s\n' "$name" "$repository" "$hash" >>"$new"
    pinned=$((pinned + 1))
done <<<"$found"
[ "$pinned" -gt 0 ] || fail 1 "no image could be pinned"

if [ "$check" = yes ]; then
    [ -f "$pins" ] || fail 1 "nothing is pinned yet"
    if diff <(grep -v '^#' "$pins") <(grep -v '^#' "$new"); then
        say "$pinned images are what their registries give"
        exit 0
    fi
    fail 1 "registries give other images for the same tags (above; > is theirs)"
fi
mv "$new" "$pins"
chmod 644 "$pins"
say "$pinned images pinned in $pins; to use them: deploy/stack up"
