-- Who reads verdicts and waivers to judge anew stores only if nobody else did meanwhile: each commit for an agreement,
-- and each change of its waivers, raises its turn in the same transaction.
CREATE TABLE probity.turn (
    agreement text COLLATE "C" PRIMARY KEY,
    turn bigint NOT NULL
);

-- States of ranges that were asked for once and are no window of their agreement: for who asks for the same range again,
-- and counted in no view.
CREATE TABLE probity.aside (
    key uuid PRIMARY KEY,
    agreement text COLLATE "C" NOT NULL,
    window_to timestamptz NOT NULL,
    revision integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    state json NOT NULL
);
CREATE INDEX aside_by_agreement ON probity.aside (agreement, window_to);

-- The last good version of a document that another source holds, for a process that starts while it is broken.
CREATE TABLE probity.good (
    source text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    document json NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (source, key)
);
