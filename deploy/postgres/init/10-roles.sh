#!/bin/bash
# Creates Probity's database and its two users; run once by the postgres image, when the data directory is new.
#   probity  owns the database; migrations run as this user
#   grafana  logs in for Grafana; may read the views probity.verdicts and probity.samples through the role
#            grafana_ro, to which Probity's migration grants them
set -euo pipefail

: "${PROBITY_DB_PASSWORD:?is the password of the database user probity}"
: "${GRAFANA_DB_PASSWORD:?is the password of the database user grafana}"

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
    --username "${POSTGRES_USER:-postgres}" --dbname "${POSTGRES_DB:-postgres}" <<'SQL'
-- Read from the environment, so that no password stands in a process list.
\getenv probity_password PROBITY_DB_PASSWORD
\getenv grafana_password GRAFANA_DB_PASSWORD

CREATE ROLE grafana_ro NOLOGIN;
CREATE ROLE probity LOGIN PASSWORD :'probity_password';
CREATE ROLE grafana LOGIN CONNECTION LIMIT 20 PASSWORD :'grafana_password' IN ROLE grafana_ro;
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '30s';

CREATE DATABASE probity OWNER probity TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE probity FROM PUBLIC;
GRANT CONNECT ON DATABASE probity TO grafana_ro;
SQL
