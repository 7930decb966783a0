//! Values of contexts and places of rate limits in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::MemoryStore;
use crate::store::StoreError;
use crate::store::contexts::{
    ChangeValue, ContextChange, ContextChanged, ContextScope, Contexts, RateLimit, RatePlace, take_place,
};

/// Keys and texts of a scope, in the order in which they were first set.
pub(super) type Values = Vec<(String, String)>;

#[derive(Debug, Default)]
pub(super) struct Kept {
    values: BTreeMap<ContextScope, Values>,
    taken: BTreeMap<String, Vec<f64>>,
}

#[async_trait]
impl Contexts for MemoryStore {
    async fn context_value(&self, of: &ContextScope, key: &str) -> Result<Option<String>, StoreError> {
        let contents = self.contents();
        let values = contents.contexts.values.get(of).into_iter().flatten();
        Ok(values.into_iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()))
    }

    async fn context_values(&self, of: &ContextScope) -> Result<Vec<(String, String)>, StoreError> {
        Ok(self.contents().contexts.values.get(of).cloned().unwrap_or_default())
    }

    async fn context_keys(&self, of: &ContextScope) -> Result<Vec<String>, StoreError> {
        let contents = self.contents();
        Ok(contents.contexts.values.get(of).into_iter().flatten().map(|(name, _)| name.clone()).collect())
    }

    async fn change_context(
        &self,
        of: &ContextScope,
        key: &str,
        scope_bytes_max: u64,
        change: &mut ChangeValue<'_>,
    ) -> Result<ContextChanged, StoreError> {
        let mut contents = self.contents();
        let values = contents.contexts.values.entry(of.clone()).or_default();
        let at = values.iter().position(|(name, _)| name == key);
        let mut changed = ContextChanged::Done;
        match (change(at.map(|at| values[at].1.as_str())), at) {
            (ContextChange::Leave, _) | (ContextChange::Remove, None) => {}
            (ContextChange::Remove, Some(at)) => drop(values.remove(at)),
            (ContextChange::Put(text), at) => {
                let bytes = (key.len() + text.len()) as u64;
                let of_value = |(name, value): &(String, String)| (name.len() + value.len()) as u64;
                let before = at.map_or(0, |at| of_value(&values[at]));
                let all = values.iter().map(of_value).sum::<u64>() - before + bytes;
                match at {
                    _ if bytes > before && all > scope_bytes_max => changed = ContextChanged::Full { bytes: all },
                    Some(at) => values[at].1 = text,
                    None => values.push((key.to_owned(), text)),
                }
            }
        }
        if values.is_empty() {
            contents.contexts.values.remove(of);
        }
        Ok(changed)
    }

    async fn context_scopes(&self) -> Result<BTreeSet<ContextScope>, StoreError> {
        Ok(self.contents().contexts.values.keys().cloned().collect())
    }

    async fn forget_contexts(&self, gone: &[ContextScope], revision: i64) -> Result<bool, StoreError> {
        let mut contents = self.contents();
        if contents.flow_revisions.last_key_value().map_or(0, |(number, _)| *number) != revision {
            return Ok(false);
        }
        gone.iter().for_each(|scope| drop(contents.contexts.values.remove(scope)));
        Ok(true)
    }

    async fn take_rate_place(&self, limit: &RateLimit) -> Result<RatePlace, StoreError> {
        let now = self.clock.now_ms();
        Ok(take_place(self.contents().contexts.taken.entry(limit.id.clone()).or_default(), limit, now))
    }

    async fn free_rate_places(&self, id: &str) -> Result<(), StoreError> {
        self.contents().contexts.taken.remove(id);
        Ok(())
    }
}
