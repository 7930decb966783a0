-- Points of one lease are numbered: one that arrives after a later one is old.
ALTER TABLE probity_queue ADD COLUMN point_number INTEGER NOT NULL DEFAULT 0;
