-- Who reads verdicts and waivers to judge anew stores only if nobody else did meanwhile: each commit for an agreement,
-- and each change of its waivers, raises its turn in the same transaction.
CREATE TABLE probity.turn (
    agreement text COLLATE "C" PRIMARY KEY,
    turn bigint NOT NULL
);
