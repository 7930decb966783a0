#!/bin/bash
# Run by Patroni once, on the first primary, when the cluster is made: the database, its administrator, and the users of
# postgres/init. $1 is how the superuser connects.
set -euo pipefail

: "${1:?is the connection of the superuser, given by Patroni}"
: "${DB_USER:?is the administrator of the database of STATUS}"
: "${DB_PASSWORD:?is the password of DB_USER}"
: "${DB_NAME:?is the name of the database of STATUS}"
folder=$(dirname "${BASH_SOURCE[0]}")

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname "$1" <<'SQL'
-- Read from the environment, so that no password stands in a process list.
\getenv db_user DB_USER
\getenv db_password DB_PASSWORD
\getenv db_name DB_NAME
CREATE ROLE :"db_user" SUPERUSER LOGIN PASSWORD :'db_password';
CREATE DATABASE :"db_name" OWNER :"db_user";
SQL

POSTGRES_USER=postgres POSTGRES_DB="$1 dbname=$DB_NAME" bash "$folder/init/10-roles.sh"
