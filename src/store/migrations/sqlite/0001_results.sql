-- Results and their history. Forward only: a later change is a new file.
-- Instants are microseconds since 1970-01-01T00:00:00Z; run ids are UUID text; JSON is text.

-- The latest revision of every state. `key` is a 128-bit hash of the identity
-- (agreement, kind, of, scope, window_from, window_to); `content` one of everything a revision is about.
CREATE TABLE probity_state (
    key BLOB NOT NULL PRIMARY KEY,
    agreement TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('guarantee', 'metric')),
    of_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    window_from INTEGER NOT NULL,
    window_to INTEGER NOT NULL,
    window_from_local TEXT NOT NULL,
    window_to_local TEXT NOT NULL,
    verdict TEXT CHECK (verdict IN ('fulfilled', 'violated', 'unknown', 'not-applicable')),
    value REAL,
    metric_values TEXT NOT NULL,
    reason TEXT NOT NULL,
    coverage TEXT,
    evidence TEXT NOT NULL,
    provisional INTEGER NOT NULL CHECK (provisional IN (0, 1)),
    agreement_version TEXT NOT NULL,
    run TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    recorded_at INTEGER NOT NULL,
    content BLOB NOT NULL,
    CHECK ((kind = 'guarantee') = (verdict IS NOT NULL))
);
CREATE INDEX probity_state_by_window ON probity_state (window_to, key);
CREATE INDEX probity_state_by_agreement ON probity_state (agreement, window_to, key);

-- Revisions that a later one has replaced.
CREATE TABLE probity_state_revision (
    key BLOB NOT NULL,
    agreement TEXT NOT NULL,
    kind TEXT NOT NULL,
    of_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    window_from INTEGER NOT NULL,
    window_to INTEGER NOT NULL,
    window_from_local TEXT NOT NULL,
    window_to_local TEXT NOT NULL,
    verdict TEXT,
    value REAL,
    metric_values TEXT NOT NULL,
    reason TEXT NOT NULL,
    coverage TEXT,
    evidence TEXT NOT NULL,
    provisional INTEGER NOT NULL,
    agreement_version TEXT NOT NULL,
    run TEXT NOT NULL,
    revision INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (key, revision)
);

-- Ended runs of flows and evaluations. Ids are UUIDs of version 7: their order is that of opening.
CREATE TABLE probity_run (
    id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    trigger_kind TEXT NOT NULL,
    "trigger" TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    version TEXT NOT NULL,
    hops INTEGER NOT NULL,
    error TEXT,
    trace TEXT NOT NULL,
    trace_dropped INTEGER NOT NULL
);
CREATE INDEX probity_run_by_subject ON probity_run (subject, id);

-- Who did what to what.
CREATE TABLE probity_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);

-- Firings of schedules; one without a run is open.
CREATE TABLE probity_claim (
    schedule TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    claimed_at INTEGER NOT NULL,
    run TEXT,
    PRIMARY KEY (schedule, due_at)
) WITHOUT ROWID;
CREATE INDEX probity_claim_open ON probity_claim (due_at, schedule) WHERE run IS NULL;

-- The Grafana contract. Latest revisions only; instants as RFC 3339 text; `time` is the end of the window (an
-- open window's lies ahead), `coverage` the share of the population that was seen, 0 to 1.
CREATE VIEW probity_verdicts AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%SZ', window_to / 1000000, 'unixepoch') AS time,
    agreement,
    of_id AS guarantee,
    scope,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_from / 1000000, 'unixepoch') AS window_from,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_to / 1000000, 'unixepoch') AS window_to,
    window_from_local,
    window_to_local,
    value,
    verdict,
    CAST(coverage ->> 'seen' AS REAL) / nullif(CAST(coverage ->> 'expected' AS REAL), 0) AS coverage,
    provisional,
    revision,
    run
FROM probity_state
WHERE kind = 'guarantee';

-- The same columns for the metrics' values, which have no guarantee and no verdict, and `metric`.
CREATE VIEW probity_samples AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%SZ', window_to / 1000000, 'unixepoch') AS time,
    agreement,
    NULL AS guarantee,
    scope,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_from / 1000000, 'unixepoch') AS window_from,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_to / 1000000, 'unixepoch') AS window_to,
    window_from_local,
    window_to_local,
    value,
    NULL AS verdict,
    CAST(coverage ->> 'seen' AS REAL) / nullif(CAST(coverage ->> 'expected' AS REAL), 0) AS coverage,
    provisional,
    revision,
    run,
    of_id AS metric
FROM probity_state
WHERE kind = 'metric';
