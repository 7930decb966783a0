-- Error budgets and burn rates are states of their own; their figures are their evidence.

-- Partitions made as copies hold the old rules as their own.
DO $$
DECLARE
    found record;
BEGIN
    ALTER TABLE probity.state DROP CONSTRAINT state_kind_check;
    ALTER TABLE probity.state DROP CONSTRAINT state_check;
    FOR found IN
        SELECT c.conrelid::regclass AS partition, c.conname AS rule
        FROM pg_constraint AS c JOIN pg_inherits AS i ON i.inhrelid = c.conrelid
        WHERE i.inhparent = 'probity.state'::regclass AND c.conname IN ('state_kind_check', 'state_check')
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.partition, found.rule);
    END LOOP;
END
$$;
ALTER TABLE probity.state
    ADD CONSTRAINT state_kind_check CHECK (kind IN ('guarantee', 'metric', 'budget', 'burn-rate')),
    ADD CONSTRAINT state_check CHECK ((kind = 'metric') = (verdict IS NULL));
CREATE INDEX state_budget ON probity.state (agreement, window_to) WHERE kind = 'budget';

-- `remaining` is the share of the budget that is left, below 0 when it is exceeded; `used_least` and `used_most` bound
-- the share used up where windows are not known. Whole counts are of windows, or of events where the budget counts them.
CREATE VIEW probity.budgets AS
SELECT
    window_to AS "time",
    agreement,
    of_id AS budget,
    evidence -> 0 -> 'data' ->> 'guarantee' AS guarantee,
    scope,
    window_from,
    window_to,
    window_from_local,
    window_to_local,
    value AS remaining,
    (metric_values ->> 'used')::double precision AS used,
    (metric_values ->> 'used_least')::double precision AS used_least,
    (metric_values ->> 'used_most')::double precision AS used_most,
    (metric_values ->> 'used_unwaived')::double precision AS used_unwaived,
    (metric_values ->> 'good')::double precision AS good,
    (metric_values ->> 'bad')::double precision AS bad,
    (metric_values ->> 'waived')::double precision AS waived,
    (metric_values ->> 'unknown_windows')::double precision AS unknown_windows,
    (metric_values ->> 'pending_windows')::double precision AS pending_windows,
    evidence -> 0 -> 'data' ->> 'target' AS target,
    verdict,
    evidence -> 0 -> 'data' ->> 'unwaived' AS unwaived,
    (coverage ->> 'seen')::double precision / nullif((coverage ->> 'expected')::double precision, 0) AS coverage,
    provisional,
    revision,
    run,
    score_numerator,
    score_denominator,
    reason,
    recorded_at
FROM probity.state
WHERE kind = 'budget';

-- `rate` is how many times too fast the budget was used up over the long time of an alert; `verdict` is violated where the
-- alert fires.
CREATE VIEW probity.burn_rates AS
SELECT
    window_to AS "time",
    agreement,
    evidence -> 0 -> 'data' ->> 'budget' AS budget,
    evidence -> 0 -> 'data' -> 'burn' ->> 'alert' AS alert,
    evidence -> 0 -> 'data' -> 'burn' ->> 'severity' AS severity,
    evidence -> 0 -> 'data' ->> 'guarantee' AS guarantee,
    scope,
    window_from,
    window_to,
    window_from_local,
    window_to_local,
    value AS rate,
    (metric_values ->> 'used_least')::double precision AS rate_least,
    (metric_values ->> 'used_most')::double precision AS rate_most,
    (metric_values ->> 'short')::double precision AS short_rate,
    (metric_values ->> 'above')::double precision AS above,
    verdict,
    evidence -> 0 -> 'data' ->> 'unwaived' AS unwaived,
    (coverage ->> 'seen')::double precision / nullif((coverage ->> 'expected')::double precision, 0) AS coverage,
    revision,
    run,
    reason,
    recorded_at
FROM probity.state
WHERE kind = 'burn-rate';

-- `budget` is what is left of the guarantee's budget in the period that the window counts in, the first to end; of
-- several budgets the least.
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
    recorded_at,
    (
        SELECT min(remaining)
        FROM (
            SELECT DISTINCT ON (period.of_id) period.value AS remaining
            FROM probity.state AS period
            WHERE period.kind = 'budget'
                AND period.agreement = judged.agreement
                AND period.window_to >= judged.window_to
                AND period.window_from < judged.window_to
                AND period.scope = judged.scope
                AND period.evidence -> 0 -> 'data' ->> 'guarantee' = judged.of_id
            ORDER BY period.of_id, period.window_to
        ) AS budgets
    ) AS budget
FROM probity.state AS judged
WHERE kind = 'guarantee';
