-- Error budgets and burn rates are states of their own; their figures are their evidence.

DROP VIEW probity_verdicts;
DROP VIEW probity_samples;
DROP VIEW probity_corrections;

-- Made anew: SQLite cannot change the words a column may hold.
ALTER TABLE probity_state RENAME TO probity_state_before;
DROP INDEX probity_state_by_window;
DROP INDEX probity_state_by_agreement;
DROP INDEX probity_state_waived;
DROP INDEX probity_state_revised;
CREATE TABLE probity_state (
    key BLOB NOT NULL PRIMARY KEY,
    agreement TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('guarantee', 'metric', 'budget', 'burn-rate')),
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
    CHECK ((kind = 'metric') = (verdict IS NULL)),
    CHECK ((verdict = 'waived') = (waiver IS NOT NULL))
);
INSERT INTO probity_state (
    key, agreement, kind, of_id, scope, window_from, window_to, window_from_local,
    window_to_local, verdict, value, metric_values, reason, coverage, evidence, provisional,
    agreement_version, run, revision, recorded_at, content, score_numerator, score_denominator, penalties,
    rewards, waiver, inputs, provenance
)
SELECT
    key, agreement, kind, of_id, scope, window_from, window_to, window_from_local,
    window_to_local, verdict, value, metric_values, reason, coverage, evidence, provisional,
    agreement_version, run, revision, recorded_at, content, score_numerator, score_denominator, penalties,
    rewards, waiver, inputs, provenance
FROM probity_state_before;
DROP TABLE probity_state_before;
CREATE INDEX probity_state_by_window ON probity_state (window_to, key);
CREATE INDEX probity_state_by_agreement ON probity_state (agreement, window_to, key);
CREATE INDEX probity_state_waived ON probity_state (agreement, window_to, key) WHERE verdict = 'waived';
CREATE INDEX probity_state_revised ON probity_state (recorded_at, key, revision) WHERE revision > 1;
CREATE INDEX probity_state_budget ON probity_state (agreement, window_to) WHERE kind = 'budget';

-- `remaining` is the share of the budget that is left, below 0 when it is exceeded; `used_least` and `used_most` bound
-- the share used up where windows are not known. Whole counts are of windows, or of events where the budget counts them.
CREATE VIEW probity_budgets AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%SZ', window_to / 1000000, 'unixepoch') AS time,
    agreement,
    of_id AS budget,
    evidence ->> '$[0].data.guarantee' AS guarantee,
    scope,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_from / 1000000, 'unixepoch') AS window_from,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_to / 1000000, 'unixepoch') AS window_to,
    window_from_local,
    window_to_local,
    value AS remaining,
    CAST(metric_values ->> 'used' AS REAL) AS used,
    CAST(metric_values ->> 'used_least' AS REAL) AS used_least,
    CAST(metric_values ->> 'used_most' AS REAL) AS used_most,
    CAST(metric_values ->> 'used_unwaived' AS REAL) AS used_unwaived,
    CAST(metric_values ->> 'good' AS REAL) AS good,
    CAST(metric_values ->> 'bad' AS REAL) AS bad,
    CAST(metric_values ->> 'waived' AS REAL) AS waived,
    CAST(metric_values ->> 'unknown_windows' AS REAL) AS unknown_windows,
    CAST(metric_values ->> 'pending_windows' AS REAL) AS pending_windows,
    evidence ->> '$[0].data.target' AS target,
    verdict,
    evidence ->> '$[0].data.unwaived' AS unwaived,
    CAST(coverage ->> 'seen' AS REAL) / nullif(CAST(coverage ->> 'expected' AS REAL), 0) AS coverage,
    provisional,
    revision,
    run,
    score_numerator,
    score_denominator,
    reason,
    strftime('%Y-%m-%dT%H:%M:%SZ', recorded_at / 1000000, 'unixepoch') AS recorded_at
FROM probity_state
WHERE kind = 'budget';

-- `rate` is how many times too fast the budget was used up over the long time of an alert; `verdict` is violated where the
-- alert fires.
CREATE VIEW probity_burn_rates AS
SELECT
    strftime('%Y-%m-%dT%H:%M:%SZ', window_to / 1000000, 'unixepoch') AS time,
    agreement,
    evidence ->> '$[0].data.budget' AS budget,
    evidence ->> '$[0].data.burn.alert' AS alert,
    evidence ->> '$[0].data.burn.severity' AS severity,
    evidence ->> '$[0].data.guarantee' AS guarantee,
    scope,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_from / 1000000, 'unixepoch') AS window_from,
    strftime('%Y-%m-%dT%H:%M:%SZ', window_to / 1000000, 'unixepoch') AS window_to,
    window_from_local,
    window_to_local,
    value AS rate,
    CAST(metric_values ->> 'used_least' AS REAL) AS rate_least,
    CAST(metric_values ->> 'used_most' AS REAL) AS rate_most,
    CAST(metric_values ->> 'short' AS REAL) AS short_rate,
    CAST(metric_values ->> 'above' AS REAL) AS above,
    verdict,
    evidence ->> '$[0].data.unwaived' AS unwaived,
    CAST(coverage ->> 'seen' AS REAL) / nullif(CAST(coverage ->> 'expected' AS REAL), 0) AS coverage,
    revision,
    run,
    reason,
    strftime('%Y-%m-%dT%H:%M:%SZ', recorded_at / 1000000, 'unixepoch') AS recorded_at
FROM probity_state
WHERE kind = 'burn-rate';

-- `budget` is what is left of the guarantee's budget in the period that the window counts in, the first to end; of
-- several budgets the least.
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
    strftime('%Y-%m-%dT%H:%M:%SZ', recorded_at / 1000000, 'unixepoch') AS recorded_at,
    (
        SELECT min(remaining)
        FROM (
            SELECT period.value AS remaining, min(period.window_to)
            FROM probity_state AS period
            WHERE period.kind = 'budget'
                AND period.agreement = judged.agreement
                AND period.window_to >= judged.window_to
                AND period.window_from < judged.window_to
                AND period.scope = judged.scope
                AND period.evidence ->> '$[0].data.guarantee' = judged.of_id
            GROUP BY period.of_id
        )
    ) AS budget
FROM probity_state AS judged
WHERE kind = 'guarantee';

-- As before.
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

-- As before.
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
