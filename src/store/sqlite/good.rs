//! Last good versions of documents of sources elsewhere, in SQLite.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use crate::store::stored::{self, column};
use crate::store::{GoodDocument, StoreError, during};

pub(super) async fn keep(
    writer: &mut SqliteConnection,
    source: &str,
    documents: &[GoodDocument],
) -> Result<(), sqlx::Error> {
    let mut tx = super::begin(writer).await?;
    sqlx::query("DELETE FROM probity_good WHERE source = ?").bind(stored::text(source)).execute(&mut *tx).await?;
    for good in documents {
        sqlx::query(
            "INSERT INTO probity_good (source, key, document, seen_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(stored::text(source))
        .bind(stored::text(&good.key))
        .bind(stored::json(&good.document))
        .bind(good.seen_at.as_microsecond())
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}

pub(super) async fn list(pool: &SqlitePool, source: &str) -> Result<Vec<GoodDocument>, StoreError> {
    let rows = sqlx::query("SELECT key, document, seen_at FROM probity_good WHERE source = ? ORDER BY key")
        .bind(stored::text(source))
        .fetch_all(pool)
        .await
        .map_err(during("read good documents"))?;
    rows.iter()
        .map(|row| {
            Ok(GoodDocument {
                key: column(row, "key")?,
                document: stored::read_json("document", column(row, "document")?)?,
                seen_at: stored::read_instant("instant of a document", column(row, "seen_at")?)?,
            })
        })
        .collect()
}
