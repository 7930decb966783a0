-- Values of flows' contexts that all replicas share, as JSON texts: jsonb would sort their properties anew.
CREATE TABLE probity.context_value (
    store text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- The order in which the keys of a scope were first set.
    number bigint GENERATED ALWAYS AS IDENTITY,
    value text NOT NULL,
    -- Of key and value.
    bytes bigint NOT NULL,
    PRIMARY KEY (store, tenant, scope, key)
) WITH (fillfactor = 70);

-- Limits of messages per time that hold for all replicas: when the places that are taken become free, in milliseconds since
-- 1970 by this server's clock, and when all of them are.
CREATE TABLE probity.rate_limit (
    id text COLLATE "C" PRIMARY KEY,
    taken double precision[] NOT NULL,
    free_at double precision NOT NULL
) WITH (fillfactor = 50);
