-- Durable runs that have not ended, keys of requests, and paused flows. docs/durability.md has the state machine.
--
-- One row a run: it is inserted, updated when it is leased, and deleted when it ends, all within moments as a rule. So
-- the table is small and changes all the time: pages are left room, and what is dead is cleaned up early and without
-- pauses. It is no partitioned table: what ends is deleted one by one, so no partition could be dropped.
CREATE TABLE probity.queue (
    id uuid PRIMARY KEY,
    flow text NOT NULL,
    node text NOT NULL,
    flow_version text NOT NULL,
    trigger json NOT NULL,
    -- JSON texts; nobody asks the database what is in them.
    msg text NOT NULL,
    point text,
    effects text,
    reply boolean NOT NULL,
    priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 2),
    tenant text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'leased', 'in-doubt', 'dead')),
    attempt integer NOT NULL,
    -- The fencing token: grows with each lease, and who writes must name it.
    lease_epoch bigint NOT NULL,
    lease_owner text,
    -- Queued: may be leased from then on. Leased: until then. In doubt, dead: since then.
    ready_at timestamptz NOT NULL,
    accepted_at timestamptz NOT NULL,
    decision text CHECK (decision IN ('again', 'skip')),
    cancel_wanted boolean NOT NULL DEFAULT false,
    error text,
    dedup bytea
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_threshold = 20000,
    autovacuum_analyze_threshold = 5000,
    autovacuum_analyze_scale_factor = 0.1,
    autovacuum_vacuum_cost_delay = 0,
    -- Giving back the empty end of the file locks everybody out for a moment.
    vacuum_truncate = false
);
CREATE INDEX queue_ready ON probity.queue (priority, ready_at) WHERE state IN ('queued', 'leased');
-- When flows are paused or at their limits, the others' runs are found without stepping over theirs.
CREATE INDEX queue_ready_by_flow ON probity.queue (flow, priority, ready_at) WHERE state IN ('queued', 'leased');
CREATE INDEX queue_for_people ON probity.queue (id) WHERE state IN ('in-doubt', 'dead');

-- Requests that are the same when they are made again: SHA-256 of the key, the run, and SHA-256 of what was asked.
-- `expires_at` is set when the run ends; what has expired is taken over or deleted in batches.
CREATE TABLE probity.dedup (
    key bytea PRIMARY KEY,
    run uuid NOT NULL,
    request bytea NOT NULL,
    keep_ms bigint NOT NULL,
    expires_at timestamptz
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX dedup_expires ON probity.dedup (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE probity.flow_pause (
    flow text PRIMARY KEY,
    paused_by text NOT NULL,
    since timestamptz NOT NULL
);
