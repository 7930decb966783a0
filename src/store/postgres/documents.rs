//! Documents put by the API, in Postgres.

use sqlx::postgres::PgPool;
use sqlx::{PgConnection, Row};

use super::history;
use super::instant::Instant;
use crate::store::{AuditEntry, DocumentKind, PutDocument, StoreError, StoredDocument, during, stored};

pub(super) async fn list(pool: &PgPool, kind: DocumentKind) -> Result<Vec<StoredDocument>, StoreError> {
    let failed = "list documents";
    let rows = sqlx::query(
        "SELECT id, document::text AS document, put_at, put_by FROM probity.document \
         WHERE kind = $1 AND document IS NOT NULL ORDER BY id",
    )
    .bind(kind.word())
    .fetch_all(pool)
    .await
    .map_err(during(failed))?;
    rows.iter()
        .map(|row| {
            Ok(StoredDocument {
                id: row.try_get("id").map_err(during(failed))?,
                document: stored::read_json("document", row.try_get("document").map_err(during(failed))?)?,
                put_at: row.try_get::<Instant, _>("put_at").map_err(during(failed))?.0,
                put_by: row.try_get("put_by").map_err(during(failed))?,
            })
        })
        .collect()
}

pub(super) async fn revision(pool: &PgPool) -> Result<i64, StoreError> {
    sqlx::query_scalar("SELECT coalesce(max(revision), 0) FROM probity.document")
        .fetch_one(pool)
        .await
        .map_err(during("read the revision of documents"))
}

/// Whether the document is there, and not removed. Holds the table until the transaction ends: revisions appear in the
/// order of their numbers, so that nobody who looks for newer ones misses one.
async fn is_there(tx: &mut PgConnection, kind: DocumentKind, id: &str) -> Result<bool, sqlx::Error> {
    sqlx::query("LOCK TABLE probity.document IN EXCLUSIVE MODE").execute(&mut *tx).await?;
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM probity.document WHERE kind = $1 AND id = $2 AND document IS NOT NULL)",
    )
    .bind(kind.word())
    .bind(stored::text(id))
    .fetch_one(tx)
    .await
}

/// Puts a row, without a document for one that is removed, in place of the one there is.
async fn write(
    tx: &mut PgConnection,
    kind: DocumentKind,
    id: &str,
    document: Option<String>,
    audit: &AuditEntry,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM probity.document WHERE kind = $1 AND id = $2")
        .bind(kind.word())
        .bind(stored::text(id))
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO probity.document (kind, id, document, put_at, put_by) VALUES ($1, $2, $3::text::json, $4, $5)",
    )
    .bind(kind.word())
    .bind(stored::text(id))
    .bind(document)
    .bind(Instant(audit.at))
    .bind(stored::text(&audit.actor))
    .execute(&mut *tx)
    .await?;
    history::add_audit(&mut *tx, audit).await
}

pub(super) async fn put(
    pool: &PgPool,
    kind: DocumentKind,
    document: &StoredDocument,
    only_new: bool,
    audit: &AuditEntry,
) -> Result<PutDocument, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let replaces = is_there(&mut tx, kind, &document.id).await?;
    if replaces && only_new {
        return Ok(PutDocument::Exists);
    }
    let text = stored::json(&document.document);
    let audit = AuditEntry { at: document.put_at, actor: document.put_by.clone(), ..audit.clone() };
    write(&mut tx, kind, &document.id, Some(text), &audit).await?;
    tx.commit().await?;
    Ok(if replaces { PutDocument::Replaced } else { PutDocument::Added })
}

pub(super) async fn remove(
    pool: &PgPool,
    kind: DocumentKind,
    id: &str,
    audit: &AuditEntry,
) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    if !is_there(&mut tx, kind, id).await? {
        return Ok(false);
    }
    write(&mut tx, kind, id, None, audit).await?;
    tx.commit().await?;
    Ok(true)
}
