#!/bin/bash
# Creates Probity's and Grafana's database users; run once by the postgres image, when the data directory is new.
#   probity     owns the schema probity, which its migrations make
#   grafana_ro  may read Probity's views (the migrations grant them) and STATUS's own table "Points", whichever is there
#   grafana     logs in for Grafana, with what grafana_ro may and nothing else
set -euo pipefail

: "${PROBITY_DB_PASSWORD:?is the password of the database user probity}"
: "${GRAFANA_DB_PASSWORD:?is the password of the database user grafana}"

psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
    --username "${POSTGRES_USER:-postgres}" --dbname "${POSTGRES_DB:-postgres}" <<'SQL'
-- Read from the environment, so that no password stands in a process list.
\getenv probity_password PROBITY_DB_PASSWORD
\getenv grafana_password GRAFANA_DB_PASSWORD
SELECT current_database() AS database \gset

CREATE ROLE grafana_ro NOLOGIN;
CREATE ROLE probity LOGIN PASSWORD :'probity_password';
CREATE ROLE grafana LOGIN CONNECTION LIMIT 20 PASSWORD :'grafana_password' IN ROLE grafana_ro;
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '30s';
-- STATUS's panels ask for "Points" without a schema: status-backend's table where there is one, else Probity's view.
ALTER ROLE grafana SET search_path = public, probity;

REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE :"database" TO probity;
GRANT CONNECT ON DATABASE :"database" TO grafana_ro;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO grafana_ro;

-- status-backend makes its tables itself, later. Of all of them Grafana gets the one that its panels show, and not the
-- users with their password hashes.
CREATE FUNCTION public.grant_points_to_grafana() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'public."Points"') THEN
        GRANT SELECT ON public."Points" TO grafana_ro;
    END IF;
END
$$;
CREATE EVENT TRIGGER points_for_grafana ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
    EXECUTE FUNCTION public.grant_points_to_grafana();
SQL
