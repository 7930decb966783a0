//! Logins and users' editor settings, in Postgres.

use jiff::Timestamp;
use serde_json::Value as Json;
use sqlx::Row;
use sqlx::postgres::PgPool;

use super::instant::Instant;
use crate::store::session::Session;
use crate::store::{StoreError, during, stored};

pub(super) async fn add_session(pool: &PgPool, session: &Session, now: Timestamp) -> Result<(), StoreError> {
    let failed = "store a login";
    sqlx::query("DELETE FROM probity.session WHERE expires_at <= $1")
        .bind(Instant(now))
        .execute(pool)
        .await
        .map_err(during(failed))?;
    sqlx::query(
        "INSERT INTO probity.session (token_hash, user_name, client, scope, expires_at) \
         VALUES ($1, $2, $3, $4::text::json, $5)",
    )
    .bind(&session.token_hash)
    .bind(stored::text(&session.user))
    .bind(stored::text(&session.client))
    .bind(stored::json(&session.scope))
    .bind(Instant(session.expires_at))
    .execute(pool)
    .await
    .map_err(during(failed))?;
    Ok(())
}

pub(super) async fn session(pool: &PgPool, token_hash: &str) -> Result<Option<Session>, StoreError> {
    let failed = "look up a login";
    let row = sqlx::query(
        "SELECT user_name, client, scope::text AS scope, expires_at FROM probity.session WHERE token_hash = $1",
    )
    .bind(token_hash)
    .fetch_optional(pool)
    .await
    .map_err(during(failed))?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Session {
        token_hash: token_hash.to_owned(),
        user: row.try_get("user_name").map_err(during(failed))?,
        client: row.try_get("client").map_err(during(failed))?,
        scope: stored::read_json("scope of a login", row.try_get("scope").map_err(during(failed))?)?,
        expires_at: row.try_get::<Instant, _>("expires_at").map_err(during(failed))?.0,
    }))
}

pub(super) async fn end_session(pool: &PgPool, token_hash: &str) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM probity.session WHERE token_hash = $1")
        .bind(token_hash)
        .execute(pool)
        .await
        .map_err(during("end a login"))?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn user_settings(pool: &PgPool, user: &str) -> Result<Option<Json>, StoreError> {
    let text: Option<String> =
        sqlx::query_scalar("SELECT settings::text FROM probity.user_settings WHERE user_name = $1")
            .bind(stored::text(user))
            .fetch_optional(pool)
            .await
            .map_err(during("read a user's settings"))?;
    text.map(|text| stored::read_json("settings of a user", &text)).transpose()
}

pub(super) async fn put_user_settings(pool: &PgPool, user: &str, settings: &Json) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO probity.user_settings (user_name, settings) VALUES ($1, $2::text::json) \
         ON CONFLICT (user_name) DO UPDATE SET settings = excluded.settings",
    )
    .bind(stored::text(user))
    .bind(stored::json(settings))
    .execute(pool)
    .await
    .map_err(during("store a user's settings"))?;
    Ok(())
}
