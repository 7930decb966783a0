-- The last verdict for good of each guarantee and scope that somebody is told about. Instants are microseconds.
CREATE TABLE probity_latest_verdict (
    series BLOB PRIMARY KEY,
    window_to INTEGER NOT NULL,
    verdict TEXT NOT NULL
) STRICT;

-- Changes of verdicts that wait to be told, in the order they came.
CREATE TABLE probity_notification (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    channel TEXT NOT NULL,
    changes TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL,
    leased_until INTEGER
) STRICT;
CREATE INDEX probity_notification_of_channel ON probity_notification (channel, number);
