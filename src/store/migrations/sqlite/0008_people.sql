-- Logins to the Admin API; a token is never stored, only its SHA-256.
CREATE TABLE probity_session (
    token_hash TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    client TEXT NOT NULL,
    scope TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX probity_session_expires ON probity_session (expires_at);

-- What the editor keeps for each user.
CREATE TABLE probity_user_settings (
    user TEXT PRIMARY KEY,
    settings TEXT NOT NULL
) WITHOUT ROWID;
