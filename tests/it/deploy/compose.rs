//! The compose file as Docker Compose resolves it: complete, pinned, without secrets, closed to the outside.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::Value;

/// What an operator must set, with values that are easy to find again.
const SECRETS: &[&str] = &[
    "POSTGRES_PASSWORD",
    "PROBITY_DB_PASSWORD",
    "GRAFANA_DB_PASSWORD",
    "GRAFANA_ADMIN_PASSWORD",
    "PROBITY_AUTH_USERS",
];

/// Runs `docker-compose -f deploy/compose.base.yml config` with these secrets set.
fn config(secrets: &[&str]) -> Output {
    let tool = super::file("target/tools/bin/docker-compose");
    assert!(tool.exists(), "{} is missing; tests/all installs it: run `tests/all deploy` once", tool.display());
    Command::new(tool)
        .env_clear()
        .envs(secrets.iter().map(|name| (*name, format!("{name}-for-this-test"))))
        // So that a developer's deploy/.env stays out of it.
        .args(["--env-file", "/dev/null", "-f"])
        .arg(super::file("deploy/compose.base.yml"))
        .args(["config", "--format", "json"])
        .output()
        .expect("docker-compose runs")
}

fn resolved() -> Value {
    let output = config(SECRETS);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("docker-compose prints JSON")
}

fn services(config: &Value) -> &serde_json::Map<String, Value> {
    config["services"].as_object().expect("services")
}

#[test]
fn compose_accepts_the_file_and_knows_the_three_services() {
    let config = resolved();
    assert_eq!(services(&config).keys().collect::<Vec<_>>(), ["grafana", "postgres", "probity"]);
}

#[test]
fn a_missing_secret_stops_compose_and_is_named() {
    for missing in SECRETS {
        let rest: Vec<&str> = SECRETS.iter().filter(|s| *s != missing).copied().collect();
        let output = config(&rest);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "started without {missing}");
        assert!(message.contains(missing) && message.contains(": set "), "{missing}: {message}");
    }
}

#[test]
fn no_secret_stands_in_the_files() {
    let mut checked = 0;
    for (name, service) in services(&resolved()) {
        for (variable, value) in service["environment"].as_object().expect("environment as a map") {
            let value = value.as_str().unwrap_or_default();
            if ["PASSWORD", "SECRET", "TOKEN", "DATABASE_URL", "AUTH_USERS"].iter().any(|word| variable.ends_with(word))
            {
                assert!(
                    value.contains("-for-this-test"),
                    "{name}: {variable} is {value}, not taken from the environment"
                );
                checked += 1;
            }
        }
    }
    assert!(checked >= SECRETS.len(), "only {checked} secrets seen");
    for line in super::read("deploy/.env.example").lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let (name, value) = line.split_once('=').expect("NAME=value");
        assert_eq!(value.trim_matches('\''), "", "{name} has a value in .env.example");
        assert!(SECRETS.contains(&name), "{name} is in .env.example, but compose does not ask for it");
    }
}

#[test]
fn every_image_is_pinned_to_an_exact_version() {
    for (name, service) in services(&resolved()) {
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
        let numbers = tag.split('.').filter(|part| part.chars().all(|c| c.is_ascii_digit())).count();
        assert!(numbers >= 2, "{name}: {image} is not an exact version");
    }
}

#[test]
fn nothing_listens_beyond_loopback_and_the_database_nowhere() {
    let config = resolved();
    for (name, service) in services(&config) {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}: {port}");
        }
    }
    assert!(services(&config)["postgres"].get("ports").is_none());
    assert_eq!(config["networks"]["db"]["internal"], true);
    let networks = services(&config)["postgres"]["networks"].as_object().expect("networks");
    assert_eq!(networks.keys().collect::<Vec<_>>(), ["db"]);
}

#[test]
fn every_service_is_confined() {
    for (name, service) in services(&resolved()) {
        assert_eq!(service["read_only"], true, "{name}: root file system");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        let user = service["user"].as_str().unwrap_or_default();
        assert!(!user.is_empty() && !user.starts_with("0") && !user.starts_with("root"), "{name} runs as {user:?}");
        for limit in ["mem_limit", "pids_limit", "cpus", "restart"] {
            assert!(service.get(limit).is_some_and(|v| !v.is_null()), "{name} has no {limit}");
        }
    }
}

#[test]
fn services_start_when_what_they_need_is_healthy() {
    let config = resolved();
    let mut waits: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, service) in services(&config) {
        let test = service["healthcheck"]["test"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(test.first(), Some(&Value::from("CMD")), "{name}: a health check without a shell");
        for (other, condition) in service["depends_on"].as_object().into_iter().flatten() {
            assert_eq!(condition["condition"], "service_healthy", "{name} → {other}");
            waits.entry(name).or_default().push(other);
        }
    }
    assert_eq!(waits["probity"], ["postgres"]);
    assert_eq!(waits["grafana"], ["postgres"]);
    assert!(!waits.contains_key("postgres"), "the order of starts has a cycle");
}

#[test]
fn the_image_runs_the_health_check_that_compose_runs() {
    let config = resolved();
    let compose: Vec<&str> = services(&config)["probity"]["healthcheck"]["test"]
        .as_array()
        .expect("a list")
        .iter()
        .skip(1)
        .filter_map(Value::as_str)
        .collect();
    let dockerfile = super::read("deploy/Dockerfile");
    let line = |word: &str| dockerfile.lines().find(|l| l.starts_with(word)).unwrap_or_else(|| panic!("no {word}"));
    let in_image = line("HEALTHCHECK").split_once("CMD ").expect("HEALTHCHECK … CMD").1;
    assert_eq!(serde_json::from_str::<Vec<String>>(in_image).expect("a JSON list"), compose);
    assert_eq!(services(&config)["probity"]["user"], line("USER").trim_start_matches("USER "));
}
