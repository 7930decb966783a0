#!/bin/bash
# Backs up what is kept beside Postgres: MongoDB where the Registry's runs, and Grafana's database where its folder is.
#
#   backup_volumes.sh
#
# BACKUP_MONGO: yes, no, or auto, which looks for governify in BACKUP_PROFILES, the deployment's COMPOSE_PROFILES.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/bin/backup_files.sh
. "$here/backup_files.sh"

case ${1:-} in
'') ;;
-h | --help)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
*) fail 2 "unknown argument \"$1\"; see --help" ;;
esac

mongo=${BACKUP_MONGO:-auto}
if [ "$mongo" = auto ]; then
    case ,${BACKUP_PROFILES:-}, in *,governify,*) mongo=yes ;; *) mongo=no ;; esac
fi
case $mongo in yes | no) ;; *) fail 2 "BACKUP_MONGO=$mongo: expected yes, no or auto" ;; esac
failed=0
if [ "$mongo" = yes ]; then "$here/backup_mongo.sh" || failed=1; fi
if [ -d "${GRAFANA_DATA:-/volumes/grafana}" ]; then "$here/backup_grafana.sh" || failed=1; fi
exit "$failed"
