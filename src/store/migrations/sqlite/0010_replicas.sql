-- Many replicas: firings are leased by the database's clock, flows have numbered revisions.

-- A claim is leased by one process until an instant (milliseconds since 1970); each lease has the next epoch, and only
-- who holds the newest one completes the claim. Claims from before have no lease: they can be taken up at once.
ALTER TABLE probity_claim ADD COLUMN how TEXT CHECK (how IN ('live', 'first', 'missed'));
ALTER TABLE probity_claim ADD COLUMN started_at INTEGER;
ALTER TABLE probity_claim ADD COLUMN ended_at INTEGER;
ALTER TABLE probity_claim ADD COLUMN overlapping INTEGER NOT NULL DEFAULT 0;
ALTER TABLE probity_claim ADD COLUMN lease_owner TEXT;
ALTER TABLE probity_claim ADD COLUMN lease_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE probity_claim ADD COLUMN lease_until INTEGER NOT NULL DEFAULT 0;

-- What one replica at a time does; `until` in milliseconds since 1970.
CREATE TABLE probity_duty (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;

-- The flows as they were deployed, one after another. The text is the flow file's; credentials are encrypted as in
-- the file of credentials.
CREATE TABLE probity_flow_revision (
    number INTEGER NOT NULL PRIMARY KEY CHECK (number >= 1),
    hash TEXT NOT NULL,
    author TEXT NOT NULL,
    action TEXT NOT NULL,
    at INTEGER NOT NULL,
    flows TEXT NOT NULL,
    credentials TEXT
);
CREATE INDEX probity_flow_revision_by_hash ON probity_flow_revision (hash, number);
