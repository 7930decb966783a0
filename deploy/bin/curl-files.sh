#!/bin/sh
# Gathers this machine's curl with every library it needs, and a shell (busybox), below a folder: what the image's variant
# `with-curl` has besides, for health checks that are written for Node-RED's image.
#
#   deploy/bin/curl-files.sh FOLDER
set -eu

case ${1:-} in
-h | --help)
    sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//'
    exit 0
    ;;
esac
into=${1:?the folder to write into}
curl=$(command -v curl) || { echo "curl-files.sh: there is no curl" >&2; exit 1; }
busybox=$(command -v busybox) || { echo "curl-files.sh: there is no busybox (Debian: busybox-static)" >&2; exit 1; }

take() { mkdir -p "$into$(dirname "$1")" && cp -L "$1" "$into$1"; }

take "$curl"
ldd "$curl" | grep -o '/[^ ]*' | sort -u | while read -r library; do take "$library"; done
mkdir -p "$into/bin"
cp -L "$busybox" "$into/bin/sh"
