-- A verdict that is waived no more because other evidence came was not changed by its waiver.
DROP VIEW probity_corrections;

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
        WHEN (after.waiver ->> 'id') IS NOT (before.waiver ->> 'id') AND after.inputs IS before.inputs THEN 'waiver'
        ELSE 'evidence'
    END AS because,
    strftime('%Y-%m-%dT%H:%M:%SZ', before.recorded_at / 1000000, 'unixepoch') AS known_before,
    after.reason,
    after.run
FROM (
    SELECT key, agreement, of_id, scope, window_from, window_to, window_from_local, window_to_local, revision, verdict,
        value, agreement_version, waiver, inputs, reason, run, recorded_at
    FROM probity_state WHERE revision > 1 AND kind = 'guarantee'
    UNION ALL
    SELECT key, agreement, of_id, scope, window_from, window_to, window_from_local, window_to_local, revision, verdict,
        value, agreement_version, waiver, inputs, reason, run, recorded_at
    FROM probity_state_revision WHERE revision > 1 AND kind = 'guarantee'
) AS after
JOIN probity_state_revision AS before ON before.key = after.key AND before.revision = after.revision - 1
WHERE NOT before.provisional;
