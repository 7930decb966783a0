//! Whether NATS, where it dispatches, can be used, and whether it is one to rely on.

use super::{Finding, error, runtime, warning};
use crate::config::Config;
use crate::dispatch::check_nats;

/// Before this one, published findings about data loss after crashes of processes and machines stand.
const VERSION_MIN: (u64, u64) = (2, 14);
/// Pointers that wait beyond this are many.
const WAITING_MAX: u64 = 100_000;

pub(super) fn findings(config: &Config, findings: &mut Vec<Finding>) {
    let Some(options) = config.dispatch.options() else { return };
    if !config.dispatch.is_guarded() {
        findings.push(warning(
            "dispatch",
            "the connection to NATS is not encrypted: tls:// in dispatch.nats_url, unless its network is closed",
        ));
    }
    if !config.database_url().starts_with("postgres") {
        findings.push(warning(
            "dispatch",
            "NATS dispatches runs that only this machine has: with SQLite it makes nothing quicker; leave dispatch.nats_url empty",
        ));
    }
    match runtime().block_on(check_nats(&options)) {
        Err(why) => findings.push(error(
            "dispatch",
            format!("NATS cannot be used ({why}): workers ask the database until it can; nothing is lost"),
        )),
        Ok(checked) => {
            if version(&checked.version) < VERSION_MIN {
                let message = format!(
                    "NATS is version {}: 2.14 or later is meant for production, with sync_interval: always",
                    checked.version
                );
                findings.push(warning("dispatch", message));
            }
            if checked.replicas != options.replicas {
                let (is, wanted) = (checked.replicas, options.replicas);
                findings.push(warning(
                    "dispatch",
                    format!("the stream has {is} replicas, dispatch.nats_replicas says {wanted}"),
                ));
            }
            if let Some(waiting) = checked.waiting.filter(|waiting| *waiting > WAITING_MAX) {
                findings
                    .push(warning("dispatch", format!("{waiting} names of runs wait in NATS: workers are too few")));
            }
        }
    }
}

/// The first two numbers of a version; what is none is old.
fn version(text: &str) -> (u64, u64) {
    let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(version("2.9.10") < VERSION_MIN);
        assert!(version("2.14.4") >= VERSION_MIN);
        assert!(version("3.0.0-beta") >= VERSION_MIN);
        assert!(version("") < VERSION_MIN);
    }
}
