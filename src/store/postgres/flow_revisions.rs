//! Revisions of the flows in Postgres. The number is the primary key: of two that make the same successor one is refused.

use async_trait::async_trait;
use sqlx::Row;

use super::PostgresStore;
use super::instant::Instant;
use crate::store::cursor::{self, RevisionPosition};
use crate::store::flow_revisions::{FlowHead, FlowRevision, FlowRevisionAbout, FlowRevisions, NewFlowRevision};
use crate::store::{Page, PageRequest, StoreError, during, stored};

impl PostgresStore {
    async fn try_put_flow_revision(
        &self,
        after: i64,
        revision: &NewFlowRevision,
        keep: u32,
    ) -> Result<Option<i64>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let put = sqlx::query(
            "INSERT INTO probity.flow_revision (number, hash, author, action, at, flows, credentials) \
             SELECT $1 + 1, $2, $3, $4, $5, $6, $7 \
             WHERE (SELECT coalesce(max(number), 0) FROM probity.flow_revision) = $1 ON CONFLICT DO NOTHING",
        )
        .bind(after)
        .bind(&revision.hash)
        .bind(stored::text(&revision.author))
        .bind(stored::text(&revision.action))
        .bind(Instant(revision.at))
        .bind(&revision.flows)
        .bind(&revision.credentials)
        .execute(&mut *tx)
        .await?;
        if put.rows_affected() == 0 {
            return Ok(None);
        }
        if keep > 0 {
            sqlx::query("DELETE FROM probity.flow_revision WHERE number <= $1")
                .bind(after - i64::from(keep))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(Some(after + 1))
    }
}

#[async_trait]
impl FlowRevisions for PostgresStore {
    async fn flow_head(&self) -> Result<Option<FlowHead>, StoreError> {
        let failed = "read the revision of the flows";
        let head = sqlx::query_as("SELECT number, hash FROM probity.flow_revision ORDER BY number DESC LIMIT 1")
            .fetch_optional(&self.pool);
        let head: Option<(i64, String)> = self.within(failed, async { head.await.map_err(during(failed)) }).await?;
        Ok(head.map(|(number, hash)| FlowHead { number, hash }))
    }

    async fn put_flow_revision(
        &self,
        after: i64,
        revision: &NewFlowRevision,
        keep: u32,
    ) -> Result<Option<i64>, StoreError> {
        let failed = "store a revision of the flows";
        let put = self.try_put_flow_revision(after, revision, keep);
        self.within(failed, async { put.await.map_err(during(failed)) }).await
    }

    async fn flow_revision(&self, number: i64) -> Result<Option<FlowRevision>, StoreError> {
        let failed = "read a revision of the flows";
        let row = sqlx::query(
            "SELECT hash, author, action, at, flows, credentials FROM probity.flow_revision WHERE number = $1",
        )
        .bind(number)
        .fetch_optional(&self.pool);
        let row = self.within(failed, async { row.await.map_err(during(failed)) }).await?;
        let Some(row) = row else { return Ok(None) };
        let revision = NewFlowRevision {
            hash: stored::column(&row, "hash")?,
            author: stored::column(&row, "author")?,
            action: stored::column(&row, "action")?,
            at: row.try_get::<Instant, _>("at").map_err(during(failed))?.0,
            flows: stored::column(&row, "flows")?,
            credentials: stored::column(&row, "credentials")?,
        };
        Ok(Some(FlowRevision { number, revision }))
    }

    async fn flow_revision_of(&self, hash: &str) -> Result<Option<i64>, StoreError> {
        let failed = "look for a revision of the flows";
        let found = sqlx::query_scalar("SELECT max(number) FROM probity.flow_revision WHERE hash = $1").bind(hash);
        let found = found.fetch_one(&self.pool);
        self.within(failed, async { found.await.map_err(during(failed)) }).await
    }

    async fn flow_revisions(&self, page: &PageRequest) -> Result<Page<FlowRevisionAbout>, StoreError> {
        let failed = "list the revisions of the flows";
        let after = page.position::<RevisionPosition>()?;
        let rows = sqlx::query(
            "SELECT number, hash, author, action, at, octet_length(flows)::bigint AS bytes \
             FROM probity.flow_revision WHERE $1::bigint IS NULL OR number < $1 ORDER BY number DESC LIMIT $2",
        )
        .bind(after.map(|after| after.0))
        .bind(page.rows_wanted())
        .fetch_all(&self.pool);
        let rows = self.within(failed, async { rows.await.map_err(during(failed)) }).await?;
        let found = rows.iter().map(|row| {
            let number = stored::column(row, "number")?;
            let about = FlowRevisionAbout {
                head: FlowHead { number, hash: stored::column(row, "hash")? },
                author: stored::column(row, "author")?,
                action: stored::column(row, "action")?,
                at: row.try_get::<Instant, _>("at").map_err(during(failed))?.0,
                bytes: stored::column(row, "bytes")?,
            };
            Ok((RevisionPosition(number), about))
        });
        Ok(cursor::page(found.collect::<Result<_, StoreError>>()?, page))
    }
}
