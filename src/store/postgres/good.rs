//! Last good versions of documents of sources elsewhere, in Postgres.

use sqlx::postgres::PgPool;

use super::instant::Instant;
use crate::store::stored::{self, column};
use crate::store::{GoodDocument, StoreError, during};

pub(super) async fn keep(pool: &PgPool, source: &str, documents: &[GoodDocument]) -> Result<(), StoreError> {
    let failed = "keep good documents";
    let mut tx = pool.begin().await.map_err(during(failed))?;
    // Processes that read one source write one after the other.
    sqlx::query("LOCK TABLE probity.good IN EXCLUSIVE MODE").execute(&mut *tx).await.map_err(during(failed))?;
    sqlx::query("DELETE FROM probity.good WHERE source = $1")
        .bind(stored::text(source))
        .execute(&mut *tx)
        .await
        .map_err(during(failed))?;
    for good in documents {
        sqlx::query(
            "INSERT INTO probity.good (source, key, document, seen_at) VALUES ($1, $2, $3::text::json, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(stored::text(source))
        .bind(stored::text(&good.key))
        .bind(stored::json(&good.document))
        .bind(Instant(good.seen_at))
        .execute(&mut *tx)
        .await
        .map_err(during(failed))?;
    }
    tx.commit().await.map_err(during(failed))
}

pub(super) async fn list(pool: &PgPool, source: &str) -> Result<Vec<GoodDocument>, StoreError> {
    let rows =
        sqlx::query("SELECT key, document::text AS document, seen_at FROM probity.good WHERE source = $1 ORDER BY key")
            .bind(stored::text(source))
            .fetch_all(pool)
            .await
            .map_err(during("read good documents"))?;
    rows.iter()
        .map(|row| {
            Ok(GoodDocument {
                key: column(row, "key")?,
                document: stored::read_json("document", column(row, "document")?)?,
                seen_at: column::<Instant, _>(row, "seen_at")?.0,
            })
        })
        .collect()
}
