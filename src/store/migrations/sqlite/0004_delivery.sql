-- States that somebody else is to be told of, in the order of `id`; those of one commit share a group, and stay until all
-- of it was told. `sent` of them, from the front, were told. Who tells them holds them until `leased_until`; when nobody
-- came to an end, it says that somebody tried.
CREATE TABLE probity_delivery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    "group" BLOB NOT NULL,
    states TEXT NOT NULL,
    count INTEGER NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    last INTEGER NOT NULL CHECK (last IN (0, 1)),
    done INTEGER NOT NULL DEFAULT 0 CHECK (done IN (0, 1)),
    recorded_at INTEGER NOT NULL,
    leased_until INTEGER
);
CREATE INDEX probity_delivery_open ON probity_delivery (id) WHERE NOT done;
CREATE INDEX probity_delivery_by_group ON probity_delivery ("group");
