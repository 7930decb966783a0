-- States, their earlier revisions and runs in partitions by day, so that what has expired is dropped, not deleted.
--
-- The identity stays unique although every unique index of a partitioned table holds the partition key: a state's `key`
-- is a hash of its identity, of which `window_to` is a part, so that equal keys lie in one partition; a run's id is a
-- UUID of version 7, which begins with the instant of its opening, so that the id itself is the partition key.
-- A state and its earlier revisions lie in partitions of the same day, and go together.
--
-- Days are UTC. Partitions are named after what they hold: state_20260131, state_202601 (a month), state_2026 (a year).
-- Every query that names no range locks every partition, so there must not be too many of them: long ago and far ahead
-- a partition is a month, beyond five years a year; days become months when they are old (`fold_month`).

-- Where a day begins in ids of runs.
CREATE FUNCTION probity.run_bound(day date) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM day) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- The partitions of a table that are named after a period.
CREATE FUNCTION probity.partitions(parent text) RETURNS TABLE (name text, first_day date, end_day date)
LANGUAGE sql STABLE AS $$
    SELECT relname, first_day,
        (first_day + CASE length(digits) WHEN 4 THEN interval '1 year' WHEN 6 THEN interval '1 month' ELSE interval '1 day' END)::date
    FROM (
        SELECT relname::text, digits, to_date(rpad(digits, 8, '0101'), 'YYYYMMDD') AS first_day
        FROM pg_inherits
        JOIN pg_class ON pg_class.oid = inhrelid
        CROSS JOIN LATERAL substring(relname::text FROM '^' || parent || '_([0-9]{4}(?:[0-9]{2}){0,2})$') AS digits
        WHERE inhparent = format('probity.%I', parent)::regclass AND digits IS NOT NULL
    ) AS named
$$;

-- Makes sure that rows of a day have a place in this table: `run`, `state` or `state_revision`. Several processes may
-- ask at once: they take turns.
CREATE FUNCTION probity.add_day(parent text, day date, today date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    grain text;
    from_day date;
    made text;
    from_bound text;
    to_bound text;
BEGIN
    -- Beyond these years there is one partition for everything.
    IF day < '1970-01-01' OR day >= '2100-01-01' THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(1347572816, 0);
    IF EXISTS (SELECT FROM probity.partitions(parent) AS p WHERE day >= p.first_day AND day < p.end_day) THEN
        RETURN;
    END IF;
    FOREACH grain IN ARRAY CASE
        WHEN abs(extract(year FROM day) - extract(year FROM today)) > 5 THEN ARRAY['year', 'month', 'day']
        WHEN date_trunc('month', day) + interval '1 month 31 days' <= today OR day > today + 62 THEN ARRAY['month', 'day']
        ELSE ARRAY['day']
    END LOOP
        from_day := date_trunc(grain, day::timestamp)::date;
        made := parent || '_' || to_char(from_day, CASE grain WHEN 'year' THEN 'YYYY' WHEN 'month' THEN 'YYYYMM' ELSE 'YYYYMMDD' END);
        -- Not over one that is there.
        EXIT WHEN NOT EXISTS (SELECT FROM probity.partitions(parent) AS p WHERE starts_with(p.name, made));
    END LOOP;
    from_bound := from_day;
    to_bound := (from_day + ('1 ' || grain)::interval)::date;
    IF parent = 'run' THEN
        from_bound := probity.run_bound(from_bound::date);
        to_bound := probity.run_bound(to_bound::date);
    ELSE
        from_bound := from_bound || ' 00:00:00+00';
        to_bound := to_bound || ' 00:00:00+00';
    END IF;
    -- Made apart and attached: `PARTITION OF` would lock out everybody.
    EXECUTE format('CREATE TABLE probity.%I (LIKE probity.%I INCLUDING ALL)', made, parent);
    EXECUTE format('ALTER TABLE probity.%I ATTACH PARTITION probity.%I FOR VALUES FROM (%L) TO (%L)',
        parent, made, from_bound, to_bound);
END
$$;

-- Puts the days of a month into one partition; true when there were any. Who reads goes on reading; who writes into
-- that month waits.
CREATE FUNCTION probity.fold_month(parent text, month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    made text := parent || '_' || to_char(month, 'YYYYMM');
    key_column text := CASE parent WHEN 'run' THEN 'id' ELSE 'window_to' END;
    from_bound text := month || ' 00:00:00+00';
    to_bound text := (month + interval '1 month')::date || ' 00:00:00+00';
    days text[];
    day text;
BEGIN
    PERFORM pg_advisory_xact_lock(1347572816, 0);
    SELECT array_agg(p.name) INTO days FROM probity.partitions(parent) AS p
    WHERE starts_with(p.name, made) AND p.name <> made;
    IF days IS NULL THEN
        RETURN false;
    END IF;
    IF parent = 'run' THEN
        from_bound := probity.run_bound(month);
        to_bound := probity.run_bound((month + interval '1 month')::date);
    END IF;
    EXECUTE format('CREATE TABLE probity.%I (LIKE probity.%I INCLUDING ALL)', made, parent);
    -- Known before the rows come, so that attaching need not look at each.
    EXECUTE format('ALTER TABLE probity.%I ADD CONSTRAINT within_month CHECK (%I >= %L AND %I < %L)',
        made, key_column, from_bound, key_column, to_bound);
    FOREACH day IN ARRAY days LOOP
        EXECUTE format('LOCK TABLE probity.%I IN SHARE ROW EXCLUSIVE MODE', day);
        EXECUTE format('INSERT INTO probity.%I SELECT * FROM probity.%I', made, day);
    END LOOP;
    FOREACH day IN ARRAY days LOOP
        EXECUTE format('DROP TABLE probity.%I', day);
    END LOOP;
    EXECUTE format('ALTER TABLE probity.%I ATTACH PARTITION probity.%I FOR VALUES FROM (%L) TO (%L)',
        parent, made, from_bound, to_bound);
    EXECUTE format('ALTER TABLE probity.%I DROP CONSTRAINT within_month', made);
    RETURN true;
END
$$;

-- The tables there were, aside, without their indexes.
ALTER TABLE probity.state RENAME TO before_state;
ALTER TABLE probity.state_revision RENAME TO before_state_revision;
ALTER TABLE probity.run RENAME TO before_run;
ALTER TABLE probity.before_state DROP CONSTRAINT state_pkey;
ALTER TABLE probity.before_state_revision DROP CONSTRAINT state_revision_pkey;
ALTER TABLE probity.before_run DROP CONSTRAINT run_pkey;
DROP INDEX probity.state_by_window, probity.state_by_agreement, probity.state_waived, probity.state_revised,
    probity.state_revision_revised, probity.run_by_subject;

CREATE TABLE probity.state (
    LIKE probity.before_state INCLUDING CONSTRAINTS,
    PRIMARY KEY (window_to, key)
) PARTITION BY RANGE (window_to);
-- Without the key: entries of one agreement and window end are packed into one.
CREATE INDEX state_by_agreement ON probity.state (agreement, window_to);
CREATE INDEX state_waived ON probity.state (agreement, window_to) WHERE verdict = 'waived';
CREATE INDEX state_revised ON probity.state (recorded_at, key, revision) WHERE revision > 1;

CREATE TABLE probity.state_revision (
    LIKE probity.before_state_revision INCLUDING CONSTRAINTS,
    PRIMARY KEY (window_to, key, revision)
) PARTITION BY RANGE (window_to);
CREATE INDEX state_revision_revised ON probity.state_revision (recorded_at, key, revision) WHERE revision > 1;

CREATE TABLE probity.run (LIKE probity.before_run INCLUDING CONSTRAINTS, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE INDEX run_by_subject ON probity.run (subject, id);

CREATE TABLE probity.state_before_1970 PARTITION OF probity.state FOR VALUES FROM (MINVALUE) TO ('1970-01-01 00:00:00+00');
CREATE TABLE probity.state_from_2100 PARTITION OF probity.state FOR VALUES FROM ('2100-01-01 00:00:00+00') TO (MAXVALUE);
CREATE TABLE probity.state_revision_before_1970 PARTITION OF probity.state_revision
    FOR VALUES FROM (MINVALUE) TO ('1970-01-01 00:00:00+00');
CREATE TABLE probity.state_revision_from_2100 PARTITION OF probity.state_revision
    FOR VALUES FROM ('2100-01-01 00:00:00+00') TO (MAXVALUE);
-- Ids that are no UUIDs of version 7 end up here, too.
DO $$
BEGIN
    EXECUTE format('CREATE TABLE probity.run_from_2100 PARTITION OF probity.run FOR VALUES FROM (%L) TO (MAXVALUE)',
        probity.run_bound('2100-01-01'));
END
$$;

-- What there was is carried over.
DO $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
    PERFORM probity.add_day(parent, day, today)
    FROM (
        SELECT DISTINCT (window_to AT TIME ZONE 'UTC')::date AS day FROM probity.before_state
        UNION
        SELECT DISTINCT (window_to AT TIME ZONE 'UTC')::date FROM probity.before_state_revision
    ) AS days
    CROSS JOIN (VALUES ('state'), ('state_revision')) AS tables (parent);
    PERFORM probity.add_day('run', day, today)
    FROM (
        SELECT DISTINCT (to_timestamp(least(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000, 4102444800))
            AT TIME ZONE 'UTC')::date AS day
        FROM probity.before_run
    ) AS days;
END
$$;
INSERT INTO probity.state SELECT * FROM probity.before_state;
INSERT INTO probity.state_revision SELECT * FROM probity.before_state_revision;
INSERT INTO probity.run SELECT * FROM probity.before_run;

-- The views as they were, over the new tables. A revision and the one before it share their window.
CREATE OR REPLACE VIEW probity.verdicts AS
SELECT
    window_to AS "time",
    agreement,
    of_id AS guarantee,
    scope,
    window_from,
    window_to,
    window_from_local,
    window_to_local,
    value,
    verdict,
    (coverage ->> 'seen')::double precision / nullif((coverage ->> 'expected')::double precision, 0) AS coverage,
    provisional,
    revision,
    run,
    coalesce(waiver ->> 'verdict', verdict) AS unwaived,
    waiver,
    score_numerator,
    score_denominator,
    penalties,
    rewards,
    reason,
    recorded_at
FROM probity.state
WHERE kind = 'guarantee';

CREATE OR REPLACE VIEW probity.samples AS
SELECT
    window_to AS "time",
    agreement,
    NULL::text AS guarantee,
    scope,
    window_from,
    window_to,
    window_from_local,
    window_to_local,
    value,
    NULL::text AS verdict,
    (coverage ->> 'seen')::double precision / nullif((coverage ->> 'expected')::double precision, 0) AS coverage,
    provisional,
    revision,
    run,
    of_id AS metric
FROM probity.state
WHERE kind = 'metric';

CREATE OR REPLACE VIEW probity.corrections AS
SELECT
    after.recorded_at AS "time",
    after.agreement,
    after.of_id AS guarantee,
    after.scope,
    after.window_from,
    after.window_to,
    after.window_from_local,
    after.window_to_local,
    after.revision,
    before.verdict AS verdict_before,
    after.verdict,
    before.value AS value_before,
    after.value,
    CASE
        WHEN after.agreement_version <> before.agreement_version THEN 'agreement'
        WHEN (after.waiver ->> 'id') IS DISTINCT FROM (before.waiver ->> 'id') THEN 'waiver'
        ELSE 'evidence'
    END AS because,
    before.recorded_at AS known_before,
    after.reason,
    after.run
FROM (
    SELECT * FROM probity.state WHERE revision > 1 AND kind = 'guarantee'
    UNION ALL
    SELECT * FROM probity.state_revision WHERE revision > 1 AND kind = 'guarantee'
) AS after
JOIN probity.state_revision AS before
    ON before.window_to = after.window_to AND before.key = after.key AND before.revision = after.revision - 1
WHERE NOT before.provisional;

DROP TABLE probity.before_state, probity.before_state_revision, probity.before_run;

-- For those who had STATUS's own table: one row for each verdict that can be said, with that table's columns.
-- `guaranteeValue` is the verdict's value, where it has none that of its first metric. Windows still open, and verdicts
-- that are unknown, waived or not applicable have no row: there a number would be a lie.
CREATE VIEW probity."Points" AS
SELECT
    key AS id,
    agreement AS "agreementId",
    of_id AS "guaranteeId",
    coalesce(value, (SELECT number.value::double precision
        FROM jsonb_each_text(metric_values) AS number WHERE number.value IS NOT NULL ORDER BY number.key LIMIT 1))
        AS "guaranteeValue",
    verdict = 'fulfilled' AS "guaranteeResult",
    window_from AS "timestamp",
    metric_values AS metrics,
    scope,
    run AS "computationGroup",
    recorded_at AS "createdAt",
    recorded_at AS "updatedAt"
FROM probity.state
WHERE kind = 'guarantee' AND verdict IN ('fulfilled', 'violated') AND NOT provisional;

-- States that somebody else is to be told of, in the order of `id`; those of one commit share a group, and stay until all
-- of it was told. `sent` of them, from the front, were told. Who tells them holds them until `leased_until`; when nobody
-- came to an end, it says that somebody tried.
CREATE TABLE probity.delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "group" uuid NOT NULL,
    states json NOT NULL,
    count bigint NOT NULL,
    sent bigint NOT NULL DEFAULT 0,
    last boolean NOT NULL,
    done boolean NOT NULL DEFAULT false,
    recorded_at timestamptz NOT NULL,
    leased_until timestamptz
);
CREATE INDEX delivery_open ON probity.delivery (id) WHERE NOT done;
CREATE INDEX delivery_by_group ON probity.delivery ("group");
