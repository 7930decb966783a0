//! Revisions of the flows in memory.

use async_trait::async_trait;

use super::MemoryStore;
use crate::store::cursor::{self, RevisionPosition};
use crate::store::flow_revisions::{FlowHead, FlowRevision, FlowRevisionAbout, FlowRevisions, NewFlowRevision};
use crate::store::{Page, PageRequest, StoreError};

fn about(number: i64, revision: &NewFlowRevision) -> FlowRevisionAbout {
    FlowRevisionAbout {
        head: FlowHead { number, hash: revision.hash.clone() },
        author: revision.author.clone(),
        action: revision.action.clone(),
        at: revision.at,
        bytes: i64::try_from(revision.flows.len()).unwrap_or(i64::MAX),
    }
}

#[async_trait]
impl FlowRevisions for MemoryStore {
    async fn flow_head(&self) -> Result<Option<FlowHead>, StoreError> {
        let contents = self.contents();
        let head = contents.flow_revisions.last_key_value();
        Ok(head.map(|(number, revision)| FlowHead { number: *number, hash: revision.hash.clone() }))
    }

    async fn put_flow_revision(
        &self,
        after: i64,
        revision: &NewFlowRevision,
        keep: u32,
    ) -> Result<Option<i64>, StoreError> {
        let revisions = &mut self.contents().flow_revisions;
        if revisions.last_key_value().map_or(0, |(number, _)| *number) != after {
            return Ok(None);
        }
        let number = after + 1;
        revisions.insert(number, revision.clone());
        if keep > 0 {
            revisions.retain(|old, _| *old > number - 1 - i64::from(keep));
        }
        Ok(Some(number))
    }

    async fn flow_revision(&self, number: i64) -> Result<Option<FlowRevision>, StoreError> {
        let found = self.contents().flow_revisions.get(&number).cloned();
        Ok(found.map(|revision| FlowRevision { number, revision }))
    }

    async fn flow_revision_of(&self, hash: &str) -> Result<Option<i64>, StoreError> {
        let contents = self.contents();
        Ok(contents.flow_revisions.iter().rev().find(|(_, revision)| revision.hash == hash).map(|(number, _)| *number))
    }

    async fn flow_revisions(&self, request: &PageRequest) -> Result<Page<FlowRevisionAbout>, StoreError> {
        let after = request.position::<RevisionPosition>()?;
        let contents = self.contents();
        let older = contents.flow_revisions.iter().rev();
        let older = older.filter(|(number, _)| after.is_none_or(|after| **number < after.0));
        let found = older.map(|(number, revision)| (RevisionPosition(*number), about(*number, revision)));
        Ok(cursor::page(found.take(request.rows_max() + 1).collect(), request))
    }
}
