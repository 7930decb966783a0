//! Values of flows' contexts and places of rate limits that all processes on a database share: the promises, whatever the
//! database.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::StoreError;

/// Which context a value is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextScope {
    /// The context store, by the name that flows call it.
    pub store: String,
    /// Whose tab it is of; empty for tabs that name no tenant.
    pub tenant: String,
    /// A tab's or subflow instance's id, `<node>@<tab>`, or `global`.
    pub scope: String,
}

/// What becomes of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextChange {
    /// It stays as it is.
    Leave,
    Remove,
    /// It is this JSON text.
    Put(String),
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextChanged {
    Done,
    /// Nothing was changed: with it the scope would have so many bytes, which is more than it may.
    Full {
        bytes: u64,
    },
}

/// Makes of a value, as JSON text, what it shall be; may be asked again when others were in the way.
pub type ChangeValue<'a> = dyn FnMut(Option<&str>) -> ContextChange + Send + 'a;

/// A limit of so many messages per time that holds for all processes: places that are taken and become free again.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Whose limit it is; a node's id.
    pub id: String,
    /// How many places there are. At least 1.
    pub places: u32,
    /// How long a place is taken, milliseconds.
    pub taken_ms: f64,
    /// A place that becomes free within this long may be taken at once, milliseconds; it is then taken from that instant on.
    pub ahead_ms: f64,
}

/// What came of asking for a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RatePlace {
    /// It is the caller's, in so many milliseconds: 0, or at most [`RateLimit::ahead_ms`].
    Taken { in_ms: f64 },
    /// All are taken; the next one becomes free in so many milliseconds.
    FreeIn { ms: f64 },
}

#[async_trait]
pub trait Contexts: Send + Sync {
    /// The JSON text under a key; `None` when nothing is there.
    async fn context_value(&self, of: &ContextScope, key: &str) -> Result<Option<String>, StoreError>;

    /// The keys of a scope with their JSON texts, in the order in which they were first set.
    async fn context_values(&self, of: &ContextScope) -> Result<Vec<(String, String)>, StoreError>;

    /// The keys of a scope, in the order in which they were first set.
    async fn context_keys(&self, of: &ContextScope) -> Result<Vec<String>, StoreError>;

    /// Reads, changes and writes the value under a key; nobody changes it in between. A scope never grows beyond
    /// `scope_bytes_max` (keys and texts) by one writer; several at once may exceed it by what they write.
    async fn change_context(
        &self,
        of: &ContextScope,
        key: &str,
        scope_bytes_max: u64,
        change: &mut ChangeValue<'_>,
    ) -> Result<ContextChanged, StoreError>;

    /// As [`Contexts::change_context`], whatever was there: `Leave` is not for this.
    async fn put_context(
        &self,
        of: &ContextScope,
        key: &str,
        scope_bytes_max: u64,
        value: Option<String>,
    ) -> Result<ContextChanged, StoreError> {
        let mut put = |_: Option<&str>| value.clone().map_or(ContextChange::Remove, ContextChange::Put);
        self.change_context(of, key, scope_bytes_max, &mut put).await
    }

    /// All scopes that hold something.
    async fn context_scopes(&self) -> Result<BTreeSet<ContextScope>, StoreError>;

    /// Forgets scopes, if the newest revision of the flows is still this one (0: there is none). False, and nothing is
    /// forgotten, when it is another: what is not known to the caller may be known to that.
    async fn forget_contexts(&self, gone: &[ContextScope], revision: i64) -> Result<bool, StoreError>;

    /// Asks for a place of a limit, by the database's clock.
    async fn take_rate_place(&self, limit: &RateLimit) -> Result<RatePlace, StoreError>;

    /// Frees all places of a limit.
    async fn free_rate_places(&self, id: &str) -> Result<(), StoreError>;
}

/// Takes a place, given when those that are taken become free (milliseconds, on any clock), and how late it is on that
/// clock. What was free before is left out.
pub(super) fn take_place(taken: &mut Vec<f64>, limit: &RateLimit, now_ms: f64) -> RatePlace {
    taken.retain(|until| *until > now_ms);
    if taken.len() < limit.places.max(1) as usize {
        taken.push(now_ms + limit.taken_ms);
        return RatePlace::Taken { in_ms: 0.0 };
    }
    // With a limit that has been lowered meanwhile more are taken than there are: the last of them have to become free.
    taken.sort_by(f64::total_cmp);
    let next = taken[taken.len() - limit.places.max(1) as usize];
    if next > now_ms + limit.ahead_ms {
        return RatePlace::FreeIn { ms: next - now_ms };
    }
    taken.push(next + limit.taken_ms);
    RatePlace::Taken { in_ms: next - now_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(places: u32, taken_ms: f64, ahead_ms: f64) -> RateLimit {
        RateLimit { id: "n".into(), places, taken_ms, ahead_ms }
    }

    #[test]
    fn no_more_places_are_taken_in_any_time_than_there_are() {
        let (mut taken, limit) = (Vec::new(), limit(3, 100.0, 20.0));
        let mut taken_at = Vec::new();
        for now in 0..1_000 {
            if let RatePlace::Taken { in_ms } = take_place(&mut taken, &limit, f64::from(now)) {
                taken_at.push(f64::from(now) + in_ms);
            }
        }
        assert!(taken_at.len() >= 30, "{taken_at:?}");
        for at in &taken_at {
            let within = taken_at.iter().filter(|other| (*at..*at + 100.0).contains(*other)).count();
            assert!(within <= 3, "{within} from {at} on: {taken_at:?}");
        }
    }

    #[test]
    fn who_finds_none_is_told_when_the_next_one_is_free() {
        let (mut taken, limit) = (Vec::new(), limit(1, 100.0, 0.0));
        assert_eq!(take_place(&mut taken, &limit, 0.0), RatePlace::Taken { in_ms: 0.0 });
        assert_eq!(take_place(&mut taken, &limit, 30.0), RatePlace::FreeIn { ms: 70.0 });
        assert_eq!(take_place(&mut taken, &limit, 100.0), RatePlace::Taken { in_ms: 0.0 });
        let ahead = RateLimit { ahead_ms: 20.0, ..limit };
        assert_eq!(take_place(&mut taken, &ahead, 185.0), RatePlace::Taken { in_ms: 15.0 });
        assert_eq!(take_place(&mut taken, &ahead, 185.0), RatePlace::FreeIn { ms: 115.0 });
    }

    #[test]
    fn a_limit_that_was_lowered_holds_at_once() {
        let mut taken = Vec::new();
        for _ in 0..3 {
            take_place(&mut taken, &limit(3, 100.0, 0.0), 0.0);
        }
        assert_eq!(take_place(&mut taken, &limit(1, 100.0, 0.0), 50.0), RatePlace::FreeIn { ms: 50.0 });
    }
}
