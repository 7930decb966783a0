-- As in Postgres: each commit for an agreement, and each change of its waivers, raises its turn in the same transaction.
CREATE TABLE probity_turn (
    agreement TEXT PRIMARY KEY,
    turn INTEGER NOT NULL
) WITHOUT ROWID;
