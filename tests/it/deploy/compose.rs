//! The compose files as Docker Compose resolves them, in every combination: complete, pinned, without secrets, closed to
//! the outside, and with what the rest of STATUS relies on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex};

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
/// Of `compose.ha.yml` besides.
const SECRETS_HA: &[&str] = &["REPLICATION_PASSWORD", "NATS_PASSWORD"];
const MODES: [&str; 2] = ["dev", "prod"];
const PROFILES: [&str; 6] = ["governify", "standalone", "monitoring", "tls", "ha", "backup"];
/// Services of one job, which give new volumes to their users: root with nothing but the right to do so.
const GIVERS: [&str; 2] = ["ha-volumes", "tls-volumes"];

/// Runs `docker-compose config` on the base and these files, with these variables beside those of `.env.example`.
fn config(mode: &str, profiles: &[&str], variables: &[(&str, String)]) -> Output {
    let tool = super::file("target/tools/bin/docker-compose");
    assert!(tool.exists(), "{} is missing; tests/all installs it: run `tests/all deploy` once", tool.display());
    let mut command = Command::new(tool);
    command.env_clear().env("COMPOSE_PROFILES", profiles.join(","));
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    command.arg("--env-file").arg(super::file("deploy/.env.example"));
    // A mode is the names of its files: "prod", or "prod ha".
    for file in std::iter::once("base").chain(mode.split(' ')) {
        command.arg("-f").arg(super::file(&format!("deploy/compose.{file}.yml")));
    }
    command.args(["config", "--format", "json"]).output().expect("docker-compose runs")
}

/// What an operator's machine would run, with secrets that are easy to find again.
pub fn resolved(mode: &str, profiles: &[&str]) -> Value {
    resolved_with(mode, profiles, &[])
}

/// The same with these variables besides.
pub fn resolved_with(mode: &str, profiles: &[&str], variables: &[(&'static str, &str)]) -> Value {
    let secrets = SECRETS.iter().chain(SECRETS_HA).map(|name| (*name, format!("{name}-for-this-test")));
    let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
    read(config(mode, profiles, &secrets.chain(variables).collect::<Vec<_>>()))
}

/// A mode, its profiles, and what they come to.
struct Combination {
    mode: String,
    profiles: Vec<&'static str>,
    config: Value,
}

/// Both modes, with and without the file for high availability, and of the profiles none, each, each two, and all. What
/// three profiles come to is what their pairs come to: a profile adds services, and nothing depends on its absence.
static COMBINATIONS: LazyLock<Vec<Combination>> = LazyLock::new(|| {
    let mut chosen: Vec<Vec<&'static str>> = vec![Vec::new(), PROFILES.to_vec()];
    for (i, one) in PROFILES.iter().enumerate() {
        chosen.push(vec![one]);
        chosen.extend(PROFILES[i + 1..].iter().map(|other| vec![*one, *other]));
    }
    let modes = MODES.iter().flat_map(|mode| [(*mode).to_owned(), format!("{mode} ha")]);
    let mut wanted: Vec<(String, Vec<&'static str>)> =
        modes.flat_map(|mode| chosen.iter().map(move |profiles| (mode.clone(), profiles.clone()))).collect();
    wanted.reverse();
    let (wanted, found) = (Mutex::new(wanted), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = wanted.lock().expect("no thread panics holding it").pop();
                    let Some((mode, profiles)) = next else { break };
                    let config = resolved(&mode, &profiles);
                    found.lock().expect("no thread panics holding it").push(Combination { mode, profiles, config });
                }
            });
        }
    });
    found.into_inner().expect("no thread panics holding it")
});

fn read(output: Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("docker-compose prints JSON")
}

pub fn services(config: &Value) -> &Map<String, Value> {
    config["services"].as_object().expect("services")
}

/// Every combination of a mode and profiles, with its services.
fn each(mut check: impl FnMut(&str, &str, &Value)) {
    for combination in COMBINATIONS.iter() {
        for (name, service) in services(&combination.config) {
            check(&combination.mode, name, service);
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
            let elsewhere =
                ["GH_CLIENT_SECRET", "AI_API_KEY", "GRAFANA_API_KEY", "SMTP_PASSWORD"].contains(&variable.as_str());
            if !elsewhere && secret.iter().any(|word| variable.ends_with(word)) {
                let from = SECRETS
                    .iter()
                    .chain(SECRETS_HA)
                    .filter(|secret| value.contains(&format!("{secret}-for-this-test")));
                // One name may end in another.
                let from = from.max_by_key(|secret| secret.len());
                let from =
                    from.unwrap_or_else(|| panic!("{mode} {name}: {variable} does not come from the environment"));
                seen.insert(*from);
            }
        }
    });
    assert_eq!(seen, SECRETS.iter().chain(SECRETS_HA).copied().collect(), "secrets that nothing uses");
    for line in super::read("deploy/.env.example").lines() {
        if let Some((name, value)) = line.split_once('=')
            && (SECRETS.contains(&name) || SECRETS_HA.contains(&name))
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
    let with_ha = read(self::config("prod ha", &["ha"], &[]));
    let named: BTreeSet<String> = command_of(&with_ha)[2].split(',').map(str::to_owned).collect();
    assert_eq!(named, SECRETS.iter().chain(SECRETS_HA).map(|name| (*name).to_owned()).collect());
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
        let built = mode.starts_with("dev") && service.get("build").is_some();
        assert!(exact || built || moving.contains(&image), "{mode} {name}: {image:?} is no exact version");
    });
}

#[test]
fn nothing_but_the_proxy_listens_beyond_loopback() {
    each(|mode, name, service| {
        for port in service["ports"].as_array().into_iter().flatten() {
            let expected = if ["reverse-proxy", "traefik"].contains(&name) { "0.0.0.0" } else { "127.0.0.1" };
            assert_eq!(port["host_ip"], expected, "{mode} {name}: {port}");
        }
    });
    for combination in COMBINATIONS.iter().filter(|c| c.mode.starts_with("prod") && c.profiles.len() == PROFILES.len())
    {
        let open = services(&combination.config).iter().filter(|(_, s)| s["ports"].is_array());
        let open: Vec<&String> = open.map(|(name, _)| name).collect();
        assert_eq!(open, ["alertmanager", "prometheus", "reverse-proxy", "traefik"]);
        for name in ["postgres-a", "postgres-b", "etcd-1", "etcd-2", "etcd-3", "nats"] {
            let Some(service) = services(&combination.config).get(name) else { continue };
            let networks = service["networks"].as_object().expect("networks");
            assert_eq!(networks.keys().collect::<Vec<_>>(), ["db_network"], "{name}");
        }
        for network in ["db_network", "docker_network", "labels_network"] {
            assert_eq!(combination.config["networks"][network]["internal"], true, "{network}");
        }
    }
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
        let own = ["status-frontend", "registry", "director"].contains(&name) || GIVERS.contains(&name);
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
    for Combination { mode, config, profiles } in COMBINATIONS.iter() {
        let services = services(config);
        // All that go on have a check, waited for or not.
        for (name, service) in services.iter().filter(|(_, service)| service["restart"] != "no") {
            let test = &service["healthcheck"]["test"];
            assert!(test.is_array(), "{mode} {name} has no health check");
        }
        let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, service) in services {
            let others = service["depends_on"].as_object().into_iter().flatten();
            for (other, how) in others {
                // With the file for high availability and without its profile the database has nobody behind it.
                if !services.contains_key(other) {
                    assert!(how["required"] == false && !profiles.contains(&"ha"), "{mode} {name}: no {other}");
                    continue;
                }
                match how["condition"].as_str() {
                    Some("service_healthy") => {
                        let test =
                            services[other]["healthcheck"]["test"].as_array().map(Vec::as_slice).unwrap_or_default();
                        assert_eq!(test.first(), Some(&json!("CMD")), "{name} waits for {other}, which has no check");
                    }
                    Some("service_completed_successfully") => {
                        assert!(other == "migrate" || GIVERS.contains(&other.as_str()), "{name} waits for {other}");
                    }
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
        for name in ["nodered", "grafana", "dragonfly", "probity-2", "probity-3", "nats"] {
            let looked_at = waits.get(name).is_none_or(|waits| waits.contains("migrate"));
            assert!(looked_at, "{name} would start with secrets that nobody looked at");
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

/// Names of runs go by NATS from every server to every worker, and what is synced is synced before it is acknowledged.
#[test]
fn with_high_availability_all_servers_dispatch_by_nats() {
    let config = resolved("prod ha", &["ha"]);
    for name in ["nodered", "probity-2", "probity-3", "probity-worker-1", "probity-worker-2"] {
        let environment = &services(&config)[name]["environment"];
        assert_eq!(environment["PROBITY_DISPATCH_NATS_URL"], "nats://nats:4222", "{name}");
        assert_eq!(environment["PROBITY_DISPATCH_NATS_USER"], "probity", "{name}");
        let password = environment["PROBITY_DISPATCH_NATS_PASSWORD"].as_str().expect("a password");
        assert_eq!(services(&config)["nats"]["environment"]["NATS_PASSWORD"], password, "{name}");
    }
    let conf = super::read("deploy/ha/nats.conf");
    assert!(conf.lines().any(|line| line.trim() == "sync_interval: always"));
    assert!(conf.contains("user: probity") && conf.contains("password: $NATS_PASSWORD"));
}

/// The name `postgres` leads to the primary; those behind it are two, and nobody else is asked.
#[test]
fn with_high_availability_the_databases_name_is_the_proxy() {
    let config = resolved("prod ha", &["ha"]);
    let services = services(&config);
    assert!(services["postgres"]["image"].as_str().is_some_and(|image| image.starts_with("haproxy:")));
    for variable in ["POSTGRES_PASSWORD", "PROBITY_DB_PASSWORD"] {
        assert!(services["postgres"]["environment"].get(variable).is_none(), "the proxy needs no {variable}");
    }
    let proxy = super::read("deploy/ha/haproxy.cfg");
    for node in ["postgres-a", "postgres-b"] {
        assert_eq!(proxy.matches(&format!("server {node} {node}:5432")).count(), 2, "{node}: for writes and for reads");
        assert_eq!(services[node]["environment"]["PATRONI_NAME"], node);
    }
    assert_eq!(services["grafana"]["environment"]["PROBITY_PG_HOST"], "postgres:5433");
    for worker in ["probity-worker-1", "probity-worker-2"] {
        assert_eq!(services[worker]["environment"]["PROBITY_ROLES"], "worker", "{worker}");
        assert!(!super::read("deploy/nginx/upstreams.conf").contains(worker), "{worker} answers nobody");
    }
    for server in ["nodered", "probity-2", "probity-3"] {
        let url = services[server]["environment"]["PROBITY_DATABASE_URL"].as_str().unwrap_or_default();
        assert!(url.contains("@postgres:5432/"), "{server}: {url}");
        assert!(super::read("deploy/nginx/upstreams.conf").contains(&format!("server {server}:1880 resolve")));
    }
}
