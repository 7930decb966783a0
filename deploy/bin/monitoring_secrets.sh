#!/bin/bash
# What the profile `monitoring` needs besides: a token by which Prometheus asks Probity, its hash in deploy/.env, and a
# file for the mail server's password. What is there stays; nothing is printed.
#
#   deploy/bin/monitoring_secrets.sh
set -euo pipefail
case ${1:-} in
-h | --help)
    sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//'
    exit 0
    ;;
esac
# shellcheck source=deploy/bin/compose_files.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/compose_files.sh"

[ -f "$env_file" ] || fail 2 "$env_file: no such file; run deploy/setup.sh first"
folder=$deploy/secrets
mkdir -p "$folder"
# The files are read by other users than ours, in containers; the folder keeps others of this machine out.
chmod 700 "$folder"
umask 022
if [ ! -s "$folder/metrics_token" ]; then
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$folder/metrics_token"
fi
[ -e "$folder/smtp_password" ] || : >"$folder/smtp_password"

hash=$(sha256sum <"$folder/metrics_token" | cut -d ' ' -f 1)
others=$(value PROBITY_AUTH_TOKENS | tr , '\n' | grep -v '^prometheus=' | paste -sd , - || true)
tokens=${others:+$others,}prometheus=$hash
[ "$(value PROBITY_AUTH_TOKENS)" = "$tokens" ] || put PROBITY_AUTH_TOKENS "$tokens"
[ -n "$(value PROBITY_AUTH_PERMISSIONS)" ] || put PROBITY_AUTH_PERMISSIONS prometheus=probity.read
