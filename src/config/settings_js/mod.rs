//! Node-RED's settings.js: what of it is configuration of ours, read without running it. What cannot be read, and what
//! has no effect here, is named with its line.
//!
//! Where something that protects cannot be read, nobody is let in rather than everybody.

mod expression;
mod lex;
mod parse;
mod value;

use std::path::Path;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use toml::Table;

use crate::api::password;
use crate::config::contexts::MODULES;
use parse::parse;
use value::{Is, Value};

/// What a settings.js says.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Our configuration keys, as the configuration file would have them.
    pub keys: Table,
    /// What it says about the editor and the runtime's limits, in its own names.
    pub editor: Map<String, Json>,
    /// What could not be read or has no effect here, one line each.
    pub notes: Vec<String>,
}

/// Members that only the editor, or nodes that ask for them, need to know. Kept in their own names.
const KEPT: &[&str] = &[
    "contextStorage",
    "debugMaxLength",
    "debugStatusLength",
    "diagnostics",
    "disableEditor",
    "editorTheme",
    "exportGlobalContextKeys",
    "externalModules",
    "flowFilePretty",
    "functionExternalModules",
    "functionGlobalContext",
    "functionTimeout",
    "globalFunctionTimeout",
    "nodeDefaults",
    "paletteCategories",
    "runtimeState",
    "tlsConfigDisableLocalFiles",
];

/// Members without effect here, with what stands in for them; empty: nothing needs to.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("debugUseColors", ""),
    ("execMaxBufferSize", ""),
    ("fileWorkingDirectory", "file nodes work in the configured folder"),
    ("httpAdminCookieOptions", "logins use no cookies"),
    ("httpServerOptions", "[http] of the configuration has the server's limits"),
    ("httpStatic", "no files are served; let the proxy in front do it"),
    ("httpStaticAuth", "no files are served that it could protect"),
    ("httpStaticCors", "no files are served"),
    ("httpStaticRoot", "no files are served"),
    ("httpsRefreshInterval", "TLS is the proxy's in front"),
    ("inboundWebSocketTimeout", ""),
    ("lang", ""),
    ("mqttReconnectTime", ""),
    ("nodesDir", "nodes written for Node.js are not loaded; `probity import node-red` says which are missing"),
    ("nodesExcludes", ""),
    ("proxyOptions", ""),
    ("serialReconnectTime", ""),
    ("socketReconnectTime", ""),
    ("socketTimeout", ""),
    ("tcpMsgQueueSize", ""),
    ("telemetry", ""),
    ("ui", "the dashboard's nodes are not here"),
    ("verbose", ""),
    ("webSocketNodeVerifyClient", ""),
];

/// Reads a settings.js. `path` names it in notes; `data_dir` is the folder it lies in; `env` gives the environment.
///
/// # Errors
/// The file is no module that can be read at all: line and reason.
pub fn read(path: &str, text: &str, data_dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Settings, String> {
    let module = parse(text, env)
        .map_err(|broken| format!("{path}: line {}: cannot be read as settings: {}", broken.line, broken.message))?;
    let mut reading = Reading { path, data_dir, out: Settings::default(), port: None, host: None, has_users: false };
    for (line, what) in &module.beside {
        reading.note(*line, &format!("{what} is not read"));
    }
    let Is::Object(members) = &module.exports.is else {
        return Err(format!("{path}: line {}: module.exports is no object that can be read", module.exports.line));
    };
    for (i, (name, value)) in members.iter().enumerate() {
        // As in JavaScript, the last of a name counts.
        if members[i + 1..].iter().all(|(later, _)| later != name) {
            reading.member(name, value);
        }
    }
    reading.listen();
    Ok(reading.out)
}

struct Reading<'a> {
    path: &'a str,
    data_dir: &'a Path,
    out: Settings,
    port: Option<u16>,
    host: Option<String>,
    has_users: bool,
}

impl Reading<'_> {
    fn note(&mut self, line: usize, text: &str) {
        self.out.notes.push(format!("{}: line {line}: {text}", self.path));
    }

    /// Notes that a member is not of a kind that can be used.
    fn wrong(&mut self, name: &str, value: &Value, expected: &str) {
        let found = match &value.is {
            Is::Unread(what) => format!("{what} cannot be read"),
            other => format!("found {}", kind(other)),
        };
        self.note(value.line, &format!("{name}: {found}; expected {expected}"));
    }

    fn set(&mut self, path: &str, value: impl Into<toml::Value>) {
        let value = value.into();
        match path.split_once('.') {
            Some((section, key)) => {
                let table = self.out.keys.entry(section).or_insert_with(|| toml::Value::Table(Table::new()));
                if let toml::Value::Table(table) = table {
                    table.insert(key.into(), value);
                }
            }
            None => {
                self.out.keys.insert(path.into(), value);
            }
        }
    }

    /// Puts a name into one of the open tables.
    fn add(&mut self, path: &str, name: &str, value: String) {
        let (section, key) = path.split_once('.').unwrap_or(("", path));
        let table = self.out.keys.entry(section).or_insert_with(|| toml::Value::Table(Table::new()));
        let toml::Value::Table(table) = table else { return };
        let table = table.entry(key).or_insert_with(|| toml::Value::Table(Table::new()));
        if let toml::Value::Table(table) = table {
            table.insert(name.into(), toml::Value::String(value));
        }
    }

    fn member(&mut self, name: &str, value: &Value) {
        if matches!(value.is, Is::Undefined) {
            return;
        }
        match name {
            "uiPort" => self.ui_port(value),
            "uiHost" => match text(value) {
                Some(host) => self.host = Some(host),
                None => self.wrong(name, value, "an address such as \"127.0.0.1\""),
            },
            "httpNodeRoot" => self.root("http.node_root", name, value),
            "httpAdminRoot" => self.admin_root(value),
            "httpRoot" => {
                self.root("http.node_root", name, value);
                self.admin_root(value);
            }
            "adminAuth" => self.admin_auth(value),
            "httpNodeAuth" => self.node_auth(value),
            "httpNodeMiddleware" | "httpAdminMiddleware" => self.middleware(name, value),
            "httpNodeCors" => self.cors("http.node_cors_origins", name, value),
            "httpAdminCors" => self.cors("http.cors_origins", name, value),
            "apiMaxLength" => match bytes(value) {
                Some(bytes) => self.set("http.body_bytes_max", bytes),
                None => self.wrong(name, value, "a size such as \"5mb\""),
            },
            "flowFile" => self.flow_file(value),
            "userDir" => match text(value) {
                Some(dir) if Path::new(&dir) == self.data_dir => {}
                Some(_) => self.note(
                    value.line,
                    &format!("userDir has no effect: the data folder is {} (--data-dir)", self.data_dir.display()),
                ),
                None => self.wrong(name, value, "a folder"),
            },
            "credentialSecret" => match &value.is {
                Is::Text(secret) if !secret.is_empty() => self.set("credentials.secret", secret.clone()),
                Is::Bool(false) => self.set("credentials.encrypt", false),
                _ => self.wrong(name, value, "a text, or false for no encryption"),
            },
            "httpRequestTimeout" => self.limit(name, value, "net.request_ms_max"),
            "nodeMessageBufferMaxLength" => self.limit(name, value, "limits.node_messages_max"),
            "logging" => self.logging(value),
            "https" => {
                self.note(
                    value.line,
                    "https has no effect: TLS is the business of the proxy in front (deploy/README.md)",
                );
            }
            "requireHttps" if matches!(value.is, Is::Bool(false)) => {}
            "requireHttps" => self.note(value.line, "requireHttps has no effect: let the proxy in front redirect"),
            name if KEPT.contains(&name) => self.keep(name, value),
            name => self.other(name, value),
        }
    }

    fn other(&mut self, name: &str, value: &Value) {
        match WITHOUT_EFFECT.iter().find(|(known, _)| *known == name) {
            Some((_, "")) => {}
            Some((_, instead)) => self.note(value.line, &format!("{name} has no effect: {instead}")),
            None => {
                let known = KEPT.iter().chain(WITHOUT_EFFECT.iter().map(|(name, _)| name)).copied();
                let hint = crate::model::diagnostic::closest(name, known.chain(APPLIED.iter().copied()));
                let hint = hint.map(|hint| format!("; did you mean \"{hint}\"?")).unwrap_or_default();
                self.note(value.line, &format!("{name} is not known and has no effect{hint}"));
            }
        }
    }

    fn ui_port(&mut self, value: &Value) {
        let port = match &value.is {
            Is::Number(number) if number.fract() == 0.0 && (0.0..=65535.0).contains(number) => Some(*number as u16),
            Is::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        match port {
            Some(port) => self.port = Some(port),
            None => self.wrong("uiPort", value, "a port"),
        }
    }

    /// Node-RED listens everywhere; so do we when it is protected, as far as nobody says otherwise.
    fn listen(&mut self) {
        if self.port.is_none() && self.host.is_none() {
            return;
        }
        let host = match self.host.take() {
            Some(host) if host.contains(':') => format!("[{host}]"),
            Some(host) => host,
            None if self.has_users => "0.0.0.0".into(),
            None => "127.0.0.1".into(),
        };
        let port = self.port.unwrap_or(1880);
        self.set("listen", format!("{host}:{port}"));
    }

    fn root(&mut self, key: &str, name: &str, value: &Value) {
        match &value.is {
            Is::Text(root) => {
                let slash = if root.starts_with('/') { "" } else { "/" };
                self.set(key, format!("{slash}{root}"));
            }
            Is::Bool(false) => {
                self.note(value.line, &format!("{name}: false has no effect: it cannot be switched off"))
            }
            _ => self.wrong(name, value, "a path such as \"/api/v1\""),
        }
    }

    fn admin_root(&mut self, value: &Value) {
        match &value.is {
            Is::Text(root) => {
                let root = format!("/{}", root.trim_matches('/'));
                self.out.editor.insert("httpAdminRoot".into(), json!(root));
            }
            _ => self.wrong("httpAdminRoot", value, "a path such as \"/admin\"; it cannot be switched off"),
        }
    }

    fn admin_auth(&mut self, value: &Value) {
        if matches!(value.is, Is::Null | Is::Bool(false)) {
            return;
        }
        self.has_users = true;
        let mut users = 0;
        match value.get("type").map(|t| &t.is) {
            Some(Is::Text(kind)) if kind == "credentials" => {
                let listed = match value.get("users") {
                    Some(Value { is: Is::List(users), .. }) => users.as_slice(),
                    Some(user) => std::slice::from_ref(user),
                    None => &[],
                };
                for (i, user) in listed.iter().enumerate() {
                    users += usize::from(self.user(&format!("adminAuth.users[{i}]"), user));
                }
            }
            Some(Is::Text(kind)) => {
                self.note(
                    value.line,
                    &format!("adminAuth: type \"{kind}\" is not supported; expected \"credentials\""),
                );
            }
            _ => self.wrong("adminAuth", value, "{type: \"credentials\", users: […]}"),
        }
        if let Some(default) = value.get("default") {
            match default.get("permissions").and_then(permissions) {
                Some(permissions) => self.set("auth.default_permissions", permissions),
                None => self.wrong("adminAuth.default", default, "{permissions: \"read\"}"),
            }
        }
        if let Some(time) = value.get("sessionExpiryTime") {
            match time.is {
                Is::Number(seconds) if (1.0..=4e9).contains(&seconds) => {
                    self.set("auth.session_s_max", seconds as i64);
                }
                _ => self.wrong("adminAuth.sessionExpiryTime", time, "seconds"),
            }
        }
        if let Some(tokens) = value.get("tokens") {
            users += self.tokens(tokens);
        }
        for (name, member) in members(value) {
            let known = ["type", "users", "default", "sessionExpiryTime", "tokens", "exchangeCodeExpiryTime"];
            if !known.contains(&name.as_str()) {
                self.note(member.line, &format!("adminAuth.{name} is not supported"));
            }
        }
        if users == 0 {
            // Somebody wanted a login; that none can be read must not mean that none is needed.
            self.add("auth.users", "adminAuth", password::nobodys());
            self.note(
                value.line,
                "adminAuth: no user could be read, so nobody can log in; give users in the configuration (auth.users)",
            );
        }
    }

    /// Reads one user; false when it is none.
    fn user(&mut self, at: &str, user: &Value) -> bool {
        let Some(name) = user.get("username").and_then(text) else {
            self.wrong(at, user, "{username, password, permissions}");
            return false;
        };
        let hash = user.get("password").and_then(hash);
        if hash.is_none() {
            self.note(
                user.get("password").map_or(user.line, |p| p.line),
                &format!("{at}.password: no bcrypt hash can be read, so user \"{name}\" cannot log in"),
            );
        }
        self.add("auth.users", &name, hash.unwrap_or_else(password::nobodys));
        let given = user.get("permissions").and_then(permissions);
        if given.is_none() {
            self.note(user.line, &format!("{at}.permissions: none, so user \"{name}\" may do nothing"));
        }
        self.add("auth.permissions", &name, given.unwrap_or_default());
        true
    }

    /// `[{token, user, scope}]`; gives how many were read.
    fn tokens(&mut self, tokens: &Value) -> usize {
        let Is::List(list) = &tokens.is else {
            self.wrong("adminAuth.tokens", tokens, "a list of {token, user, scope}");
            return 0;
        };
        let mut read = 0;
        for (i, token) in list.iter().enumerate() {
            let (secret, user) = (token.get("token").and_then(text), token.get("user").and_then(text));
            match (secret, user) {
                (Some(secret), Some(user)) => {
                    self.add("auth.tokens", &user, hex::encode(Sha256::digest(secret.as_bytes())));
                    let scope = token.get("scope").and_then(permissions).unwrap_or_default();
                    let is_user = self.out.keys.get("auth").and_then(|auth| auth.get("users")?.get(&user)).is_some();
                    if !is_user {
                        self.add("auth.permissions", &user, scope);
                    }
                    read += 1;
                }
                _ => self.wrong(&format!("adminAuth.tokens[{i}]"), token, "{token, user, scope}"),
            }
        }
        read
    }

    fn node_auth(&mut self, value: &Value) {
        if matches!(value.is, Is::Null | Is::Bool(false)) {
            return;
        }
        let (user, hash) = (value.get("user").and_then(text), value.get("pass").and_then(hash));
        if user.is_none() || hash.is_none() {
            self.wrong("httpNodeAuth", value, "{user, pass: \"bcrypt hash\"}, so nobody can call flow endpoints");
        }
        let user = user.unwrap_or_else(|| "httpNodeAuth".into());
        self.add("auth.flow_logins", &user, hash.unwrap_or_else(password::nobodys));
    }

    fn middleware(&mut self, name: &str, value: &Value) {
        if matches!(value.is, Is::Null | Is::Bool(false)) {
            return;
        }
        if name == "httpAdminMiddleware" {
            return self.note(value.line, "httpAdminMiddleware: a function cannot be read and has no effect");
        }
        // What it did is not known; in STATUS' image it lets users of adminAuth in.
        self.set("auth.flow_users", toml::Value::Array(vec!["*".into()]));
        self.note(
            value.line,
            "httpNodeMiddleware: a function cannot be read; flow endpoints let the users of adminAuth in instead \
             (auth.flow_users)",
        );
    }

    fn cors(&mut self, key: &str, name: &str, value: &Value) {
        let origins = match value.get("origin").map(|origin| &origin.is) {
            None | Some(Is::Bool(true)) => Some(vec!["*".to_owned()]),
            Some(Is::Text(origin)) => Some(vec![origin.clone()]),
            Some(Is::List(list)) => list.iter().map(text).collect(),
            Some(Is::Bool(false)) => Some(Vec::new()),
            Some(_) => None,
        };
        match origins.filter(|_| matches!(value.is, Is::Object(_))) {
            Some(origins) => {
                self.set(key, toml::Value::Array(origins.into_iter().map(toml::Value::String).collect()));
            }
            None => self.wrong(name, value, "{origin: \"https://…\"}"),
        }
    }

    fn flow_file(&mut self, value: &Value) {
        match text(value) {
            // What it is anyway.
            Some(name) if name == "flows.json" => {}
            Some(name) => {
                let path = self.data_dir.join(name);
                self.set("flows", path.display().to_string());
            }
            None => self.wrong("flowFile", value, "a file name"),
        }
    }

    fn limit(&mut self, name: &str, value: &Value, key: &str) {
        match value.is {
            // No limit.
            Is::Number(0.0) => {}
            Is::Number(number) if (1.0..=9e15).contains(&number) => self.set(key, number as i64),
            _ => self.wrong(name, value, "a number"),
        }
    }

    fn logging(&mut self, value: &Value) {
        let Some(level) = value.get("console").and_then(|console| console.get("level")) else { return };
        match text(level).as_deref() {
            Some("fatal" | "error") => self.set("log.level", "error"),
            Some(level @ ("warn" | "info" | "debug" | "trace" | "off")) => self.set("log.level", level.to_owned()),
            _ => self.wrong("logging.console.level", level, "fatal, error, warn, info, debug, trace or off"),
        }
    }

    /// Keeps a member in its own name; notes what in it cannot be read.
    fn keep(&mut self, name: &str, value: &Value) {
        let json = self.json(name, value);
        if let Some(json) = json {
            self.out.editor.insert(name.to_owned(), json);
        }
        if name == "contextStorage" {
            for (store, settings) in members(value) {
                let module = settings.get("module").and_then(text);
                if let Some(module) = module.filter(|module| !MODULES.contains(&module.as_str())) {
                    let text = format!(
                        "contextStorage.{store}: there is no module \"{module}\" here, and it is kept in memory; for one \
                         that replicas share and restarts leave alone write \"database\", which is Probity's own"
                    );
                    self.note(settings.line, &text);
                }
            }
        }
    }

    fn json(&mut self, at: &str, value: &Value) -> Option<Json> {
        Some(match &value.is {
            Is::Undefined => return None,
            Is::Null => Json::Null,
            Is::Bool(flag) => json!(flag),
            Is::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => json!(*number as i64),
            Is::Number(number) => json!(number),
            Is::Text(text) => json!(text),
            Is::HashOf(_) => {
                self.wrong(at, value, "a value");
                return None;
            }
            Is::Unread(what) => {
                self.note(value.line, &format!("{at}: {what} cannot be read and has no effect"));
                return None;
            }
            Is::List(items) => {
                let items = items.iter().enumerate();
                Json::Array(items.filter_map(|(i, item)| self.json(&format!("{at}[{i}]"), item)).collect())
            }
            Is::Object(members) => {
                let mut map = Map::new();
                for (name, member) in members {
                    if let Some(json) = self.json(&format!("{at}.{name}"), member) {
                        map.insert(name.clone(), json);
                    }
                }
                Json::Object(map)
            }
        })
    }
}

/// Members that become keys of ours, for hints.
const APPLIED: &[&str] = &[
    "adminAuth",
    "apiMaxLength",
    "credentialSecret",
    "flowFile",
    "httpAdminCors",
    "httpAdminRoot",
    "httpNodeAuth",
    "httpNodeCors",
    "httpNodeMiddleware",
    "httpNodeRoot",
    "httpRequestTimeout",
    "logging",
    "nodeMessageBufferMaxLength",
    "uiHost",
    "uiPort",
    "userDir",
];

fn kind(is: &Is) -> &'static str {
    match is {
        Is::Undefined => "nothing",
        Is::Null => "null",
        Is::Bool(_) => "true or false",
        Is::Number(_) => "a number",
        Is::Text(_) => "a text",
        Is::HashOf(_) => "a hash",
        Is::List(_) => "a list",
        Is::Object(_) => "an object",
        Is::Unread(what) => what,
    }
}

fn members(value: &Value) -> &[(String, Value)] {
    match &value.is {
        Is::Object(members) => members,
        _ => &[],
    }
}

fn text(value: &Value) -> Option<String> {
    match &value.is {
        Is::Text(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// A bcrypt hash, or what stands for the password that one is made of.
fn hash(value: &Value) -> Option<String> {
    match &value.is {
        Is::Text(hash) if password::is_hash(hash) => Some(hash.clone()),
        Is::HashOf(password) => Some(password::given(password)),
        _ => None,
    }
}

/// `"*"` or a list of permissions, as the configuration has them.
fn permissions(value: &Value) -> Option<String> {
    match &value.is {
        Is::Text(text) => Some(text.clone()),
        Is::List(list) => Some(list.iter().map(text).collect::<Option<Vec<_>>>()?.join(",")),
        _ => None,
    }
}

/// A size as Express reads it: a number of bytes, or `5mb`.
fn bytes(value: &Value) -> Option<i64> {
    let given = match &value.is {
        Is::Number(bytes) if (1.0..=9e15).contains(bytes) => return Some(*bytes as i64),
        Is::Text(text) => text.trim().to_ascii_lowercase(),
        _ => return None,
    };
    let end = given.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(given.len());
    let unit = match given[end..].trim() {
        "" | "b" => 1.0,
        "kb" => 1024.0,
        "mb" => 1024.0 * 1024.0,
        "gb" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let number: f64 = given[..end].parse().ok()?;
    Some((number * unit) as i64).filter(|bytes| *bytes >= 1)
}

#[cfg(test)]
mod tests;
