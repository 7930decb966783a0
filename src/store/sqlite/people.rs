//! Logins and users' editor settings, in SQLite.

use jiff::Timestamp;
use serde_json::Value as Json;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use crate::store::session::Session;
use crate::store::{StoreError, during, stored};

pub(super) async fn add_session(writer: &SqlitePool, session: &Session, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM probity_session WHERE expires_at <= ?").bind(now.as_microsecond()).execute(writer).await?;
    sqlx::query("INSERT INTO probity_session (token_hash, user, client, scope, expires_at) VALUES (?, ?, ?, ?, ?)")
        .bind(&session.token_hash)
        .bind(stored::text(&session.user))
        .bind(stored::text(&session.client))
        .bind(stored::json(&session.scope))
        .bind(session.expires_at.as_microsecond())
        .execute(writer)
        .await?;
    Ok(())
}

pub(super) async fn session(pool: &SqlitePool, token_hash: &str) -> Result<Option<Session>, StoreError> {
    let failed = "look up a login";
    let row = sqlx::query("SELECT user, client, scope, expires_at FROM probity_session WHERE token_hash = ?")
        .bind(token_hash)
        .fetch_optional(pool)
        .await
        .map_err(during(failed))?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Session {
        token_hash: token_hash.to_owned(),
        user: row.try_get("user").map_err(during(failed))?,
        client: row.try_get("client").map_err(during(failed))?,
        scope: stored::read_json("scope of a login", row.try_get("scope").map_err(during(failed))?)?,
        expires_at: stored::read_instant("end of a login", row.try_get("expires_at").map_err(during(failed))?)?,
    }))
}

pub(super) async fn end_session(writer: &SqlitePool, token_hash: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("DELETE FROM probity_session WHERE token_hash = ?").bind(token_hash).execute(writer).await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn user_settings(pool: &SqlitePool, user: &str) -> Result<Option<Json>, StoreError> {
    let text: Option<String> = sqlx::query_scalar("SELECT settings FROM probity_user_settings WHERE user = ?")
        .bind(stored::text(user))
        .fetch_optional(pool)
        .await
        .map_err(during("read a user's settings"))?;
    text.map(|text| stored::read_json("settings of a user", &text)).transpose()
}

pub(super) async fn put_user_settings(writer: &SqlitePool, user: &str, settings: &Json) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO probity_user_settings (user, settings) VALUES (?, ?) \
         ON CONFLICT (user) DO UPDATE SET settings = excluded.settings",
    )
    .bind(stored::text(user))
    .bind(stored::json(settings))
    .execute(writer)
    .await?;
    Ok(())
}
