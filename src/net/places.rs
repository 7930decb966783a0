//! How many calls are open at once: in all, and to one host. Who calls a slow host waits at that host's gate and takes
//! nothing from calls to others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::error::authority;
use super::{NetError, NetOptions};

/// Shared by a net and all that grant parts of it to plugins.
pub(super) struct Places {
    all: Arc<Semaphore>,
    hosts: Mutex<HashMap<String, Host>>,
    host_max: usize,
    waiting_max: usize,
}

struct Host {
    gate: Arc<Semaphore>,
    /// Calls that are open or wait.
    calls: usize,
}

/// A place for one call to a host, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    host: String,
    _permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.places.hosts();
        if let Some(host) = hosts.get_mut(&self.host) {
            host.calls -= 1;
            if host.calls == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

impl Places {
    pub(super) fn new(options: &NetOptions) -> Arc<Places> {
        Arc::new(Places {
            all: Arc::new(Semaphore::new(options.requests_max.clamp(1, Semaphore::MAX_PERMITS))),
            hosts: Mutex::default(),
            host_max: options.host_requests_max.clamp(1, Semaphore::MAX_PERMITS),
            waiting_max: options.waiting_max,
        })
    }

    fn hosts(&self) -> std::sync::MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Waits for a place to call this URL's host and port.
    ///
    /// # Errors
    /// `EAGAIN` when too many calls to it wait.
    pub(super) async fn take(self: &Arc<Self>, url: &Url) -> Result<Place, NetError> {
        let host = authority(url);
        let gate = {
            let mut hosts = self.hosts();
            let entry = hosts
                .entry(host.clone())
                .or_insert_with(|| Host { gate: Arc::new(Semaphore::new(self.host_max)), calls: 0 });
            if entry.calls >= self.host_max.saturating_add(self.waiting_max) {
                let text = format!(
                    "{} calls to {host} are open and {} wait (net.host_requests_max, net.waiting_max)",
                    self.host_max, self.waiting_max
                );
                return Err(NetError::new("EAGAIN", text));
            }
            entry.calls += 1;
            entry.gate.clone()
        };
        // From here on counted, also when the caller gives up while it waits.
        let mut place = Place { places: self.clone(), host, _permits: None };
        // The host first: who waits for a slow one must not keep others from theirs.
        let of_host = gate.acquire_owned().await.expect("never closed");
        let of_all = self.all.clone().acquire_owned().await.expect("never closed");
        place._permits = Some((of_host, of_all));
        Ok(place)
    }

    /// Calls that are open or wait, by host; at most so many hosts, the busiest first.
    pub(super) fn report(&self, hosts_max: usize) -> Vec<(String, usize)> {
        let mut report: Vec<_> = self.hosts().iter().map(|(host, h)| (host.clone(), h.calls)).collect();
        report.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        report.truncate(hosts_max);
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_slow_host_takes_no_places_from_others() {
        let options = NetOptions { requests_max: 3, host_requests_max: 2, waiting_max: 1, ..NetOptions::default() };
        let places = Places::new(&options);
        let (slow, other) = (url("http://slow.example/x"), url("http://other.example/y"));
        let first = places.take(&slow).await.unwrap();
        let second = places.take(&url("http://slow.example:80/z")).await.unwrap();
        let mut waiting = Box::pin(places.take(&slow));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        let refused = places.take(&slow).await.err().unwrap();
        assert_eq!(refused.code, "EAGAIN");
        assert!(
            refused.message.contains("slow.example:80") && refused.message.contains("net.waiting_max"),
            "{refused}"
        );
        let third = places.take(&other).await.unwrap();
        assert_eq!(places.report(9), [("slow.example:80".to_string(), 3), ("other.example:80".to_string(), 1)]);
        // Another port is another host.
        let another = url("http://other.example:81/");
        let mut fourth = Box::pin(places.take(&another));
        assert!(futures_util::poll!(&mut fourth).is_pending(), "all places are taken");
        drop((third, first));
        let (waiting, fourth) = (waiting.await.unwrap(), fourth.await.unwrap());
        drop((second, waiting, fourth));
        assert!(places.report(9).is_empty(), "nothing is remembered of hosts nobody calls");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_the_queue() {
        let places = Places::new(&NetOptions { host_requests_max: 1, waiting_max: 1, ..NetOptions::default() });
        let slow = url("http://slow.example/");
        let first = places.take(&slow).await.unwrap();
        for _ in 0..3 {
            let mut waiting = Box::pin(places.take(&slow));
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        drop(first);
        places.take(&slow).await.unwrap();
    }
}
