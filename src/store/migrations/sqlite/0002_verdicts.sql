-- Waivers, exact scores, penalties, provenance, corrections.

DROP VIEW probity_verdicts;
DROP VIEW probity_samples;

-- With what states were made. `id` is a hash of the rest.
CREATE TABLE probity_provenance (
    id BLOB NOT NULL PRIMARY KEY,
    engine TEXT NOT NULL,
    time_zones TEXT NOT NULL,
    flows TEXT,
    plugins TEXT NOT NULL
);

-- Made anew: SQLite cannot change the words a column may hold.
ALTER TABLE probity_state RENAME TO probity_state_before;
DROP INDEX probity_state_by_window;
DROP INDEX probity_state_by_agreement;
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
    verdict TEXT CHECK (verdict IN ('fulfilled', 'violated', 'unknown', 'waived', 'not-applicable')),
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
    score_numerator INTEGER,
    score_denominator INTEGER,
    penalties TEXT,
    rewards TEXT,
    waiver TEXT,
    inputs BLOB,
    provenance BLOB,
    CHECK ((kind = 'guarantee') = (verdict IS NOT NULL)),
    CHECK ((verdict = 'waived') = (waiver IS NOT NULL))
);
INSERT INTO probity_state
SELECT key, agreement, kind, of_id, scope, window_from, window_to, window_from_local, window_to_local, verdict, value,
    metric_values, reason, coverage, evidence, provisional, agreement_version, run, revision, recorded_at, content,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM probity_state_before;
DROP TABLE probity_state_before;
CREATE INDEX probity_state_by_window ON probity_state (window_to, key);
CREATE INDEX probity_state_by_agreement ON probity_state (agreement, window_to, key);
CREATE INDEX probity_state_waived ON probity_state (agreement, window_to, key) WHERE verdict = 'waived';
CREATE INDEX probity_state_revised ON probity_state (recorded_at, key, revision) WHERE revision > 1;

ALTER TABLE probity_state_revision ADD COLUMN score_numerator INTEGER;
ALTER TABLE probity_state_revision ADD COLUMN score_denominator INTEGER;
ALTER TABLE probity_state_revision ADD COLUMN penalties TEXT;
ALTER TABLE probity_state_revision ADD COLUMN rewards TEXT;
ALTER TABLE probity_state_revision ADD COLUMN waiver TEXT;
ALTER TABLE probity_state_revision ADD COLUMN inputs BLOB;
ALTER TABLE probity_state_revision ADD COLUMN provenance BLOB;
CREATE INDEX probity_state_revision_revised ON probity_state_revision (recorded_at, key, revision) WHERE revision > 1;

-- Waivers that are not in a document. One that was ended stays.
CREATE TABLE probity_waiver (
    agreement TEXT NOT NULL,
    id TEXT NOT NULL,
    guarantee TEXT,
    scope TEXT NOT NULL,
    reason TEXT NOT NULL,
    owner TEXT NOT NULL,
    valid_from INTEGER NOT NULL,
    valid_to INTEGER,
    expires INTEGER NOT NULL,
    ended_at INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (agreement, id)
) WITHOUT ROWID;

-- `unwaived` is the verdict as it is without a waiver, `waiver` {id, reason, owner, expires, verdict, penalties}.
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
    run,
    coalesce(waiver ->> 'verdict', verdict) AS unwaived,
    waiver,
    score_numerator,
    score_denominator,
    penalties,
    rewards,
    reason,
    strftime('%Y-%m-%dT%H:%M:%SZ', recorded_at / 1000000, 'unixepoch') AS recorded_at
FROM probity_state
WHERE kind = 'guarantee';

-- The same columns for the metrics' values as before, which have no guarantee and no verdict, and `metric`.
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

-- Revisions that changed what had been said of a closed window. `time` is when the correction became known.
CREATE VIEW probity_corrections AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%SZ', after.recorded_at / 1000000, 'unixepoch') AS time,
    after.agreement,
    after.of_id AS guarantee,
    after.scope,
    strftime('%Y-%m-%dT%H:%M:%SZ', after.window_from / 1000000, 'unixepoch') AS window_from,
    strftime('%Y-%m-%dT%H:%M:%SZ', after.window_to / 1000000, 'unixepoch') AS window_to,
    after.window_from_local,
    after.window_to_local,
    after.revision,
    before.verdict AS verdict_before,
    after.verdict,
    before.value AS value_before,
    after.value,
    CASE
        WHEN after.agreement_version <> before.agreement_version THEN 'agreement'
        WHEN (after.waiver ->> 'id') IS NOT (before.waiver ->> 'id') THEN 'waiver'
        ELSE 'evidence'
    END AS because,
    strftime('%Y-%m-%dT%H:%M:%SZ', before.recorded_at / 1000000, 'unixepoch') AS known_before,
    after.reason,
    after.run
FROM (
    SELECT key, agreement, of_id, scope, window_from, window_to, window_from_local, window_to_local, revision, verdict,
        value, agreement_version, waiver, reason, run, recorded_at
    FROM probity_state WHERE revision > 1 AND kind = 'guarantee'
    UNION ALL
    SELECT key, agreement, of_id, scope, window_from, window_to, window_from_local, window_to_local, revision, verdict,
        value, agreement_version, waiver, reason, run, recorded_at
    FROM probity_state_revision WHERE revision > 1 AND kind = 'guarantee'
) AS after
JOIN probity_state_revision AS before ON before.key = after.key AND before.revision = after.revision - 1
WHERE NOT before.provisional;
