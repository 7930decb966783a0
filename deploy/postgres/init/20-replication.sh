#!/bin/bash
# Lets the administrator copy the server and receive its WAL (profile backup), from the server's own networks and nowhere
# else. Run once by the postgres image when the data directory is new; on an older one, as often as you like:
#   deploy/stack compose exec postgres bash /docker-entrypoint-initdb.d/20-replication.sh
set -euo pipefail

rule="host replication ${POSTGRES_USER:-postgres} samenet scram-sha-256"
rules=$PGDATA/pg_hba.conf
if ! grep -qxF -- "$rule" "$rules"; then
    printf '%s\n' "$rule" >>"$rules"
    pg_ctl --pgdata="$PGDATA" reload >/dev/null
fi
