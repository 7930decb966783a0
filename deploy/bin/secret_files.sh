#!/bin/bash
# Writes Probity's secrets into files of their own, deploy/secrets/probity, from deploy/.env: the database's password, that of
# the first user, the secret of STATUS's tokens. Nothing is printed. With compose.secrets.yml Probity reads them there, and
# again when one changes: after a change in deploy/.env run this once more, and nothing is restarted.
#
#   deploy/bin/secret_files.sh
set -euo pipefail
{ set +x; } 2>/dev/null # a trace would print secrets
case ${1:-} in
-h | --help)
    sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//'
    exit 0
    ;;
esac
# shellcheck source=deploy/bin/compose_files.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/compose_files.sh"

[ -f "$env_file" ] || fail 2 "$env_file: no such file; run deploy/setup.sh first"
# The files are read by another user than ours, in containers; the folder above keeps others of this machine out.
mkdir -p "$deploy/secrets/probity"
chmod 700 "$deploy/secrets"
chmod 755 "$deploy/secrets/probity"
umask 022
written=0
while read -r name key; do
    file=$deploy/secrets/probity/$name
    case $(value "$key") in
    '' | change-me) fail 1 "$key in $env_file is not set; run deploy/setup.sh first" ;;
    esac
    if [ ! -f "$file" ] || [ "$(<"$file")" != "$(value "$key")" ]; then
        # Under its name only when it is whole.
        value "$key" >"$file.new"
        mv "$file.new" "$file"
        written=$((written + 1))
    fi
done <<'FILES'
database_password PROBITY_DB_PASSWORD
pass_status PASS_STATUS
jwt_secret JWT_SECRET
FILES
say "$written of 3 files of secrets written in $deploy/secrets/probity"
