//! Values of contexts and places of rate limits in SQLite: the one writer holds the lock while a value is changed.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteStore, begin, release};
use crate::store::contexts::{
    ChangeValue, ContextChange, ContextChanged, ContextScope, Contexts, RateLimit, RatePlace, take_place,
};
use crate::store::{StoreError, during, stored};

async fn change_on(
    writer: &mut SqliteConnection,
    of: &ContextScope,
    key: &str,
    scope_bytes_max: u64,
    change: &mut ChangeValue<'_>,
) -> Result<ContextChanged, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let one: Option<(String, i64)> = sqlx::query_as(
        "SELECT value, bytes FROM probity_context_value WHERE store = ?1 AND tenant = ?2 AND scope = ?3 AND key = ?4",
    )
    .bind(&of.store)
    .bind(&of.tenant)
    .bind(&of.scope)
    .bind(key)
    .fetch_optional(&mut *tx)
    .await?;
    match change(one.as_ref().map(|(value, _)| value.as_str())) {
        ContextChange::Leave => {}
        ContextChange::Remove => {
            sqlx::query(
                "DELETE FROM probity_context_value WHERE store = ?1 AND tenant = ?2 AND scope = ?3 AND key = ?4",
            )
            .bind(&of.store)
            .bind(&of.tenant)
            .bind(&of.scope)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        }
        ContextChange::Put(text) => {
            let bytes = stored::count((key.len() + text.len()) as u64);
            let before = one.map_or(0, |(_, bytes)| bytes);
            // What does not grow needs no look at all the others.
            if bytes > before {
                let all: i64 = sqlx::query_scalar(
                    "SELECT coalesce(sum(bytes), 0) FROM probity_context_value \
                     WHERE store = ?1 AND tenant = ?2 AND scope = ?3",
                )
                .bind(&of.store)
                .bind(&of.tenant)
                .bind(&of.scope)
                .fetch_one(&mut *tx)
                .await?;
                let all = (all - before + bytes).unsigned_abs();
                if all > scope_bytes_max {
                    tx.rollback().await?;
                    return Ok(ContextChanged::Full { bytes: all });
                }
            }
            sqlx::query(
                "INSERT INTO probity_context_value (store, tenant, scope, key, value, bytes) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (store, tenant, scope, key) \
                 DO UPDATE SET value = excluded.value, bytes = excluded.bytes",
            )
            .bind(&of.store)
            .bind(&of.tenant)
            .bind(&of.scope)
            .bind(key)
            .bind(text)
            .bind(bytes)
            .execute(&mut *tx)
            .await?;
        }
    }
    tx.commit().await?;
    Ok(ContextChanged::Done)
}

async fn forget_on(writer: &mut SqliteConnection, gone: &[ContextScope], revision: i64) -> Result<bool, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let newest: i64 =
        sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM probity_flow_revision").fetch_one(&mut *tx).await?;
    if newest != revision {
        tx.rollback().await?;
        return Ok(false);
    }
    for of in gone {
        sqlx::query("DELETE FROM probity_context_value WHERE store = ? AND tenant = ? AND scope = ?")
            .bind(&of.store)
            .bind(&of.tenant)
            .bind(&of.scope)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn take_on(writer: &mut SqliteConnection, limit: &RateLimit) -> Result<RatePlace, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let now: f64 = sqlx::query_scalar("SELECT unixepoch('now', 'subsec') * 1000.0").fetch_one(&mut *tx).await?;
    let taken: Option<String> = sqlx::query_scalar("SELECT taken FROM probity_rate_limit WHERE id = ?")
        .bind(&limit.id)
        .fetch_optional(&mut *tx)
        .await?;
    let mut taken: Vec<f64> = taken.and_then(|taken| serde_json::from_str(&taken).ok()).unwrap_or_default();
    let place = take_place(&mut taken, limit, now);
    if matches!(place, RatePlace::FreeIn { .. }) {
        tx.rollback().await?;
        return Ok(place);
    }
    sqlx::query(
        "INSERT INTO probity_rate_limit (id, taken, free_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (id) DO UPDATE SET taken = excluded.taken, free_at = excluded.free_at",
    )
    .bind(&limit.id)
    .bind(serde_json::Value::from(taken.clone()).to_string())
    .bind(taken.iter().copied().fold(now, f64::max))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(place)
}

/// Forgets limits whose places are all free.
pub(super) async fn forget_free_limits(store: &SqliteStore) -> Result<(), sqlx::Error> {
    let mut writer = store.writer.acquire().await?;
    let done = sqlx::query("DELETE FROM probity_rate_limit WHERE free_at < unixepoch('now', 'subsec') * 1000.0")
        .execute(&mut *writer)
        .await;
    release(writer, done).await.map(drop)
}

#[async_trait]
impl Contexts for SqliteStore {
    async fn context_value(&self, of: &ContextScope, key: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT value FROM probity_context_value WHERE store = ? AND tenant = ? AND scope = ? AND key = ?",
        )
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .bind(key)
        .fetch_optional(&self.readers)
        .await
        .map_err(during("read a context"))
    }

    async fn context_values(&self, of: &ContextScope) -> Result<Vec<(String, String)>, StoreError> {
        sqlx::query_as(
            "SELECT key, value FROM probity_context_value WHERE store = ? AND tenant = ? AND scope = ? ORDER BY number",
        )
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .fetch_all(&self.readers)
        .await
        .map_err(during("read a context"))
    }

    async fn context_keys(&self, of: &ContextScope) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT key FROM probity_context_value WHERE store = ? AND tenant = ? AND scope = ? ORDER BY number",
        )
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .fetch_all(&self.readers)
        .await
        .map_err(during("read a context"))
    }

    async fn change_context(
        &self,
        of: &ContextScope,
        key: &str,
        scope_bytes_max: u64,
        change: &mut ChangeValue<'_>,
    ) -> Result<ContextChanged, StoreError> {
        let failed = "change a context";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = change_on(&mut writer, of, key, scope_bytes_max, change).await;
        release(writer, done).await.map_err(during(failed))
    }

    async fn context_scopes(&self) -> Result<BTreeSet<ContextScope>, StoreError> {
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT DISTINCT store, tenant, scope FROM probity_context_value")
                .fetch_all(&self.readers)
                .await
                .map_err(during("list contexts"))?;
        Ok(rows.into_iter().map(|(store, tenant, scope)| ContextScope { store, tenant, scope }).collect())
    }

    async fn forget_contexts(&self, gone: &[ContextScope], revision: i64) -> Result<bool, StoreError> {
        let failed = "forget contexts";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = forget_on(&mut writer, gone, revision).await;
        release(writer, done).await.map_err(during(failed))
    }

    async fn take_rate_place(&self, limit: &RateLimit) -> Result<RatePlace, StoreError> {
        let failed = "take a place of a rate limit";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = take_on(&mut writer, limit).await;
        release(writer, done).await.map_err(during(failed))
    }

    async fn free_rate_places(&self, id: &str) -> Result<(), StoreError> {
        let failed = "free the places of a rate limit";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = sqlx::query("DELETE FROM probity_rate_limit WHERE id = ?").bind(id).execute(&mut *writer).await;
        release(writer, done).await.map(drop).map_err(during(failed))
    }
}
