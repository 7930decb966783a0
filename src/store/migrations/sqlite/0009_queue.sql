-- Durable runs that have not ended, keys of requests, and paused flows. docs/durability.md has the state machine.
-- Instants are microseconds since 1970-01-01T00:00:00Z, to the millisecond (what SQLite's own clock gives).
CREATE TABLE probity_queue (
    id TEXT NOT NULL PRIMARY KEY,
    flow TEXT NOT NULL,
    node TEXT NOT NULL,
    flow_version TEXT NOT NULL,
    "trigger" TEXT NOT NULL,
    msg TEXT NOT NULL,
    point TEXT,
    effects TEXT,
    reply INTEGER NOT NULL CHECK (reply IN (0, 1)),
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),
    tenant TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'leased', 'in-doubt', 'dead')),
    attempt INTEGER NOT NULL,
    -- The fencing token: grows with each lease, and who writes must name it.
    lease_epoch INTEGER NOT NULL,
    lease_owner TEXT,
    -- Queued: may be leased from then on. Leased: until then. In doubt, dead: since then.
    ready_at INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    decision TEXT CHECK (decision IN ('again', 'skip')),
    cancel_wanted INTEGER NOT NULL DEFAULT 0 CHECK (cancel_wanted IN (0, 1)),
    error TEXT,
    dedup BLOB
);
-- With the flow, so that runs of paused flows are stepped over without being read.
CREATE INDEX probity_queue_ready ON probity_queue (priority DESC, ready_at, id, flow) WHERE state IN ('queued', 'leased');
CREATE INDEX probity_queue_by_flow ON probity_queue (flow, state, ready_at);
CREATE INDEX probity_queue_for_people ON probity_queue (id) WHERE state IN ('in-doubt', 'dead');

-- Requests that are the same when they are made again: SHA-256 of the key, the run, and SHA-256 of what was asked.
-- `expires_at` is set when the run ends; what has expired is taken over or deleted in batches.
CREATE TABLE probity_dedup (
    key BLOB NOT NULL PRIMARY KEY,
    run TEXT NOT NULL,
    request BLOB NOT NULL,
    keep_ms INTEGER NOT NULL,
    expires_at INTEGER
) WITHOUT ROWID;
CREATE INDEX probity_dedup_expires ON probity_dedup (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE probity_flow_pause (
    flow TEXT NOT NULL PRIMARY KEY,
    paused_by TEXT NOT NULL,
    since INTEGER NOT NULL
) WITHOUT ROWID;
