//! One task: `{id, script, running, config, init, end, interval}`, kept verbatim, and when it is due.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use url::Url;

/// Where our own script is served.
pub const SCRIPT_PATH: &str = "/api/v1/scripts/evaluate.js";

/// A task as it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub id: String,
    pub document: Map<String, Value>,
}

impl Task {
    pub fn new(id: String, document: Map<String, Value>) -> Task {
        Task { id, document }
    }

    pub fn running(&self) -> bool {
        self.document.get("running").and_then(Value::as_bool).unwrap_or_default()
    }

    pub fn script(&self) -> Option<&str> {
        self.document.get("script")?.as_str()
    }

    /// Whether its script is the one that Probity serves, at one of these hosts.
    pub(super) fn is_ours(&self, hosts: &[String]) -> bool {
        let Some(Ok(url)) = self.script().map(Url::parse) else { return false };
        let Some(host) = url.host_str() else { return false };
        let authority = match url.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        url.path() == SCRIPT_PATH && hosts.iter().any(|known| *known == authority || known == host)
    }

    pub(super) fn config(&self, key: &str) -> Option<&Value> {
        self.document.get("config")?.get(key)
    }

    fn instant(&self, key: &str) -> Option<Timestamp> {
        self.document.get(key)?.as_str()?.parse().ok()
    }

    fn interval(&self) -> Option<SignedDuration> {
        let interval = self.document.get("interval")?.as_f64().filter(|ms| *ms >= 1.0 && *ms < 1e15)?;
        Some(SignedDuration::from_millis(interval as i64))
    }

    /// A running task whose end has passed.
    pub(super) fn expired(&self, now: Timestamp) -> bool {
        self.running() && self.instant("end").is_some_and(|end| end < now)
    }

    /// The first run after an instant: `init + k · interval`, before its end. None without init, end or interval, and
    /// while it is stopped.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let (init, end, interval) = (self.instant("init")?, self.instant("end")?, self.interval()?);
        let due = if after < init {
            init
        } else {
            let runs = after.duration_since(init).as_millis() / interval.as_millis() + 1;
            let ms = interval.as_millis().checked_mul(runs)?;
            init.checked_add(SignedDuration::from_millis(i64::try_from(ms).ok()?)).ok()?
        };
        (self.running() && due <= end).then_some(due)
    }

    /// The latest run at or before an instant.
    pub(super) fn latest_before(&self, now: Timestamp) -> Option<Timestamp> {
        let (init, interval) = (self.instant("init")?, self.interval()?);
        let back = now.checked_sub(interval).ok()?;
        self.next_after(back.max(init.checked_sub(SignedDuration::from_millis(1)).ok()?)).filter(|due| *due <= now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(document: Value) -> Task {
        let Value::Object(document) = document else { unreachable!("given as objects") };
        Task::new("t".into(), document)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_task_runs_at_init_and_every_interval_after_it_until_its_end() {
        let times = json!({
            "running": true, "interval": 3_600_000, "init": "2026-03-01T10:00:00.000Z", "end": "2026-03-01T12:30:00.000Z",
        });
        let daily = task(times.clone());
        for (after, next) in [
            ("2026-03-01T00:00:00Z", Some("2026-03-01T10:00:00Z")),
            ("2026-03-01T10:00:00Z", Some("2026-03-01T11:00:00Z")),
            ("2026-03-01T11:59:59.999Z", Some("2026-03-01T12:00:00Z")),
            ("2026-03-01T12:00:00Z", None),
        ] {
            assert_eq!(daily.next_after(at(after)), next.map(at), "after {after}");
        }
        assert_eq!(daily.latest_before(at("2026-03-01T09:59:59Z")), None);
        assert_eq!(daily.latest_before(at("2026-03-01T10:00:00Z")), Some(at("2026-03-01T10:00:00Z")));
        assert_eq!(daily.latest_before(at("2026-03-01T11:59:00Z")), Some(at("2026-03-01T11:00:00Z")));
        assert!(daily.expired(at("2026-03-01T12:30:01Z")) && !daily.expired(at("2026-03-01T12:30:00Z")));
        for (key, value) in
            [("running", json!(false)), ("init", json!("soon")), ("end", Value::Null), ("interval", json!(0))]
        {
            let mut without = times.clone();
            without[key] = value;
            assert_eq!(task(without).next_after(at("2026-03-01T00:00:00Z")), None, "{key}");
        }
    }

    #[test]
    fn our_script_is_ours_at_our_hosts_only() {
        let hosts = ["probity:5800".to_owned(), "127.0.0.1:5800".to_owned()];
        let is_ours = |script: &str| task(json!({"script": script})).is_ours(&hosts);
        assert!(is_ours("http://probity:5800/api/v1/scripts/evaluate.js"));
        for other in [
            "http://probity:5801/api/v1/scripts/evaluate.js",
            "http://evil/api/v1/scripts/evaluate.js",
            "http://probity:5800/api/v1/scripts/evaluate.js.js",
            "http://probity:5800@evil/api/v1/scripts/evaluate.js",
            "file:///api/v1/scripts/evaluate.js",
            "",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
