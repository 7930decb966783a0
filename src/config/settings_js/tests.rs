//! settings.js files as STATUS and Node-RED ship them, and what must not be read out of others.

use std::path::Path;

use super::*;

fn read(text: &str) -> Settings {
    read_with(text, &[])
}

fn read_with(text: &str, env: &[(&str, &str)]) -> Settings {
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
    super::read("settings.js", text, Path::new("/data"), &env).unwrap()
}

fn key(settings: &Settings, path: &str) -> Option<String> {
    let mut value = settings.keys.get(path.split('.').next().unwrap())?;
    for part in path.split('.').skip(1) {
        value = value.get(part)?;
    }
    Some(match value {
        toml::Value::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap(),
    })
}

/// The file STATUS' setup writes: its `settings_template.js` (Apache-2.0, statuscompliance/infrastructure) with the
/// user's name and hash in place.
const STATUS: &str = include_str!("../../../tests/cases/settings_js/status.js");

/// What Node-RED ships (Apache-2.0, node-red/node-red).
const NODE_RED: &str = include_str!("../../../tests/cases/settings_js/node-red.js");

#[test]
fn the_settings_of_status_are_read() {
    let settings = read(STATUS);
    let hash = "$2a$12$.pB1blMpPJJ42Dd1PiWYne4uxE8NrCHnioblVdp65MbOOkXRRLHNW";
    assert_eq!(key(&settings, "auth.users.developer").as_deref(), Some(hash));
    let own = key(&settings, "auth.users.ana").unwrap();
    assert!(own.starts_with("$2b$12$"), "{own}");
    assert_eq!(key(&settings, "auth.permissions.ana").as_deref(), Some("*"));
    assert_eq!(key(&settings, "auth.flow_logins.ana"), Some(own));
    assert_eq!(key(&settings, "auth.flow_logins.developer"), None);
    assert_eq!(key(&settings, "http.node_root").as_deref(), Some("/api/v1"));
    assert_eq!(key(&settings, "listen").as_deref(), Some("0.0.0.0:1880"));
    assert_eq!(key(&settings, "log.level").as_deref(), Some("info"));
    assert_eq!(settings.editor["functionExternalModules"], json!(true));
    assert_eq!(settings.editor["editorTheme"]["codeEditor"]["lib"], json!("monaco"));
    assert_eq!(settings.notes.len(), 1, "{:?}", settings.notes);
    assert!(settings.notes[0].starts_with("settings.js: line 7: nodesDir has no effect"), "{:?}", settings.notes);
    let listen = key(&read_with(STATUS, &[("PORT", "1990")]), "listen");
    assert_eq!(listen.as_deref(), Some("0.0.0.0:1990"));
}

#[test]
fn the_settings_node_red_ships_are_read() {
    let settings = read(NODE_RED);
    assert_eq!(settings.notes, Vec::<String>::new());
    assert_eq!(key(&settings, "listen").as_deref(), Some("127.0.0.1:1880"), "nobody logs in, so only from here");
    assert_eq!(settings.editor["diagnostics"], json!({ "enabled": true, "ui": true }));
}

#[test]
fn values_are_chosen_as_javascript_would() {
    let listen = |text: &str, env: &[(&str, &str)]| {
        key(&read_with(&format!("module.exports = {{ uiPort: {text} }}"), env), "listen")
    };
    for (text, port) in [
        ("process.env.PORT || 1880", "1880"),
        ("process.env['PORT'] ?? 7", "7"),
        ("process.env.UI || process.env.PORT || 3 /* four */", "3"),
        ("60 * 60 / 2 + 90 - 10", "1880"),
        ("parseInt(process.env.PORT || '1881', 10)", "1881"),
        ("process.env.A === 'b' ? 1 : 2", "2"),
        ("`18${8 + 0}1`", "1881"),
        ("(1880)", "1880"),
        ("0x758", "1880"),
        ("\"19\" + \"90\"", "1990"),
        ("!process.env.A && 5", "5"),
    ] {
        assert_eq!(listen(text, &[]), Some(format!("127.0.0.1:{port}")), "{text}");
    }
    let set = listen("process.env.PORT || 1880", &[("PORT", "2000")]);
    assert_eq!(set.as_deref(), Some("127.0.0.1:2000"));
    let constants = "'use strict';\nconst port = process.env.P || 5, fs = require('fs');\nlet root = '/x';\n\
        function f(a) { return { a }; }\nmodule.exports = { uiPort: port, httpNodeRoot: root };\n";
    let settings = read(constants);
    assert_eq!((key(&settings, "listen").unwrap(), settings.notes.len()), ("127.0.0.1:5".into(), 0));
    assert_eq!(key(&settings, "http.node_root").as_deref(), Some("/x"));
}

#[test]
fn hashes_are_made_of_what_the_environment_gives() {
    let text = "const bcrypt = require('bcryptjs');\nmodule.exports = { adminAuth: { type: 'credentials', users: [\n\
        { username: 'a', password: require('bcryptjs').hashSync(process.env.PASS, 8), permissions: ['read', 'x.write'] },\n\
        { username: 'b', password: bcrypt.hashSync(process.env.NONE, 8), permissions: '*' }] } }";
    let settings = read_with(text, &[("PASS", "correct horse")]);
    let hash = key(&settings, "auth.users.a").unwrap();
    assert!(password::verify("correct horse", &hash) && !hash.contains("correct"));
    assert_eq!(key(&settings, "auth.permissions.a").as_deref(), Some("read,x.write"));
    assert_eq!(key(&settings, "auth.users.b"), Some(password::nobodys()));
    assert!(settings.notes[0].contains("line 4: adminAuth.users[1].password: no bcrypt hash"), "{:?}", settings.notes);
}

#[test]
fn what_cannot_be_read_is_named_and_lets_nobody_in() {
    for (text, table, says) in [
        ("adminAuth: require('./auth')", "auth.users.adminAuth", "line 1: adminAuth: a module cannot be read"),
        ("adminAuth: { type: 'strategy', strategy: {} }", "auth.users.adminAuth", "type \"strategy\" is not supported"),
        ("adminAuth: { type: 'credentials', users: function(u) { return {}; } }", "auth.users.adminAuth", "a function"),
        ("httpNodeAuth: makeAuth({ a: [1, 2] })", "auth.flow_logins.httpNodeAuth", "an expression cannot be read"),
        ("httpNodeAuth: { user: 'a', pass: 'plain' }", "auth.flow_logins.a", "httpNodeAuth"),
    ] {
        let settings = read(&format!("module.exports = {{ {text}, uiHost: '::1' }}"));
        assert_eq!(key(&settings, table), Some(password::nobodys()), "{text}");
        assert!(settings.notes.iter().any(|note| note.contains(says)), "{text}: {:?}", settings.notes);
        assert_eq!(key(&settings, "listen").as_deref(), Some("[::1]:1880"), "what comes after is read: {text}");
    }
    let image = "module.exports = { httpNodeMiddleware: function(req, res, next) {\n const b = require('bcrypt');\n\
        const r = /[/]}/g; if (a && b) { x(`}`); } next(); }, credentialSecret: false }";
    let settings = read(image);
    assert_eq!(key(&settings, "auth.flow_users").as_deref(), Some("[\"*\"]"));
    assert_eq!(key(&settings, "credentials.encrypt").as_deref(), Some("false"));
    assert!(settings.notes[0].contains("line 1: httpNodeMiddleware"), "{:?}", settings.notes);
}

#[test]
fn further_members_are_read() {
    let settings = read(
        "module.exports = { adminAuth: { type: 'credentials', users: { username: 'a', password: 'p', permissions: '*' },\n\
         default: { permissions: 'read' }, sessionExpiryTime: week(), tokens: [{ token: 't', user: 'ci', scope: ['read'] }] },\n\
         httpNodeCors: { origin: 'https://a.example', methods: 'GET' }, httpAdminCors: { origin: '*' }, apiMaxLength: '1.5mb',\n\
         credentialSecret: 's3cret', flowFile: 'flows_x.json', contextStorage: { default: { module: 'memory' } },\n\
         functionTimeout: 5, httpsx: {}, get x() { return 1 }, async y() {}, [z]: 1, ...w, 'quoted-name': 2 }",
    );
    assert_eq!(key(&settings, "auth.default_permissions").as_deref(), Some("read"));
    assert_eq!(key(&settings, "auth.permissions.ci").as_deref(), Some("read"));
    assert_eq!(key(&settings, "auth.tokens.ci").unwrap().len(), 64);
    assert_eq!(key(&settings, "http.node_cors_origins").as_deref(), Some("[\"https://a.example\"]"));
    assert_eq!(key(&settings, "http.cors_origins").as_deref(), Some("[\"*\"]"));
    assert_eq!(key(&settings, "http.body_bytes_max").as_deref(), Some("1572864"));
    assert_eq!(key(&settings, "credentials.secret").as_deref(), Some("s3cret"));
    assert_eq!(key(&settings, "flows").as_deref(), Some("/data/flows_x.json"));
    assert_eq!(settings.editor["functionTimeout"], json!(5));
    let notes = settings.notes.join("\n");
    for says in [
        "sessionExpiryTime: an expression cannot be read",
        "httpsx is not known",
        "x is not known",
        "y is not",
        "… is not",
        "quoted-name",
    ] {
        assert!(notes.contains(says), "{says}: {notes}");
    }
}

#[test]
fn what_is_no_module_is_refused_with_its_line() {
    let error = |text: &str| super::read("settings.js", text, Path::new("/data"), &|_| None).unwrap_err();
    assert!(error("").contains("there is no module.exports"));
    assert!(
        error("module.exports = {\n a: \"x\n }").contains("line 2: cannot be read as settings: a text does not end")
    );
    let strange = read("module.exports = { uiPort: 1 b: 2, httpNodeRoot: '/x' }");
    assert!(strange.notes[0].contains("uiPort: an expression cannot be read"), "{:?}", strange.notes);
    assert_eq!(key(&strange, "http.node_root").as_deref(), Some("/x"));
    assert!(error("module.exports = 5").contains("no object"));
    assert!(error(&format!("module.exports = {}", "[".repeat(100_000))).contains("nested too deeply"));
    assert!(error("module.exports = { a: /* }").contains("a comment does not end"));
}
