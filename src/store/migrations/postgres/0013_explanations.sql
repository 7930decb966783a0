-- Three more views for Grafana: from one cell of a dashboard to what was said of its window, by which evidence, in which
-- run. What came from outside stays text, word for word: `json` may hold what `jsonb` cannot.

-- Every revision of a verdict; `latest` is the one that stands.
CREATE VIEW probity.explanations AS
SELECT
    window_to AS "time",
    agreement,
    of_id AS guarantee,
    scope,
    window_from,
    window_to,
    window_from_local,
    window_to_local,
    latest,
    revision,
    verdict,
    value,
    metric_values AS "values",
    reason,
    (coverage ->> 'seen')::double precision / nullif((coverage ->> 'expected')::double precision, 0) AS coverage,
    waiver,
    provisional,
    agreement_version,
    recorded_at,
    run
FROM (
    SELECT true AS latest, window_from, window_to, window_from_local, window_to_local, agreement, kind, of_id, scope,
        revision, verdict, value, metric_values, reason, coverage, waiver, provisional, agreement_version, recorded_at, run
    FROM probity.state
    UNION ALL
    SELECT false, window_from, window_to, window_from_local, window_to_local, agreement, kind, of_id, scope,
        revision, verdict, value, metric_values, reason, coverage, waiver, provisional, agreement_version, recorded_at, run
    FROM probity.state_revision
) AS said
WHERE kind = 'guarantee';

-- One row for each piece of evidence of the verdicts that stand.
CREATE VIEW probity.evidence AS
SELECT
    state.window_to AS "time",
    state.agreement,
    state.of_id AS guarantee,
    state.scope,
    state.window_from,
    state.window_to,
    state.window_from_local,
    state.window_to_local,
    true AS latest,
    state.revision,
    piece.value ->> 'metric' AS metric,
    piece.value ->> 'source' AS source,
    piece.value ->> 'collected_at' AS collected_at,
    (piece.value -> 'data')::text AS data,
    state.run
FROM probity.state AS state
CROSS JOIN LATERAL json_array_elements(state.evidence) WITH ORDINALITY AS piece (value, place)
WHERE state.kind = 'guarantee';

-- Ended runs, without what went through them: that is on the run's own page, for who may log in there. `id` begins with
-- the instant of the opening: who asks for a time asks for `id` between two `run_bound`s as well, and reads few days.
CREATE VIEW probity.runs AS
SELECT
    id,
    subject,
    trigger_kind AS trigger,
    state,
    started_at,
    ended_at,
    extract(epoch FROM ended_at - started_at)::double precision AS seconds,
    version,
    hops,
    error::text AS error,
    trace_dropped
FROM probity.run;
