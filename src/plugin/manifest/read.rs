//! Reads `plugin.toml` and names everything that is wrong with it at once.

mod capabilities;

use toml::de::DeTable;
use toml::{Table, Value};

use super::values::{
    bytes_of, found, is_name, is_secret_name, is_sha256, license_reason, nearest_license, other_capability, slug,
    two_numbers, unserved,
};
use super::{Build, CONTRACT, Instances, Limits, MANIFEST_BYTES_MAX, Manifest, Request, SCHEMA};
use crate::model::Diagnostic;
use crate::plugin::capability::Capability;
use crate::plugin::hosts::{self, HostPattern};

/// The manifest as far as it can be read, and every problem. What has errors is left at its default, so the manifest
/// is of use for further checks, but not to run anything.
pub(in crate::plugin) fn read(text: &str) -> (Manifest, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let manifest = match table(text) {
        Ok(table) => Reader { problems: &mut problems }.manifest(&table),
        Err(found) => {
            problems = found;
            Manifest::default()
        }
    };
    (manifest, problems)
}

/// The text as TOML; every line that is not.
fn table(text: &str) -> Result<Table, Vec<Diagnostic>> {
    if text.len() > MANIFEST_BYTES_MAX {
        let message = format!("the manifest has {} bytes", text.len());
        return Err(vec![
            Diagnostic::error("too-large", "$", message).expected(format!("at most {MANIFEST_BYTES_MAX} bytes")),
        ]);
    }
    let (_, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|e| e.span().map_or(0, |span| span.start));
    if errors.is_empty() {
        return text.parse().map_err(|e| vec![not_toml(text, &e)]);
    }
    Err(errors.iter().map(|e| not_toml(text, e)).collect())
}

fn not_toml(text: &str, error: &toml::de::Error) -> Diagnostic {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.as_bytes()[..start].iter().filter(|b| **b == b'\n').count();
    Diagnostic::error("not-toml", "$", format!("not TOML: {}", error.message().trim()))
        .hint(format!("look at line {line}"))
}

const KEYS: &[&str] = &[
    "schema",
    "name",
    "version",
    "contract",
    "license",
    "description",
    "nodes",
    "component",
    "script",
    "interprets",
    "digest",
    "deterministic",
    "instances",
    "capability",
    "limits",
    "build",
];

/// Keys people write for ours.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("licence", "license"),
    ("capabilities", "capability"),
    ("permissions", "capability"),
    ("api", "contract"),
    ("world", "contract"),
    ("id", "name"),
    ("wasm", "component"),
    ("module", "component"),
    ("main", "script"),
    ("sha256", "digest"),
    ("language", "lang"),
    ("host", "hosts"),
    ("allowed_hosts", "hosts"),
    ("secret", "secrets"),
    ("why", "reason"),
];

struct Reader<'p> {
    problems: &'p mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn manifest(&mut self, table: &Table) -> Manifest {
        self.unknown_keys(table, "$", KEYS);
        self.schema(table);
        let mut manifest = Manifest {
            schema: SCHEMA,
            name: self.name(table),
            version: self.version(table),
            contract: self.contract(table),
            license: self.license(table),
            description: self.text(table, "$", "description").unwrap_or_default(),
            nodes: self.nodes(table),
            component: self.path(table, "$", "component", &[".wasm"]),
            script: self.path(table, "$", "script", &[".js", ".mjs"]),
            interprets: self.interprets(table),
            digest: self.digest(table),
            deterministic: self.deterministic(table),
            instances: self.instances(table),
            capabilities: self.capabilities(table),
            limits: self.limits(table),
            build: self.build(table),
        };
        match (table.contains_key("component"), table.contains_key("script")) {
            (true, true) => {
                self.error("two-codes", "$.script", "both \"component\" and \"script\" are given")
                    .expected("one of them")
                    .hint("a script runs in the engine's own component; leave \"component\" out")
                    .done();
                manifest.script = None;
            }
            (false, false) => self
                .error("missing-key", "$", "neither \"component\" nor \"script\" is given")
                .expected("component = \"NAME.wasm\" or script = \"NAME.js\"")
                .done(),
            _ => {}
        }
        manifest
    }

    fn schema(&mut self, table: &Table) {
        match table.get("schema") {
            None => self.missing("$", "schema", "schema = 1"),
            Some(Value::Integer(1)) => {}
            Some(Value::Integer(other)) if *other > 1 => self
                .error("newer-schema", "$.schema", format!("the manifest is of form {other}, this engine reads form 1"))
                .hint("use a newer Probity")
                .done(),
            Some(other) => self
                .error("wrong-value", "$.schema", format!("{} is no form of a manifest", found(other)))
                .expected("1")
                .done(),
        }
    }

    fn name(&mut self, table: &Table) -> String {
        let Some(name) = self.required(table, "$", "name", "the plugin's name, for example \"status-logic\"") else {
            return String::new();
        };
        if is_name(&name) {
            return name;
        }
        let slug = slug(&name);
        let expected = "lower-case letters, digits and single \"-\" between them, at most 64, a letter first";
        let problem = self.error("bad-name", "$.name", format!("\"{name}\" is no name")).expected(expected);
        if is_name(&slug) {
            problem.hint(format!("write \"{slug}\"")).done()
        } else {
            problem.done()
        }
        String::new()
    }

    fn version(&mut self, table: &Table) -> String {
        let expected = "MAJOR.MINOR.PATCH, for example \"1.0.0\"";
        let Some(version) = self.required(table, "$", "version", expected) else { return String::new() };
        if semver::Version::parse(&version).is_ok() {
            return version;
        }
        let plain = version.trim().trim_start_matches(['v', 'V']);
        let parts = plain.split('.').count();
        let meant = format!("{plain}{}", ".0".repeat(3_usize.saturating_sub(parts)));
        let problem = self.error("bad-version", "$.version", format!("\"{version}\" is no version")).expected(expected);
        if semver::Version::parse(&meant).is_ok() {
            problem.hint(format!("write \"{meant}\"")).done();
        } else {
            problem.done();
        }
        String::new()
    }

    fn contract(&mut self, table: &Table) -> String {
        let (major, minor) = CONTRACT;
        let expected = format!("MAJOR.MINOR of the contract it was built for, for example \"{major}.{minor}\"");
        let Some(contract) = self.required(table, "$", "contract", &expected) else { return String::new() };
        let Some(asked) = two_numbers(&contract) else {
            let meant = contract.rsplit_once('.').map(|(start, _)| start).filter(|s| two_numbers(s).is_some());
            let message = format!("\"{contract}\" is no version of the contract");
            let problem = self.error("bad-contract", "$.contract", message).expected(expected);
            match meant {
                Some(meant) => problem.hint(format!("write \"{meant}\"")).done(),
                None => problem.done(),
            }
            return String::new();
        };
        if let Some(problem) = unserved(asked) {
            self.problems.push(Diagnostic { path: "$.contract".into(), ..problem });
        }
        contract
    }

    fn license(&mut self, table: &Table) -> String {
        let expected = "an SPDX expression, for example \"Apache-2.0\" or \"LicenseRef-Proprietary\"";
        let Some(license) = self.required(table, "$", "license", expected) else { return String::new() };
        let Err(refused) = spdx::Expression::parse(&license) else { return license };
        let part = refused.original.get(refused.span.clone()).unwrap_or(&license).to_string();
        let message = format!("\"{license}\" is no SPDX expression: {}", license_reason(&refused.reason, &part));
        let problem = self.error("bad-license", "$.license", message).expected(expected);
        match nearest_license(&part) {
            Some(near) => problem.hint(format!("did you mean \"{near}\"?")).done(),
            None => problem.done(),
        }
        String::new()
    }

    fn nodes(&mut self, table: &Table) -> Vec<String> {
        let nodes = self.texts(table, "$", "nodes");
        let mut kept: Vec<String> = Vec::new();
        for (i, node) in nodes {
            if kept.contains(&node) {
                self.error("repeated-node", format!("$.nodes[{i}]"), format!("\"{node}\" stands there twice")).done();
            } else {
                kept.push(node);
            }
        }
        kept
    }

    fn interprets(&mut self, table: &Table) -> Vec<String> {
        let endings: Vec<String> = self.texts(table, "$", "interprets").into_iter().map(|(_, ending)| ending).collect();
        if !endings.is_empty() && !table.contains_key("component") {
            self.error("misplaced-key", "$.interprets", "only a component can run scripts").done();
        }
        endings
    }

    fn digest(&mut self, table: &Table) -> Option<String> {
        let digest = self.text(table, "$", "digest")?;
        let hex = digest.strip_prefix("sha256:").unwrap_or(&digest);
        if digest.starts_with("sha256:") && is_sha256(hex) {
            return Some(digest.to_ascii_lowercase());
        }
        let problem = self
            .error("bad-digest", "$.digest", format!("\"{digest}\" is no digest"))
            .expected("\"sha256:\" and 64 hexadecimal digits");
        if is_sha256(hex) {
            problem.hint(format!("write \"sha256:{hex}\"")).done();
        } else {
            problem.hint("`probity plugin build` fills it in").done();
        }
        None
    }

    /// What an instance keeps in its memory from message to message would be on no record.
    fn deterministic(&mut self, table: &Table) -> bool {
        let deterministic = self.flag(table, "deterministic");
        if deterministic && table.get("instances").and_then(Value::as_str) == Some("warm") {
            let message = "a deterministic plugin gets a fresh instance for every message";
            let diagnostic = Diagnostic::warning("wrong-value", "$.instances", message);
            Problem { problems: self.problems, diagnostic }.expected("\"fresh\", or no such line").done();
        }
        deterministic
    }

    fn instances(&mut self, table: &Table) -> Instances {
        const KNOWN: [(&str, Instances); 3] =
            [("warm", Instances::Warm), ("fresh", Instances::Fresh), ("single", Instances::Single)];
        let Some(given) = self.text(table, "$", "instances") else { return Instances::default() };
        if let Some((_, instances)) = KNOWN.iter().find(|(name, _)| *name == given) {
            return *instances;
        }
        self.error("wrong-value", "$.instances", format!("\"{given}\" is no way to keep instances"))
            .expected("\"warm\", \"fresh\" or \"single\"")
            .near(&given, KNOWN.iter().map(|(name, _)| *name))
            .done();
        Instances::default()
    }

    fn limits(&mut self, table: &Table) -> Limits {
        const KEYS: &[&str] =
            &["compute_ms_max", "call_ms_max", "memory_bytes_max", "output_bytes_max", "state_bytes_max"];
        let Some(limits) = self.section(table, "limits") else { return Limits::default() };
        self.unknown_keys(limits, "$.limits", KEYS);
        let read = Limits {
            compute_ms_max: self.number(limits, "compute_ms_max", 1, 60_000),
            call_ms_max: self.number(limits, "call_ms_max", 1, 600_000),
            memory_bytes_max: self.number(limits, "memory_bytes_max", 64 << 10, 1 << 30),
            output_bytes_max: self.number(limits, "output_bytes_max", 1, 256 << 20),
            state_bytes_max: self.number(limits, "state_bytes_max", 0, 1 << 30),
        };
        if let (Some(compute), Some(call)) = (read.compute_ms_max, read.call_ms_max)
            && compute > call
        {
            let message = format!("a call may compute for {compute} ms, but last {call} ms");
            self.error("bad-limit", "$.limits.compute_ms_max", message).expected("at most call_ms_max").done();
        }
        read
    }

    fn number(&mut self, limits: &Table, key: &str, min: u64, max: u64) -> Option<u64> {
        let at = format!("$.limits.{key}");
        let unit = if key.contains("_ms_") { "milliseconds" } else { "bytes" };
        let expected = format!("a whole number of {unit}, {min} to {max}");
        let value = match limits.get(key)? {
            Value::Integer(value) => *value,
            other => {
                let message = format!("expected {expected}, found {}", found(other));
                let problem = self.error("wrong-kind", at, message);
                match other.as_str().and_then(bytes_of) {
                    Some(bytes) if unit == "bytes" => problem.hint(format!("write {bytes}")).done(),
                    _ => problem.done(),
                }
                return None;
            }
        };
        match u64::try_from(value) {
            Ok(value) if (min..=max).contains(&value) => Some(value),
            _ => {
                self.error("bad-limit", at, format!("{value} is out of range")).expected(expected).done();
                None
            }
        }
    }

    fn build(&mut self, table: &Table) -> Option<Build> {
        let build = self.section(table, "build")?;
        self.unknown_keys(build, "$.build", &["lang", "command", "artifact"]);
        let lang = self.required(build, "$.build", "lang", "the language, for example \"rust\"").unwrap_or_default();
        let command = self.text(build, "$.build", "command");
        let artifact = self.path(build, "$.build", "artifact", &[]);
        if build.contains_key("command") && !build.contains_key("artifact") && !table.contains_key("script") {
            self.missing("$.build", "artifact", "the file that the command leaves");
        }
        Some(Build { lang, command, artifact })
    }

    // Reading by kind.

    fn text(&mut self, table: &Table, at: &str, key: &str) -> Option<String> {
        match table.get(key)? {
            Value::String(text) => Some(text.clone()),
            other => {
                let problem = self.wrong_kind(&format!("{at}.{key}"), "a text", other);
                match other {
                    Value::Integer(_) | Value::Float(_) => problem.hint("put it in quotes").done(),
                    _ => problem.done(),
                }
                None
            }
        }
    }

    /// A text that must be there and say something.
    fn required(&mut self, table: &Table, at: &str, key: &str, expected: &str) -> Option<String> {
        if !table.contains_key(key) {
            self.missing(at, key, expected);
            return None;
        }
        let text = self.text(table, at, key)?;
        if text.trim().is_empty() {
            self.error("empty", format!("{at}.{key}"), format!("\"{key}\" is empty")).expected(expected).done();
            return None;
        }
        Some(text)
    }

    /// A path below the manifest's folder.
    fn path(&mut self, table: &Table, at: &str, key: &str, endings: &[&str]) -> Option<String> {
        let path = self.text(table, at, key)?;
        let at = format!("{at}.{key}");
        let inside = std::path::Path::new(&path)
            .components()
            .all(|c| matches!(c, std::path::Component::Normal(_) | std::path::Component::CurDir));
        // A build may leave its artefact in a folder above; nothing outside is shipped.
        if path.is_empty() || path.contains('\0') || (!inside && key != "artifact") {
            self.error("bad-path", at, format!("\"{path}\" is no path below the manifest's folder"))
                .expected("a relative path without \"..\"")
                .done();
            return None;
        }
        if !endings.is_empty() && !endings.iter().any(|e| path.ends_with(e)) {
            let expected = endings.join(" or ");
            self.error("bad-path", at, format!("\"{path}\" does not end in {expected}")).done();
            return None;
        }
        Some(path)
    }

    fn texts(&mut self, table: &Table, at: &str, key: &str) -> Vec<(usize, String)> {
        let entries = match table.get(key) {
            None => return Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(other) => {
                let problem = self.wrong_kind(&format!("{at}.{key}"), "a list of texts", other);
                match other {
                    Value::String(text) => problem.hint(format!("write {key} = [\"{text}\"]")).done(),
                    _ => problem.done(),
                }
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            match entry {
                Value::String(text) => texts.push((i, text.clone())),
                other => self.wrong_kind(&format!("{at}.{key}[{i}]"), "a text", other).done(),
            }
        }
        texts
    }

    fn flag(&mut self, table: &Table, key: &str) -> bool {
        match table.get(key) {
            None => false,
            Some(Value::Boolean(flag)) => *flag,
            Some(other) => {
                self.wrong_kind(&format!("$.{key}"), "true or false", other).done();
                false
            }
        }
    }

    fn section<'t>(&mut self, table: &'t Table, key: &str) -> Option<&'t Table> {
        match table.get(key)? {
            Value::Table(section) => Some(section),
            other => {
                self.wrong_kind(&format!("$.{key}"), "a table", other).hint(format!("write [{key}]")).done();
                None
            }
        }
    }

    // Problems.

    fn unknown_keys(&mut self, table: &Table, at: &str, known: &[&str]) {
        for key in table.keys().filter(|k| !known.contains(&k.as_str())) {
            let meant = OTHER_NAMES.iter().find(|(other, ours)| *other == key && known.contains(ours));
            let problem =
                self.error("unknown-key", format!("{at}.{key}"), format!("\"{key}\" is no key of a manifest"));
            match meant {
                Some((_, ours)) => problem.hint(format!("did you mean \"{ours}\"?")).done(),
                None => problem.near(key, known.iter().copied()).done(),
            }
        }
    }

    fn misplaced(&mut self, entry: &Table, at: &str, key: &str, of: Capability, found: Capability) {
        if entry.contains_key(key) {
            self.error("misplaced-key", format!("{at}.{key}"), format!("\"{key}\" means nothing for \"{found}\""))
                .hint(format!("\"{key}\" belongs to a [[capability]] with name = \"{of}\""))
                .done();
        }
    }

    fn missing(&mut self, at: &str, key: &str, expected: &str) {
        self.error("missing-key", format!("{at}.{key}"), format!("\"{key}\" is missing")).expected(expected).done();
    }

    fn wrong_kind(&mut self, at: &str, expected: &str, value: &Value) -> Problem<'_> {
        self.error("wrong-kind", at, format!("expected {expected}, found {}", found(value)))
    }

    fn error(&mut self, code: &str, at: impl Into<String>, message: impl Into<String>) -> Problem<'_> {
        Problem { problems: self.problems, diagnostic: Diagnostic::error(code, at, message) }
    }
}

/// A problem being described.
#[must_use]
struct Problem<'p> {
    problems: &'p mut Vec<Diagnostic>,
    diagnostic: Diagnostic,
}

impl<'p> Problem<'p> {
    fn expected(self, text: impl Into<String>) -> Problem<'p> {
        Problem { diagnostic: self.diagnostic.expected(text), ..self }
    }

    fn hint(self, text: impl Into<String>) -> Problem<'p> {
        Problem { diagnostic: self.diagnostic.hint(text), ..self }
    }

    fn near<'k>(self, given: &str, known: impl IntoIterator<Item = &'k str>) -> Problem<'p> {
        Problem { diagnostic: self.diagnostic.did_you_mean(given, known), ..self }
    }

    fn done(self) {
        self.problems.push(self.diagnostic);
    }
}
