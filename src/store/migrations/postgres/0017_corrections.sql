-- A verdict that is waived no more because other evidence came was not changed by its waiver.
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
        WHEN (after.waiver ->> 'id') IS DISTINCT FROM (before.waiver ->> 'id')
            AND after.inputs IS NOT DISTINCT FROM before.inputs THEN 'waiver'
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
