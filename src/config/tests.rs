//! Layers over layers, and every problem named.

use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

#[test]
fn later_layers_win() {
    let file = Some(("f.toml", "listen = \"127.0.0.1:1\"\n[limits]\nruns_max = 5\nhops_max = 6\n"));
    let variables = env(&[("PROBITY_LIMITS_RUNS_MAX", "7"), ("PROBITY_NET_ALLOW", "a.example, b.example")]);
    let flags: Table = "listen = \"127.0.0.1:2\"".parse().unwrap();
    let (config, warnings) = resolve(file, &NO_SETTINGS, &variables, &flags).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!((config.limits.runs_max, config.limits.hops_max), (7, 6));
    assert_eq!(config.net.allow, ["a.example", "b.example"]);
    assert!(warnings.is_empty());
    assert_eq!(config.database_url(), "sqlite:./data/probity.db");
}

#[test]
fn all_problems_are_named_at_once() {
    let file = Some(("f.toml", "lisen = \"x\"\n[limits]\nruns_max = \"many\"\n"));
    let error = resolve(file, &NO_SETTINGS, &env(&[("PROBITY_LIMITS_HOPS_MAX", "x")]), &Table::new()).unwrap_err();
    assert_eq!(
        error.0,
        [
            "f.toml: limits.runs_max: expected integer, found string",
            "f.toml: lisen: unknown key; did you mean \"listen\"?",
            "PROBITY_LIMITS_HOPS_MAX: expected integer, found \"x\"",
        ]
    );
}

#[test]
fn misspelt_variables_are_pointed_out() {
    let (_, warnings) = resolve(None, &NO_SETTINGS, &env(&[("PROBITY_LISTN", "x")]), &Table::new()).unwrap();
    assert_eq!(
        warnings,
        ["environment variable PROBITY_LISTN is not a configuration key; did you mean PROBITY_LISTEN?"]
    );
}

#[test]
fn values_of_the_right_kind_that_mean_nothing_are_named() {
    let problem =
        |text: &str| resolve(Some(("f.toml", text)), &NO_SETTINGS, &[], &Table::new()).unwrap_err().to_string();
    let listen = problem("listen = \"localhost\"");
    assert_eq!(
        listen,
        "listen: \"localhost\" is no address; expected ADDRESS:PORT, for example 127.0.0.1:1880 or [::1]:1880"
    );
    let format = problem("[log]\nformat = \"xml\"");
    assert!(format.contains("xml") && format.contains("format"), "{format}");
    let runs = problem("[limits]\nruns_max = -1");
    assert!(runs.contains("-1") && runs.contains("runs_max"), "{runs}");
}

#[test]
fn the_other_addresses_are_off_until_they_are_given() {
    let (config, _) = resolve(None, &NO_SETTINGS, &[], &Table::new()).unwrap();
    assert_eq!((config.listen_registry, config.listen_director), (None, None));
    let variables = env(&[("PROBITY_LISTEN_REGISTRY", "localhost:5400")]);
    let flags: Table = "listen_director = \"[::1]:5800\"".parse().unwrap();
    let (config, warnings) = resolve(None, &NO_SETTINGS, &variables, &flags).unwrap();
    assert_eq!(config.listen_registry.unwrap().to_string(), "127.0.0.1:5400");
    assert_eq!(config.listen_director.unwrap().port(), 5800);
    assert!(warnings.is_empty());
    let wrong = resolve(None, &NO_SETTINGS, &env(&[("PROBITY_LISTEN_REGISTRY", "5400")]), &Table::new()).unwrap_err();
    assert!(wrong.to_string().starts_with("listen_registry: \"5400\" is no address"), "{wrong}");
}

#[test]
fn problems_do_not_quote_secrets() {
    let file = Some(("f.toml", "listen = \"127.0.0.1:1\"\ndatabase_url = \"postgres://u:hunter2@h/d\n"));
    let error = resolve(file, &NO_SETTINGS, &env(&[("PROBITY_AUTH_TOKENS", "hunter2")]), &Table::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("f.toml: line 2: not TOML"), "{error}");
    assert!(error.contains("PROBITY_AUTH_TOKENS: expected name=value"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn what_could_never_let_anybody_in_is_refused() {
    let hash = "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    for (users, says) in [
        (format!("{{ \"a:b\" = \"{hash}\" }}"), "auth.users.a:b: a name cannot contain ':'"),
        (format!("{{ ana = \"{}\" }}", hash.replace("$10$", "$xx$")), "auth.users.ana: not a bcrypt hash"),
    ] {
        let file = format!("[auth]\nusers = {users}\n");
        let error = resolve(Some(("f.toml", &file)), &NO_SETTINGS, &[], &Table::new()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn settings_js_stands_between_the_file_and_the_environment() {
    let settings = |dir: &Path| {
        assert_eq!(dir, Path::new("/d"));
        let text = "module.exports = { uiPort: 3, httpNodeRoot: '/api/v1', apiMaxLength: '1kb', nope: 1 }";
        Some(settings_js::read("settings.js", text, dir, &|_| None))
    };
    let file = Some(("f.toml", "listen = \"127.0.0.1:1\"\ndata_dir = \"/d\"\n[http]\nnode_root = \"/x\"\n"));
    let variables = env(&[("PROBITY_HTTP_BODY_BYTES_MAX", "7")]);
    let (config, warnings) = resolve(file, &settings, &variables, &Table::new()).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:3");
    assert_eq!((config.http.node_root.as_str(), config.http.body_bytes_max), ("/api/v1", 7));
    assert_eq!(warnings, ["settings.js: line 1: nope is not known and has no effect"]);
    assert_eq!(config.settings_js, Some("/d/settings.js".into()));
    let flags: Table = "listen = \"127.0.0.1:9\"".parse().unwrap();
    assert_eq!(resolve(file, &settings, &[], &flags).unwrap().0.listen.port(), 9);
    let broken = |dir: &Path| Some(settings_js::read("settings.js", "module.exports = {", dir, &|_| None));
    let error = resolve(file, &broken, &[], &Table::new()).unwrap_err().to_string();
    assert!(error.starts_with("settings.js: line 1: cannot be read as settings"), "{error}");
}

#[test]
fn plain_passwords_are_refused() {
    let file = Some(("f.toml", "[auth]\nusers = { ana = \"secret\" }\n"));
    assert!(resolve(file, &NO_SETTINGS, &[], &Table::new()).unwrap_err().to_string().contains("bcrypt"));
}
