-- Results and their history. Forward only: a later change is a new file.
-- Text that comes from outside and may hold anything (evidence, errors, traces) is `json`, kept verbatim;
-- what SQL looks into (scope, metric values, coverage) is `jsonb`.

-- The latest revision of every state. `key` is a 128-bit hash of the identity
-- (agreement, kind, of, scope, window_from, window_to); `content` one of everything a revision is about.
CREATE TABLE probity.state (
    key uuid PRIMARY KEY,
    agreement text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('guarantee', 'metric')),
    of_id text COLLATE "C" NOT NULL,
    scope jsonb NOT NULL,
    window_from timestamptz NOT NULL,
    window_to timestamptz NOT NULL,
    window_from_local text NOT NULL,
    window_to_local text NOT NULL,
    verdict text COLLATE "C" CHECK (verdict IN ('fulfilled', 'violated', 'unknown', 'not-applicable')),
    value double precision,
    metric_values jsonb NOT NULL,
    reason text NOT NULL,
    coverage jsonb,
    evidence json NOT NULL,
    provisional boolean NOT NULL,
    agreement_version text NOT NULL,
    run uuid NOT NULL,
    revision integer NOT NULL CHECK (revision >= 1),
    recorded_at timestamptz NOT NULL,
    content uuid NOT NULL,
    CHECK ((kind = 'guarantee') = (verdict IS NOT NULL))
);
CREATE INDEX state_by_window ON probity.state (window_to, key);
CREATE INDEX state_by_agreement ON probity.state (agreement, window_to, key);

-- Revisions that a later one has replaced.
CREATE TABLE probity.state_revision (
    LIKE probity.state,
    PRIMARY KEY (key, revision)
);

-- Ended runs of flows and evaluations. Ids are UUIDs of version 7: their order is that of opening.
CREATE TABLE probity.run (
    id uuid PRIMARY KEY,
    subject text COLLATE "C" NOT NULL,
    trigger_kind text COLLATE "C" NOT NULL,
    trigger json NOT NULL,
    state text COLLATE "C" NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    version text NOT NULL,
    hops bigint NOT NULL,
    error json,
    trace json NOT NULL,
    trace_dropped bigint NOT NULL
);
CREATE INDEX run_by_subject ON probity.run (subject, id);

-- Who did what to what.
CREATE TABLE probity.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail json NOT NULL
);

-- Firings of schedules; one without a run is open.
CREATE TABLE probity.claim (
    schedule text COLLATE "C" NOT NULL,
    due_at timestamptz NOT NULL,
    claimed_at timestamptz NOT NULL,
    run uuid,
    PRIMARY KEY (schedule, due_at)
);
CREATE INDEX claim_open ON probity.claim (due_at, schedule) WHERE run IS NULL;

-- The Grafana contract. Latest revisions only; `time` is the end of the window (an open window's lies ahead),
-- `coverage` the share of the population that was seen, 0 to 1.
CREATE VIEW probity.verdicts AS
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
    run
FROM probity.state
WHERE kind = 'guarantee';

-- The same columns for the metrics' values, which have no guarantee and no verdict, and `metric`.
CREATE VIEW probity.samples AS
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
