//! What is written about the compose files, held against them: the map of accesses, the numbers of health checks, volumes.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::{resolved, resolved_with, services};

const ALL: [&str; 6] = ["governify", "standalone", "monitoring", "tls", "ha", "backup"];

/// Ports that services publish, in any mode.
fn published() -> BTreeMap<String, BTreeSet<u32>> {
    let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for mode in ["dev", "prod"] {
        for (name, service) in services(&resolved(mode, &ALL)) {
            for port in service["ports"].as_array().into_iter().flatten() {
                let port = port["published"].as_str().and_then(|text| text.parse().ok()).expect("a port");
                found.entry(name.clone()).or_default().insert(port);
            }
        }
    }
    found
}

/// The table of services in deploy/README.md names every port that is published, and no other.
#[test]
fn the_map_of_accesses_is_that_of_the_compose_files() {
    let published = published();
    let readme = super::read("deploy/README.md");
    let table = readme.split("## Services").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let table = table.split("\n\n").find(|part| part.starts_with("| service |")).expect("a table");
    let mut seen = BTreeSet::new();
    for row in table.lines().skip(2) {
        let cells: Vec<&str> = row.split('|').collect();
        let names = cells[1].split('`').skip(1).step_by(2).map(str::to_owned);
        let names: Vec<String> = names.filter(|name| published.contains_key(name)).collect();
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let said: BTreeSet<u32> = cells[3].split([' ', ',']).filter_map(|word| digits(word).parse().ok()).collect();
        // With high availability, `postgres` is another container at the same place.
        let real = names.iter().filter(|name| !cells[1].contains("as HAProxy") || name.as_str() != "postgres");
        let real: BTreeSet<u32> = real.flat_map(|name| published[name].clone()).collect();
        assert_eq!(said, real, "{row}");
        seen.extend(names);
    }
    assert_eq!(seen, published.into_keys().collect());
}

#[test]
fn health_checks_have_the_numbers_of_the_documents() {
    for mode in ["dev", "prod"] {
        let config = resolved(mode, &["standalone"]);
        for name in ["nodered", "governance", "postgres"] {
            let check = &services(&config)[name]["healthcheck"];
            assert_eq!((&check["interval"], &check["timeout"]), (&"10s".into(), &"5s".into()), "{mode} {name}");
            assert_eq!(check["retries"], 5, "{mode} {name}");
        }
    }
    // Workers are processes of their own, as many as wanted, beside servers that answer.
    let config = resolved("prod ha", &["ha"]);
    let roles = services(&config).iter().filter(|(_, service)| service["environment"]["PROBITY_ROLES"] == "worker");
    assert_eq!(roles.count(), 2);
}

/// A volume that somebody made by hand, and a folder in it for the data.
#[test]
fn the_databases_volume_and_folder_can_be_ones_own() {
    let of = |config: &serde_json::Value| {
        let postgres = &services(config)["postgres"];
        let mount = postgres["volumes"].as_array().expect("a list").iter().find(|v| v["source"] == "postgres");
        let mount = mount.expect("the volume is mounted")["target"].clone();
        (config["volumes"]["postgres"]["name"].clone(), mount, postgres["environment"]["PGDATA"].clone())
    };
    let data = "/var/lib/postgresql/data";
    assert_eq!(of(&resolved("prod", &[])), ("status_postgres".into(), data.into(), data.into()));
    let own = [("POSTGRES_VOLUME", "made-by-hand"), ("POSTGRES_PGDATA", "/var/lib/postgresql/data/pgdata")];
    let own = of(&resolved_with("prod", &[], &own));
    assert_eq!(own, ("made-by-hand".into(), data.into(), "/var/lib/postgresql/data/pgdata".into()));
}

/// Each choice has its reason, what it stands instead of and its price, in both languages.
#[test]
fn what_was_chosen_says_why() {
    for (page, words) in [
        ("docs/deploy/decisions.md", ["Why", "instead of", "price"]),
        ("docs/deploy/decisions.es.md", ["Por qué", "en lugar de", "precio"]),
    ] {
        let text = super::read(page);
        let sections: Vec<&str> = text.split("\n## ").skip(1).collect();
        assert!(sections.len() >= 8, "{page}: {} decisions", sections.len());
        for section in sections {
            let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
            for word in words {
                assert!(section.to_lowercase().contains(&word.to_lowercase()), "{page}: no \"{word}\" in {section}");
            }
        }
        for about in ["Dragonfly", "db_network", "Node-RED", "Governify", "Patroni", "scratch", "Traefik", "etcd"] {
            assert!(text.contains(about), "{page} says nothing of {about}");
        }
    }
}
