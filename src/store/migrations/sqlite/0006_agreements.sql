-- As in Postgres: each commit for an agreement, and each change of its waivers, raises its turn in the same transaction.
CREATE TABLE probity_turn (
    agreement TEXT PRIMARY KEY,
    turn INTEGER NOT NULL
) WITHOUT ROWID;

-- States of ranges that are no window of their agreement.
CREATE TABLE probity_aside (
    key BLOB PRIMARY KEY,
    agreement TEXT NOT NULL,
    window_to INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    state TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX aside_by_agreement ON probity_aside (agreement, window_to);

-- The last good version of a document that another source holds, for a process that starts while it is broken.
CREATE TABLE probity_good (
    source TEXT NOT NULL,
    key TEXT NOT NULL,
    document TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (source, key)
) WITHOUT ROWID;
