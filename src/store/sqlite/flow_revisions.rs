//! Revisions of the flows in SQLite.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteStore, begin, release};
use crate::store::cursor::{self, RevisionPosition};
use crate::store::flow_revisions::{FlowHead, FlowRevision, FlowRevisionAbout, FlowRevisions, NewFlowRevision};
use crate::store::{Page, PageRequest, StoreError, during, stored};

async fn put_on(
    writer: &mut SqliteConnection,
    after: i64,
    revision: &NewFlowRevision,
    keep: u32,
) -> Result<Option<i64>, sqlx::Error> {
    let mut tx = begin(writer).await?;
    let newest: i64 =
        sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM probity_flow_revision").fetch_one(&mut *tx).await?;
    if newest != after {
        tx.rollback().await?;
        return Ok(None);
    }
    sqlx::query(
        "INSERT INTO probity_flow_revision (number, hash, author, action, at, flows, credentials) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(after + 1)
    .bind(&revision.hash)
    .bind(stored::text(&revision.author))
    .bind(stored::text(&revision.action))
    .bind(revision.at.as_microsecond())
    .bind(&revision.flows)
    .bind(&revision.credentials)
    .execute(&mut *tx)
    .await?;
    if keep > 0 {
        sqlx::query("DELETE FROM probity_flow_revision WHERE number <= ?")
            .bind(after - i64::from(keep))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(Some(after + 1))
}

#[async_trait]
impl FlowRevisions for SqliteStore {
    async fn flow_head(&self) -> Result<Option<FlowHead>, StoreError> {
        let head: Option<(i64, String)> =
            sqlx::query_as("SELECT number, hash FROM probity_flow_revision ORDER BY number DESC LIMIT 1")
                .fetch_optional(&self.readers)
                .await
                .map_err(during("read the revision of the flows"))?;
        Ok(head.map(|(number, hash)| FlowHead { number, hash }))
    }

    async fn put_flow_revision(
        &self,
        after: i64,
        revision: &NewFlowRevision,
        keep: u32,
    ) -> Result<Option<i64>, StoreError> {
        let failed = "store a revision of the flows";
        let mut writer = self.writer.acquire().await.map_err(during(failed))?;
        let done = put_on(&mut writer, after, revision, keep).await;
        release(writer, done).await.map_err(during(failed))
    }

    async fn flow_revision(&self, number: i64) -> Result<Option<FlowRevision>, StoreError> {
        let row = sqlx::query(
            "SELECT hash, author, action, at, flows, credentials FROM probity_flow_revision WHERE number = ?",
        )
        .bind(number)
        .fetch_optional(&self.readers)
        .await
        .map_err(during("read a revision of the flows"))?;
        let Some(row) = row else { return Ok(None) };
        let revision = NewFlowRevision {
            hash: stored::column(&row, "hash")?,
            author: stored::column(&row, "author")?,
            action: stored::column(&row, "action")?,
            at: stored::read_instant("instant of a revision", stored::column(&row, "at")?)?,
            flows: stored::column(&row, "flows")?,
            credentials: stored::column(&row, "credentials")?,
        };
        Ok(Some(FlowRevision { number, revision }))
    }

    async fn flow_revision_of(&self, hash: &str) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar("SELECT max(number) FROM probity_flow_revision WHERE hash = ?")
            .bind(hash)
            .fetch_one(&self.readers)
            .await
            .map_err(during("look for a revision of the flows"))
    }

    async fn flow_revisions(&self, page: &PageRequest) -> Result<Page<FlowRevisionAbout>, StoreError> {
        let after = page.position::<RevisionPosition>()?;
        let rows = sqlx::query(
            "SELECT number, hash, author, action, at, length(CAST(flows AS BLOB)) AS bytes \
             FROM probity_flow_revision WHERE number < ? ORDER BY number DESC LIMIT ?",
        )
        .bind(after.map_or(i64::MAX, |after| after.0))
        .bind(page.rows_wanted())
        .fetch_all(&self.readers)
        .await
        .map_err(during("list the revisions of the flows"))?;
        let found = rows.iter().map(|row| {
            let number = stored::column(row, "number")?;
            let about = FlowRevisionAbout {
                head: FlowHead { number, hash: stored::column(row, "hash")? },
                author: stored::column(row, "author")?,
                action: stored::column(row, "action")?,
                at: stored::read_instant("instant of a revision", stored::column(row, "at")?)?,
                bytes: stored::column(row, "bytes")?,
            };
            Ok((RevisionPosition(number), about))
        });
        Ok(cursor::page(found.collect::<Result<_, StoreError>>()?, page))
    }
}
