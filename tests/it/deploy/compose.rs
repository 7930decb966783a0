//! The compose files as Docker Compose resolves them, in every combination: complete, pinned, without secrets, closed to
//! the outside, and with what the rest of STATUS relies on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};

use serde_json::{Map, Value, json};

/// What an operator must set.
const SECRETS: &[&str] = &[
    "PASS_STATUS",
    "JWT_SECRET",
    "REFRESH_JWT_SECRET",
    "DB_PASSWORD",
    "PROBITY_DB_PASSWORD",
    "GRAFANA_DB_PASSWORD",
    "MONGOPASS",
];
const MODES: [&str; 2] = ["dev", "prod"];
const PROFILES: [&[&str]; 5] =
    [&[], &["governify"], &["standalone"], &["governify", "standalone"], &["governify", "standalone", "backup"]];

/// Runs `docker-compose config` on the base and a mode, with these variables beside those of `.env.example`.
fn config(mode: &str, profiles: &[&str], variables: &[(&str, String)]) -> Output {
    let tool = super::file("target/tools/bin/docker-compose");
    assert!(tool.exists(), "{} is missing; tests/all installs it: run `tests/all deploy` once", tool.display());
    let mut command = Command::new(tool);
    command.env_clear().env("COMPOSE_PROFILES", profiles.join(","));
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    command.arg("--env-file").arg(super::file("deploy/.env.example"));
    for file in ["base", mode] {
        command.arg("-f").arg(super::file(&format!("deploy/compose.{file}.yml")));
    }
    command.args(["config", "--format", "json"]).output().expect("docker-compose runs")
}

/// What an operator's machine would run, with secrets that are easy to find again.
fn resolved(mode: &str, profiles: &[&str]) -> Value {
    let secrets: Vec<(&str, String)> = SECRETS.iter().map(|name| (*name, format!("{name}-for-this-test"))).collect();
    read(config(mode, profiles, &secrets))
}

fn read(output: Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("docker-compose prints JSON")
}

fn services(config: &Value) -> &Map<String, Value> {
    config["services"].as_object().expect("services")
}

/// Every combination of a mode and profiles, with its services.
fn each(mut check: impl FnMut(&str, &str, &Value)) {
    for mode in MODES {
        for profiles in PROFILES {
            let config = resolved(mode, profiles);
            for (name, service) in services(&config) {
                check(mode, name, service);
            }
        }
    }
}

#[test]
fn as_shipped_both_modes_resolve_and_status_itself_needs_no_profile() {
    for mode in MODES {
        let config = read(config(mode, &[], &[]));
        for name in ["postgres", "grafana", "status-backend", "status-frontend", "nodered"] {
            assert!(services(&config).contains_key(name), "{mode}: {name} needs a profile");
        }
    }
}

#[test]
fn all_ten_services_of_status_are_there() {
    let config = resolved("prod", &["governify"]);
    let expected = [
        "director",
        "dragonfly",
        "grafana",
        "migrate",
        "mongo-registry",
        "nodered",
        "postgres",
        "registry",
        "reverse-proxy",
        "status-backend",
        "status-frontend",
    ];
    assert_eq!(services(&config).keys().collect::<Vec<_>>(), expected);
    let config = resolved("dev", &["standalone"]);
    let expected =
        ["dragonfly", "governance", "grafana", "migrate", "nodered", "postgres", "status-backend", "status-frontend"];
    assert_eq!(services(&config).keys().collect::<Vec<_>>(), expected);
}

#[test]
fn what_status_knows_of_node_red_is_kept() {
    for mode in MODES {
        let config = resolved(mode, &[]);
        let nodered = &services(&config)["nodered"];
        assert_eq!(nodered["container_name"], "node-red-status");
        let networks = nodered["networks"].as_object().expect("networks");
        assert!(["web_network", "nodered_network"].iter().all(|name| networks.contains_key(*name)), "{networks:?}");
        let mounts = nodered["volumes"].as_array().expect("volumes");
        assert!(mounts.iter().any(|mount| mount["target"] == "/data"), "{mounts:?}");
        assert_eq!(nodered["environment"]["PROBITY_LISTEN"], "0.0.0.0:1880");
        assert!(nodered["environment"].get("STATUS_LEDGER_ENDPOINT").is_some());
        let backend = &services(&config)["status-backend"]["environment"];
        assert_eq!(backend["NODE_RED_URL"], "http://node-red-status:1880");
        assert_eq!(backend["REGISTRY_URL"], "http://registry:80");
    }
}

#[test]
fn probity_stands_where_the_registry_and_the_director_stood() {
    let config = resolved("dev", &["standalone"]);
    let governance = &services(&config)["governance"];
    assert_eq!(governance["networks"], json!({ "db_network": { "aliases": ["registry", "director"] } }));
    let ports: BTreeSet<(u64, &str)> = governance["ports"]
        .as_array()
        .expect("ports")
        .iter()
        .map(|port| (port["target"].as_u64().expect("a number"), port["published"].as_str().expect("a text")))
        .collect();
    assert_eq!(ports, BTreeSet::from([(80, "5400"), (80, "5800")]));
}

#[test]
fn no_secret_stands_in_the_files() {
    let mut seen = BTreeSet::new();
    each(|mode, name, service| {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            let secret = ["PASS", "PASSWORD", "SECRET", "DATABASE_URL", "MONGO_URI", "MONGO_LOG_URI", "MONGODB_URI"];
            // Empty as shipped: accounts elsewhere.
            let elsewhere = ["GH_CLIENT_SECRET", "AI_API_KEY", "GRAFANA_API_KEY"].contains(&variable.as_str());
            if !elsewhere && secret.iter().any(|word| variable.ends_with(word)) {
                let from = SECRETS.iter().filter(|secret| value.contains(&format!("{secret}-for-this-test")));
                // One name may end in another.
                let from = from.max_by_key(|secret| secret.len());
                let from =
                    from.unwrap_or_else(|| panic!("{mode} {name}: {variable} does not come from the environment"));
                seen.insert(*from);
            }
        }
    });
    assert_eq!(seen, SECRETS.iter().copied().collect(), "secrets that nothing uses");
    for line in super::read("deploy/.env.example").lines() {
        if let Some((name, value)) = line.split_once('=')
            && SECRETS.contains(&name)
        {
            assert_eq!(value, "change-me", "{name}");
        }
    }
}

/// As shipped nothing starts: all wait for `migrate`, which looks at every secret first.
#[test]
fn migrate_refuses_the_secrets_of_the_example() {
    let config = read(config("prod", &[], &[]));
    let migrate = &services(&config)["migrate"];
    let command: Vec<&str> = migrate["command"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let [_, "--refuse-weak", names] = command[..] else { panic!("{command:?}") };
    let named: BTreeSet<&str> = names.split(',').collect();
    assert_eq!(named, SECRETS.iter().copied().collect());
    let variables = migrate["environment"].as_object().expect("a map");
    let variables = variables.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
    let run = |more: &[(&str, &str)]| {
        let mut command = crate::serve::probity();
        command.args(command_of(&config)).args(["--database-url", "memory:"]);
        command.envs(
            variables.clone().filter(|(name, _)| !name.starts_with("PROBITY_D") || *name == "PROBITY_DB_PASSWORD"),
        );
        let output = command.envs(more.iter().copied()).output().expect("probity runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(SECRETS.iter().all(|name| said.contains(&format!("{name} is one that everybody knows"))), "{said}");
    assert!(!said.contains("change-me"), "{said}");
    let good: Vec<(&str, &str)> = SECRETS.iter().map(|name| (*name, "0f1e2d3c4b5a69788796a5b4")).collect();
    let (code, said) = run(&good);
    assert_eq!(code, Some(0), "{said}");
}

fn command_of(config: &Value) -> Vec<String> {
    let command = services(config)["migrate"]["command"].as_array().expect("a list");
    command.iter().filter_map(|word| word.as_str().map(str::to_string)).collect()
}

#[test]
fn every_image_is_pinned_or_built() {
    each(|mode, name, service| {
        let image = service["image"].as_str().unwrap_or_default();
        // Their publisher gives them no version; deploy/bin/pin.sh and the variables are for that.
        let moving = ["statuscompliance/status-backend:latest", "ghcr.io/statuscompliance/frontend:latest"];
        let tag = image.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
        let exact = tag.contains('.') && tag.chars().any(|c| c.is_ascii_digit());
        let built = mode == "dev" && service.get("build").is_some();
        assert!(exact || built || moving.contains(&image), "{mode} {name}: {image:?} is no exact version");
    });
}

#[test]
fn nothing_but_the_proxy_listens_beyond_loopback() {
    each(|mode, name, service| {
        for port in service["ports"].as_array().into_iter().flatten() {
            let expected = if name == "reverse-proxy" { "0.0.0.0" } else { "127.0.0.1" };
            assert_eq!(port["host_ip"], expected, "{mode} {name}: {port}");
        }
    });
    let config = resolved("prod", &["governify", "standalone"]);
    assert_eq!(config["networks"]["db_network"]["internal"], true);
    let open: Vec<&String> =
        services(&config).iter().filter(|(_, s)| s["ports"].is_array()).map(|(name, _)| name).collect();
    assert_eq!(open, ["reverse-proxy"]);
    for name in ["postgres", "mongo-registry", "dragonfly", "registry", "director", "governance"] {
        let networks = services(&config)[name]["networks"].as_object().expect("networks");
        assert_eq!(networks.keys().collect::<Vec<_>>(), ["db_network"], "{name}");
    }
}

#[test]
fn development_has_the_ports_of_the_documents() {
    let config = resolved("dev", &["governify"]);
    let published: BTreeMap<&str, &str> = services(&config)
        .iter()
        .filter_map(|(name, service)| Some((name.as_str(), service["ports"][0]["published"].as_str()?)))
        .collect();
    let expected = [
        ("director", "5800"),
        ("dragonfly", "6379"),
        ("grafana", "3100"),
        ("mongo-registry", "5001"),
        ("nodered", "1880"),
        ("postgres", "5432"),
        ("registry", "5400"),
        ("status-backend", "3001"),
        ("status-frontend", "3000"),
    ];
    assert_eq!(published, BTreeMap::from(expected));
}

#[test]
fn every_service_is_confined_and_has_limits() {
    each(|mode, name, service| {
        assert_eq!(service["read_only"], true, "{mode} {name}: root file system");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{mode} {name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{mode} {name}");
        for limit in ["mem_limit", "pids_limit", "cpus", "restart"] {
            assert!(service.get(limit).is_some_and(|v| !v.is_null()), "{mode} {name} has no {limit}");
        }
        let user = service["user"].as_str().unwrap_or_default();
        // Images of others that start as root and give their workers another user themselves, or say nothing of users.
        let own = ["status-frontend", "registry", "director"].contains(&name);
        assert!(
            own || (!user.is_empty() && !user.starts_with("0:") && user != "root"),
            "{mode} {name} runs as {user:?}"
        );
    });
    let config = resolved("prod", &["governify"]);
    for (name, megabytes) in [("grafana", 400), ("director", 400), ("registry", 400), ("mongo-registry", 2000)] {
        assert_eq!(services(&config)[name]["mem_limit"], (megabytes << 20).to_string(), "{name}");
    }
}

#[test]
fn what_is_waited_for_has_a_check_and_the_order_has_no_cycle() {
    for mode in MODES {
        for profiles in PROFILES {
            let config = resolved(mode, profiles);
            let services = services(&config);
            let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for (name, service) in services {
                let others = service["depends_on"].as_object().into_iter().flatten();
                for (other, how) in others {
                    match how["condition"].as_str() {
                        Some("service_healthy") => {
                            let test = services[other]["healthcheck"]["test"]
                                .as_array()
                                .map(Vec::as_slice)
                                .unwrap_or_default();
                            assert_eq!(
                                test.first(),
                                Some(&json!("CMD")),
                                "{name} waits for {other}, which has no check"
                            );
                        }
                        Some("service_completed_successfully") => assert_eq!(other, "migrate", "{name}"),
                        other => panic!("{name}: {other:?} says nothing of health"),
                    }
                    waits.entry(name).or_default().insert(other);
                }
            }
            // Taken away one by one: what is left waits for itself.
            let mut left: BTreeSet<&str> = services.keys().map(String::as_str).collect();
            while let Some(free) = left
                .iter()
                .copied()
                .find(|name| waits.get(name).is_none_or(|others| others.iter().all(|other| !left.contains(other))))
            {
                left.remove(free);
            }
            assert!(left.is_empty(), "{mode}: a cycle among {left:?}");
            for name in ["nodered", "grafana", "dragonfly"] {
                assert!(waits[name].contains("migrate"), "{name} would start with secrets that nobody looked at");
            }
        }
    }
}

#[test]
fn the_image_runs_the_health_check_that_compose_runs() {
    let config = resolved("prod", &[]);
    let nodered = &services(&config)["nodered"];
    let compose: Vec<&str> =
        nodered["healthcheck"]["test"].as_array().expect("a list").iter().skip(1).filter_map(Value::as_str).collect();
    let dockerfile = super::read("deploy/Dockerfile");
    let line = |word: &str| dockerfile.lines().find(|l| l.starts_with(word)).unwrap_or_else(|| panic!("no {word}"));
    let in_image = line("HEALTHCHECK").split_once("CMD ").expect("HEALTHCHECK … CMD").1;
    assert_eq!(serde_json::from_str::<Vec<String>>(in_image).expect("a JSON list"), compose);
    assert_eq!(nodered["user"], line("USER").trim_start_matches("USER "));
}
