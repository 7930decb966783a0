-- Points of one lease are numbered: one that arrives after a later one, because the line was broken meanwhile, is old.
ALTER TABLE probity.queue ADD COLUMN point_number bigint NOT NULL DEFAULT 0;
