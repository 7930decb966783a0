-- Many replicas: firings are leased by the database's clock, flows have numbered revisions.

-- A claim is leased by one process until an instant; each lease has the next epoch, and only who holds the newest one
-- completes the claim. Claims from before have no lease: they can be taken up at once.
ALTER TABLE probity.claim
    ADD COLUMN how text COLLATE "C" CHECK (how IN ('live', 'first', 'missed')),
    ADD COLUMN started_at timestamptz,
    ADD COLUMN ended_at timestamptz,
    ADD COLUMN overlapping boolean NOT NULL DEFAULT false,
    ADD COLUMN lease_owner text,
    ADD COLUMN lease_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN lease_until timestamptz NOT NULL DEFAULT '-infinity';

-- What one replica at a time does.
CREATE TABLE probity.duty (
    name text COLLATE "C" PRIMARY KEY,
    owner text NOT NULL,
    until timestamptz NOT NULL
);

-- The flows as they were deployed, one after another. The text is the flow file's; credentials are encrypted as in
-- the file of credentials.
CREATE TABLE probity.flow_revision (
    number bigint PRIMARY KEY CHECK (number >= 1),
    hash text COLLATE "C" NOT NULL,
    author text NOT NULL,
    action text NOT NULL,
    at timestamptz NOT NULL,
    flows text NOT NULL,
    credentials text
);
CREATE INDEX flow_revision_by_hash ON probity.flow_revision (hash, number);
