-- Values of flows' contexts that are kept over restarts, as JSON texts. `number`: the order in which the keys of a scope
-- were first set; `bytes`: of key and value.
CREATE TABLE probity_context_value (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    store TEXT NOT NULL,
    tenant TEXT NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    UNIQUE (store, tenant, scope, key)
);

-- Limits of messages per time: when the places that are taken become free, in milliseconds since 1970 (a JSON list), and
-- when all of them are.
CREATE TABLE probity_rate_limit (
    id TEXT NOT NULL PRIMARY KEY,
    taken TEXT NOT NULL,
    free_at REAL NOT NULL
) WITHOUT ROWID;
