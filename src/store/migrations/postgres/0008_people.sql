-- Logins to the Admin API; a token is never stored, only its SHA-256.
CREATE TABLE probity.session (
    token_hash text COLLATE "C" PRIMARY KEY,
    user_name text NOT NULL,
    client text NOT NULL,
    scope json NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX session_expires ON probity.session (expires_at);

-- What the editor keeps for each user.
CREATE TABLE probity.user_settings (
    user_name text COLLATE "C" PRIMARY KEY,
    settings json NOT NULL
);
