//! What is wrong with a configuration as a whole: all of it at once, each with its key, what was expected and what was found.

use super::*;

pub(super) fn validate(config: &Config) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    if !config.http.node_root.starts_with('/') {
        problems.push(format!("http.node_root: expected a path starting with /, found \"{}\"", config.http.node_root));
    }
    for (key, value) in [
        ("limits.runs_max", config.limits.runs_max),
        ("limits.waits_max", config.limits.waits_max),
        ("limits.queue_max", config.limits.queue_max),
        ("collectors.parallel_max", config.collectors.parallel_max),
        ("net.requests_max", config.net.requests_max),
        ("net.host_requests_max", config.net.host_requests_max),
        ("http.connections_max", config.http.connections_max),
        ("durable.accept_batch_max", config.durable.accept_batch_max),
        ("durable.lease_batch_max", config.durable.lease_batch_max),
        ("durable.parallel_max", config.durable.parallel_max),
        ("durable.attempts_max", config.durable.attempts_max as usize),
        ("schedule.lease_ms", config.schedule.lease_ms as usize),
        ("schedule.poll_ms", config.schedule.poll_ms as usize),
    ] {
        if value == 0 {
            problems.push(format!("{key}: expected at least 1, found 0"));
        }
    }
    problems.extend(config.auth_options().problems());
    problems.extend(peer_problems(config));
    problems.extend(datasources::open(&config.datasources).err().into_iter().flatten());
    problems.extend(delivery_problems(config));
    problems.extend(durable::problems(config));
    problems.extend(dispatch::problems(config));
    problems.extend(config.otel.options().iter().flat_map(crate::telemetry::problems));
    for (tenant, max) in &config.limits.tenants {
        if max.parse::<usize>().is_err() {
            problems.push(format!("limits.tenants.{tenant}: expected a number of runs, found \"{max}\""));
        }
    }
    problems.extend(door::problems(config));
    problems.extend(channels::problems(config));
    problems.extend(contexts::problems(config));
    problems.extend(secrets::problems(config));
    if config.retention.every_ms == 0 {
        problems.push("retention.every_ms: expected at least 1, found 0".into());
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
}

/// What is wrong with the ways to a Director and to a Registry's database. No text of its keys is shown: addresses hold logins, and the secret is one.
fn peer_problems(config: &Config) -> Vec<String> {
    let director = &config.director;
    let mut problems = Vec::new();
    for (key, text) in [("director.url", &director.url), ("director.callback_url", &director.callback_url)] {
        let usable = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if !text.is_empty() && !url::Url::parse(text).is_ok_and(|url| usable(&url)) {
            problems.push(format!("{key}: expected an address such as http://director:5800"));
        }
    }
    for script in &director.scripts {
        let usable = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if !url::Url::parse(script).is_ok_and(|url| usable(&url)) {
            problems.push(format!(
                "director.scripts: \"{}\" is no address such as http://assets:5200/scripts/",
                crate::registry::address_shown(script)
            ));
        }
    }
    let written = &config.registry.write_states;
    if !written.is_empty() && !["mongodb://", "mongodb+srv://"].iter().any(|scheme| written.starts_with(scheme)) {
        problems.push("registry.write_states: expected an address such as mongodb://host:27017/registry".into());
    }
    let passed = &config.registry.pass_to;
    if !passed.is_empty() && !["http://", "https://"].iter().any(|scheme| passed.starts_with(scheme)) {
        problems.push("registry.pass_to: expected the address of a Registry such as http://registry:5400".into());
    }
    if director.url.is_empty() {
        return problems;
    }
    if director.secret.len() < 16 {
        problems.push("director.secret: expected at least 16 characters, with which callbacks are signed".into());
    }
    if config.listen_director.is_none() {
        problems
            .push("listen_director: expected an address, where the Director fetches the script and calls back".into());
    }
    if director.interval_ms == 0 {
        problems.push("director.interval_ms: expected at least 1, found 0".into());
    }
    problems
}

/// What is wrong with the way to status-backend.
fn delivery_problems(config: &Config) -> Vec<String> {
    let delivery = &config.delivery;
    let mut problems = Vec::new();
    let usable = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    if !delivery.status_url.is_empty() && !url::Url::parse(&delivery.status_url).is_ok_and(|url| usable(&url)) {
        let example = "http://status-backend:3001/api/v1/computations/bulk";
        problems.push(format!("delivery.status_url: expected an address such as {example}"));
    }
    for (guarantee, control) in &delivery.controls {
        if control.parse::<i32>().is_err() {
            problems
                .push(format!("delivery.controls.{guarantee}: expected the number of a control, found \"{control}\""));
        }
        if !guarantee.contains('/') {
            problems.push(format!("delivery.controls: expected agreement/guarantee, found \"{guarantee}\""));
        }
    }
    if delivery.body_bytes_max < 1_000 {
        problems.push(format!("delivery.body_bytes_max: expected at least 1000, found {}", delivery.body_bytes_max));
    }
    if delivery.request_ms_max == 0 {
        problems.push("delivery.request_ms_max: expected at least 1, found 0".into());
    }
    problems
}
