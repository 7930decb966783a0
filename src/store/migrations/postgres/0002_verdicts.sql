-- Waivers, exact scores, penalties, provenance, corrections.

-- With what states were made. `id` is a hash of the rest.
CREATE TABLE probity.provenance (
    id uuid PRIMARY KEY,
    engine text NOT NULL,
    time_zones text NOT NULL,
    flows text,
    plugins json NOT NULL
);

ALTER TABLE probity.state DROP CONSTRAINT state_verdict_check;
ALTER TABLE probity.state
    ADD COLUMN score_numerator bigint,
    ADD COLUMN score_denominator bigint,
    ADD COLUMN penalties jsonb,
    ADD COLUMN rewards jsonb,
    ADD COLUMN waiver jsonb,
    ADD COLUMN inputs bytea,
    ADD COLUMN provenance uuid,
    ADD CONSTRAINT state_verdict_check
        CHECK (verdict IN ('fulfilled', 'violated', 'unknown', 'waived', 'not-applicable')),
    ADD CONSTRAINT state_waiver_check CHECK ((verdict = 'waived') = (waiver IS NOT NULL));
-- The same columns in the same order: replaced rows are moved as they are.
ALTER TABLE probity.state_revision
    ADD COLUMN score_numerator bigint,
    ADD COLUMN score_denominator bigint,
    ADD COLUMN penalties jsonb,
    ADD COLUMN rewards jsonb,
    ADD COLUMN waiver jsonb,
    ADD COLUMN inputs bytea,
    ADD COLUMN provenance uuid;
CREATE INDEX state_waived ON probity.state (agreement, window_to, key) WHERE verdict = 'waived';
CREATE INDEX state_revised ON probity.state (recorded_at, key, revision) WHERE revision > 1;
CREATE INDEX state_revision_revised ON probity.state_revision (recorded_at, key, revision) WHERE revision > 1;

-- Waivers that are not in a document. One that was ended stays.
CREATE TABLE probity.waiver (
    agreement text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    guarantee text COLLATE "C",
    scope json NOT NULL,
    reason text NOT NULL,
    owner text NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz,
    expires timestamptz NOT NULL,
    ended_at timestamptz,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (agreement, id)
);

-- `unwaived` is the verdict as it is without a waiver, `waiver` {id, reason, owner, expires, verdict, penalties}.
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

-- Revisions that changed what had been said of a closed window. `time` is when the correction became known.
CREATE VIEW probity.corrections AS
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
JOIN probity.state_revision AS before ON before.key = after.key AND before.revision = after.revision - 1
WHERE NOT before.provisional;
