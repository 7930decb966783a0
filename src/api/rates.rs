//! How often somebody may call: one even flow with a burst for each source address and each token (GCRA), in a table of
//! fixed size. With a cache, replicas count together; without it, or while it is away, each counts for itself.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::auth::network;
use crate::cache::Bucket;

/// How often somebody may call; off while `per_min` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Calls a minute, evenly.
    pub per_min: u32,
    /// Calls that may come at once; at least 1.
    pub burst: u32,
}

impl Rate {
    /// Microseconds between two calls, and how far ahead of them a burst may be; `None`: no limit.
    fn pace(self) -> Option<Bucket> {
        let interval_us = 60_000_000_u64.checked_div(u64::from(self.per_min))?.max(1);
        let tolerance_us = interval_us * u64::from(self.burst.max(1) - 1);
        Some(Bucket { interval_us, tolerance_us })
    }
}

/// Limits at the door of HTTP.
#[derive(Clone, Debug, Default)]
pub struct RateOptions {
    pub source: Rate,
    pub token: Rate,
    /// Sources and tokens that are remembered. With more, those that called least of late are forgotten, which lets them
    /// call more, never less.
    pub sources_max: usize,
}

/// Slots that one key may lie in; the set is searched as a whole.
const WAYS: usize = 8;

#[derive(Clone, Copy, Default)]
struct Slot {
    key: u64,
    /// When the next call would be due if all came evenly, microseconds since 1970; 0: free.
    due_us: i64,
}

/// Counts calls.
pub(super) struct Rates {
    source: Option<Bucket>,
    token: Option<Bucket>,
    /// Nobody outside can choose keys that meet in one set.
    hashing: RandomState,
    sets: Vec<Mutex<[Slot; WAYS]>>,
}

/// One who calls, and how much.
pub(super) struct Counted {
    /// The same in all replicas; tells nothing of a token.
    pub(super) name: String,
    pub(super) bucket: Bucket,
    key: u64,
}

impl Rates {
    pub(super) fn new(options: &RateOptions) -> Rates {
        let (source, token) = (options.source.pace(), options.token.pace());
        let sets = if source.is_none() && token.is_none() { 0 } else { options.sources_max.div_ceil(WAYS).max(1) };
        let sets = std::iter::repeat_with(Mutex::default).take(sets).collect();
        Rates { source, token, hashing: RandomState::new(), sets }
    }

    /// Who is counted for a call: its source, and the token or login it shows.
    pub(super) fn counted(&self, ip: IpAddr, headers: &HeaderMap) -> impl Iterator<Item = Counted> + use<> {
        let source = self.source.map(|bucket| self.named("source", network(ip).to_string().as_bytes(), bucket));
        let shown = headers.get(header::AUTHORIZATION).or_else(|| headers.get("x-access-token"));
        let token = self.token.zip(shown).map(|(bucket, shown)| self.named("token", shown.as_bytes(), bucket));
        source.into_iter().chain(token)
    }

    fn named(&self, kind: &str, who: &[u8], bucket: Bucket) -> Counted {
        let digest = Sha256::digest(who);
        let name = format!("{kind}:{}", hex::encode(&digest[..16]));
        let key = self.hashing.hash_one(&name).max(1);
        Counted { name, bucket, key }
    }

    /// Counts a call here. The error: how long until one is let through.
    pub(super) fn take(&self, who: &Counted, now: Timestamp) -> Result<(), Duration> {
        let count = self.sets.len() as u64;
        let Some(set) = who.key.checked_rem(count).and_then(|at| self.sets.get(at as usize)) else { return Ok(()) };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        // The slot of this key, or else the one whose caller has been quiet for longest.
        let known = set.iter().position(|slot| slot.key == who.key);
        let at = known.or_else(|| (0..WAYS).min_by_key(|at| set[*at].due_us)).unwrap_or_default();
        let due_us = if known.is_some() { set[at].due_us } else { 0 };
        let (due_us, taken) = step(due_us, now.as_microsecond(), who.bucket);
        set[at] = Slot { key: who.key, due_us };
        taken
    }
}

/// The next due instant after a call, and whether the call is let through.
fn step(due_us: i64, now_us: i64, bucket: Bucket) -> (i64, Result<(), Duration>) {
    let (interval, tolerance) = (bucket.interval_us as i64, bucket.tolerance_us as i64);
    // A clock that was set back must not lock anybody out for longer than a full bucket does.
    let due = due_us.clamp(now_us, now_us.saturating_add(tolerance + interval));
    let ahead = due - now_us;
    if ahead > tolerance {
        return (due, Err(Duration::from_micros((ahead - tolerance).unsigned_abs())));
    }
    (due + interval, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
    }

    fn rates(per_min: u32, burst: u32, sources_max: usize) -> Rates {
        Rates::new(&RateOptions { source: Rate { per_min, burst }, token: Rate::default(), sources_max })
    }

    fn source(rates: &Rates, ip: &str) -> Counted {
        rates.counted(ip.parse().unwrap(), &HeaderMap::new()).next().unwrap()
    }

    #[test]
    fn a_burst_is_let_through_and_then_an_even_flow() {
        let rates = rates(60, 3, 100);
        let ana = source(&rates, "10.0.0.1");
        assert_eq!((0..4).map(|_| rates.take(&ana, at(0)).is_ok()).collect::<Vec<_>>(), [true, true, true, false]);
        assert_eq!(rates.take(&ana, at(400)), Err(Duration::from_millis(600)));
        assert_eq!(rates.take(&ana, at(1_000)), Ok(()));
        assert!(rates.take(&ana, at(1_001)).is_err());
        // Who was quiet has the whole burst again, and no more.
        assert_eq!((0..4).filter(|_| rates.take(&ana, at(3_600_000)).is_ok()).count(), 3);
        assert!(rates.take(&source(&rates, "10.0.0.2"), at(0)).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let rates = rates(60, 1, 100);
        let ana = source(&rates, "10.0.0.1");
        assert!(rates.take(&ana, at(3_600_000)).is_ok());
        assert!(rates.take(&ana, at(0)).unwrap_err() <= Duration::from_secs(1));
        assert!(rates.take(&ana, at(1_001)).is_ok());
    }

    #[test]
    fn the_table_never_grows_and_a_flood_of_sources_locks_nobody_out() {
        let rates = rates(60, 2, 64);
        assert_eq!(rates.sets.len() * WAYS, 64);
        for host in 0..100_000_u32 {
            let who = source(&rates, &std::net::Ipv4Addr::from(0x0a00_0000 + host).to_string());
            assert!(rates.take(&who, at(0)).is_ok());
        }
        assert_eq!(rates.sets.len() * WAYS, 64);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_source() {
        let rates = rates(60, 1, 100);
        assert!(rates.take(&source(&rates, "2001:db8::1"), at(0)).is_ok());
        assert!(rates.take(&source(&rates, "2001:db8::2"), at(0)).is_err());
        assert!(rates.take(&source(&rates, "2001:db8:1::2"), at(0)).is_ok());
    }

    #[test]
    fn a_token_is_counted_wherever_it_comes_from_and_is_not_kept() {
        let only = RateOptions { token: Rate { per_min: 60, burst: 1 }, sources_max: 10, ..RateOptions::default() };
        let rates = Rates::new(&only);
        let shown = HeaderMap::from_iter([(header::AUTHORIZATION, "Bearer s3cret".parse().unwrap())]);
        let from = |ip: &str, headers: &HeaderMap| rates.counted(ip.parse().unwrap(), headers).collect::<Vec<_>>();
        assert!(from("10.0.0.1", &HeaderMap::new()).is_empty());
        let (here, there) = (from("10.0.0.1", &shown), from("10.0.0.2", &shown));
        assert!(here[0].name == there[0].name && !here[0].name.contains("s3cret"));
        assert!(rates.take(&here[0], at(0)).is_ok() && rates.take(&there[0], at(0)).is_err());
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let rates = Rates::new(&RateOptions::default());
        assert_eq!(rates.counted("10.0.0.1".parse().unwrap(), &HeaderMap::new()).count(), 0);
        assert!(rates.sets.is_empty());
    }
}
