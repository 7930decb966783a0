//! Values of contexts and places of rate limits in Postgres. A row is locked while it is changed; one that is not there yet
//! is made by the first, and the others begin anew.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::{Executor, Postgres};

use super::PostgresStore;
use crate::store::contexts::{
    ChangeValue, ContextChange, ContextChanged, ContextScope, Contexts, RateLimit, RatePlace, take_place,
};
use crate::store::{StoreError, during, stored};

/// Whether a value may be written: it does not grow (then all the others need not be looked at), or the scope has room.
/// `$1` to `$4` say which value, `$6` its bytes, `$7` those of the whole scope.
macro_rules! has_room {
    () => {
        "$6 <= coalesce((SELECT bytes FROM probity.context_value \
                         WHERE store = $1 AND tenant = $2 AND scope = $3 AND key = $4), 0) \
         OR (SELECT coalesce(sum(bytes), 0) FROM probity.context_value \
             WHERE store = $1 AND tenant = $2 AND scope = $3 AND key <> $4) + $6 <= $7"
    };
}

const NOW_MS: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::double precision";

impl PostgresStore {
    /// Bytes that a scope would have with a value.
    async fn bytes_with(&self, of: &ContextScope, key: &str, bytes: i64) -> Result<u64, sqlx::Error> {
        let others: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(bytes), 0)::bigint FROM probity.context_value \
             WHERE store = $1 AND tenant = $2 AND scope = $3 AND key <> $4",
        )
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .bind(key)
        .fetch_one(&self.pool)
        .await?;
        Ok((others + bytes).unsigned_abs())
    }

    async fn try_put_context(
        &self,
        of: &ContextScope,
        key: &str,
        scope_bytes_max: u64,
        value: Option<&str>,
    ) -> Result<ContextChanged, sqlx::Error> {
        let Some(text) = value else {
            remove(&self.pool, of, key).await?;
            return Ok(ContextChanged::Done);
        };
        let bytes = stored::count((key.len() + text.len()) as u64);
        let put = sqlx::query(concat!(
            "INSERT INTO probity.context_value (store, tenant, scope, key, value, bytes) \
             SELECT $1, $2, $3, $4, $5, $6 WHERE ",
            has_room!(),
            " ON CONFLICT (store, tenant, scope, key) DO UPDATE SET value = excluded.value, bytes = excluded.bytes",
        ))
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .bind(key)
        .bind(text)
        .bind(bytes)
        .bind(stored::count(scope_bytes_max))
        .execute(&self.pool)
        .await?;
        match put.rows_affected() {
            0 => Ok(ContextChanged::Full { bytes: self.bytes_with(of, key, bytes).await? }),
            _ => Ok(ContextChanged::Done),
        }
    }

    /// `None` when another made the value that was not there: to be tried again.
    async fn try_change_context(
        &self,
        of: &ContextScope,
        key: &str,
        scope_bytes_max: u64,
        change: &mut ChangeValue<'_>,
    ) -> Result<Option<ContextChanged>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let before: Option<String> = sqlx::query_scalar(
            "SELECT value FROM probity.context_value \
             WHERE store = $1 AND tenant = $2 AND scope = $3 AND key = $4 FOR UPDATE",
        )
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .bind(key)
        .fetch_optional(&mut *tx)
        .await?;
        let text = match change(before.as_deref()) {
            ContextChange::Leave => {
                tx.rollback().await?;
                return Ok(Some(ContextChanged::Done));
            }
            ContextChange::Remove => {
                remove(&mut *tx, of, key).await?;
                tx.commit().await?;
                return Ok(Some(ContextChanged::Done));
            }
            ContextChange::Put(text) => text,
        };
        let bytes = stored::count((key.len() + text.len()) as u64);
        let write = match before {
            Some(_) => sqlx::query(concat!(
                "UPDATE probity.context_value SET value = $5, bytes = $6 \
                 WHERE store = $1 AND tenant = $2 AND scope = $3 AND key = $4 AND (",
                has_room!(),
                ")",
            )),
            None => sqlx::query(concat!(
                "INSERT INTO probity.context_value (store, tenant, scope, key, value, bytes) \
                 SELECT $1, $2, $3, $4, $5, $6 WHERE ",
                has_room!(),
                " ON CONFLICT DO NOTHING",
            )),
        };
        let written = write
            .bind(&of.store)
            .bind(&of.tenant)
            .bind(&of.scope)
            .bind(key)
            .bind(text)
            .bind(bytes)
            .bind(stored::count(scope_bytes_max))
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if written > 0 {
            tx.commit().await?;
            return Ok(Some(ContextChanged::Done));
        }
        // At once: dropped, it would be rolled back when the connection is used next.
        tx.rollback().await?;
        let all = self.bytes_with(of, key, bytes).await?;
        Ok((all > scope_bytes_max).then_some(ContextChanged::Full { bytes: all }))
    }

    /// `None` when another made the limit that was not there: to be tried again.
    async fn try_take_rate_place(&self, limit: &RateLimit) -> Result<Option<RatePlace>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let found: Option<Vec<f64>> =
            sqlx::query_scalar("SELECT taken FROM probity.rate_limit WHERE id = $1 FOR UPDATE")
                .bind(&limit.id)
                .fetch_optional(&mut *tx)
                .await?;
        // Asked once the lock is held: whoever had it before has taken its place by then.
        let now: f64 = sqlx::query_scalar(NOW_MS).fetch_one(&mut *tx).await?;
        let is_new = found.is_none();
        let mut taken = found.unwrap_or_default();
        let place = take_place(&mut taken, limit, now);
        if matches!(place, RatePlace::FreeIn { .. }) {
            tx.rollback().await?;
            return Ok(Some(place));
        }
        let free_at = taken.iter().copied().fold(now, f64::max);
        let write = match is_new {
            false => sqlx::query("UPDATE probity.rate_limit SET taken = $2, free_at = $3 WHERE id = $1"),
            true => sqlx::query(
                "INSERT INTO probity.rate_limit (id, taken, free_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            ),
        };
        let written = write.bind(&limit.id).bind(&taken).bind(free_at).execute(&mut *tx).await?.rows_affected();
        match written {
            0 => tx.rollback().await?,
            _ => tx.commit().await?,
        }
        Ok((written > 0).then_some(place))
    }
}

async fn remove<'e>(
    executor: impl Executor<'e, Database = Postgres>,
    of: &ContextScope,
    key: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM probity.context_value WHERE store = $1 AND tenant = $2 AND scope = $3 AND key = $4")
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .bind(key)
        .execute(executor)
        .await
        .map(drop)
}

/// Forgets limits whose places are all free.
pub(super) async fn forget_free_limits(pool: &sqlx::PgPool) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM probity.rate_limit WHERE free_at < (extract(epoch FROM clock_timestamp()) * 1000)")
        .execute(pool)
        .await
        .map(drop)
        .map_err(during("forget rate limits"))
}

#[async_trait]
impl Contexts for PostgresStore {
    async fn context_value(&self, of: &ContextScope, key: &str) -> Result<Option<String>, StoreError> {
        let failed = "read a context";
        let value = sqlx::query_scalar(
            "SELECT value FROM probity.context_value WHERE store = $1 AND tenant = $2 AND scope = $3 AND key = $4",
        )
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .bind(key)
        .fetch_optional(&self.pool);
        self.within(failed, async { value.await.map_err(during(failed)) }).await
    }

    async fn context_values(&self, of: &ContextScope) -> Result<Vec<(String, String)>, StoreError> {
        let failed = "read a context";
        let values = sqlx::query_as(
            "SELECT key, value FROM probity.context_value WHERE store = $1 AND tenant = $2 AND scope = $3 \
             ORDER BY number",
        )
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .fetch_all(&self.pool);
        self.within(failed, async { values.await.map_err(during(failed)) }).await
    }

    async fn context_keys(&self, of: &ContextScope) -> Result<Vec<String>, StoreError> {
        let failed = "read a context";
        let keys = sqlx::query_scalar(
            "SELECT key FROM probity.context_value WHERE store = $1 AND tenant = $2 AND scope = $3 ORDER BY number",
        )
        .bind(&of.store)
        .bind(&of.tenant)
        .bind(&of.scope)
        .fetch_all(&self.pool);
        self.within(failed, async { keys.await.map_err(during(failed)) }).await
    }

    async fn change_context(
        &self,
        of: &ContextScope,
        key: &str,
        scope_bytes_max: u64,
        change: &mut ChangeValue<'_>,
    ) -> Result<ContextChanged, StoreError> {
        let failed = "change a context";
        self.within(failed, async {
            loop {
                let tried = self.try_change_context(of, key, scope_bytes_max, change).await.map_err(during(failed))?;
                if let Some(changed) = tried {
                    return Ok(changed);
                }
            }
        })
        .await
    }

    async fn put_context(
        &self,
        of: &ContextScope,
        key: &str,
        scope_bytes_max: u64,
        value: Option<String>,
    ) -> Result<ContextChanged, StoreError> {
        let failed = "change a context";
        let put = self.try_put_context(of, key, scope_bytes_max, value.as_deref());
        self.within(failed, async { put.await.map_err(during(failed)) }).await
    }

    async fn context_scopes(&self) -> Result<BTreeSet<ContextScope>, StoreError> {
        let failed = "list contexts";
        let rows = sqlx::query_as::<_, (String, String, String)>(
            "SELECT DISTINCT store, tenant, scope FROM probity.context_value",
        )
        .fetch_all(&self.pool);
        let rows = self.within(failed, async { rows.await.map_err(during(failed)) }).await?;
        Ok(rows.into_iter().map(|(store, tenant, scope)| ContextScope { store, tenant, scope }).collect())
    }

    async fn forget_contexts(&self, gone: &[ContextScope], revision: i64) -> Result<bool, StoreError> {
        let failed = "forget contexts";
        let column = |of: fn(&ContextScope) -> &String| gone.iter().map(|scope| of(scope).clone()).collect::<Vec<_>>();
        // One statement sees one moment: what a later revision's nodes have kept is not there in it.
        let forgotten = sqlx::query_scalar(
            "WITH newest AS (SELECT coalesce(max(number), 0) AS number FROM probity.flow_revision), \
             gone AS (DELETE FROM probity.context_value \
                      WHERE (store, tenant, scope) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[])) \
                      AND (SELECT number FROM newest) = $4) \
             SELECT number = $4 FROM newest",
        )
        .bind(column(|of| &of.store))
        .bind(column(|of| &of.tenant))
        .bind(column(|of| &of.scope))
        .bind(revision)
        .fetch_one(&self.pool);
        self.within(failed, async { forgotten.await.map_err(during(failed)) }).await
    }

    async fn take_rate_place(&self, limit: &RateLimit) -> Result<RatePlace, StoreError> {
        let failed = "take a place of a rate limit";
        self.within(failed, async {
            loop {
                if let Some(place) = self.try_take_rate_place(limit).await.map_err(during(failed))? {
                    return Ok(place);
                }
            }
        })
        .await
    }

    async fn free_rate_places(&self, id: &str) -> Result<(), StoreError> {
        let failed = "free the places of a rate limit";
        let freed = sqlx::query("DELETE FROM probity.rate_limit WHERE id = $1").bind(id).execute(&self.pool);
        self.within(failed, async { freed.await.map(drop).map_err(during(failed)) }).await
    }
}
