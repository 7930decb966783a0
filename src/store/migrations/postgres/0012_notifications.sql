-- The last verdict for good of each guarantee and scope that somebody is told about.
CREATE TABLE probity.latest_verdict (
    series uuid PRIMARY KEY,
    window_to timestamptz NOT NULL,
    verdict text NOT NULL
);

-- Changes of verdicts that wait to be told, in the order they came.
CREATE TABLE probity.notification (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    channel text COLLATE "C" NOT NULL,
    changes json NOT NULL,
    recorded_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    leased_until timestamptz
);
CREATE INDEX notification_of_channel ON probity.notification (channel, number);
