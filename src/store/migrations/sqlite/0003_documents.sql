-- Documents put by the API: agreements, templates, tasks. A change is a new row, whose `revision` is greater than any
-- before it; a removed document leaves a row without a document, so that the greatest revision never falls.
CREATE TABLE probity_document (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('agreement', 'template', 'task')),
    id TEXT NOT NULL,
    document TEXT,
    put_at INTEGER NOT NULL,
    put_by TEXT NOT NULL,
    UNIQUE (kind, id)
);
