-- Documents put by the API: agreements, templates, tasks. A change is a new row, whose `revision` is greater than any
-- before it; a removed document leaves a row without a document, so that the greatest revision never falls.
-- `document` is kept verbatim.
CREATE TABLE probity.document (
    revision bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('agreement', 'template', 'task')),
    id text COLLATE "C" NOT NULL,
    document json,
    put_at timestamptz NOT NULL,
    put_by text NOT NULL,
    UNIQUE (kind, id)
);
