//! The `[[capability]]` entries: what a plugin asks for, and how far.

use super::*;

impl Reader<'_> {
    pub(super) fn capabilities(&mut self, table: &Table) -> Vec<Request> {
        let entries = match table.get("capability") {
            None => return Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(other) => {
                let problem = self.wrong_kind("$.capability", "a list of tables", other);
                problem.hint("write [[capability]], with two brackets, over each one").done();
                return Vec::new();
            }
        };
        let mut requests: Vec<Request> = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            let at = format!("$.capability[{i}]");
            let Value::Table(entry) = entry else {
                let problem = self.wrong_kind(&at, "a table", entry);
                problem.hint("write [[capability]] with name and reason").done();
                continue;
            };
            let Some(request) = self.capability(entry, &at) else { continue };
            if requests.iter().any(|r| r.name == request.name) {
                let message = format!("\"{}\" is asked for twice", request.name);
                self.error("repeated-capability", format!("{at}.name"), message).expected("one entry for each").done();
            } else {
                requests.push(request);
            }
        }
        requests
    }

    /// One `[[capability]]`; `None` when it is not clear which.
    fn capability(&mut self, entry: &Table, at: &str) -> Option<Request> {
        self.unknown_keys(entry, at, &["name", "reason", "hosts", "secrets"]);
        let expected = format!("one of {}", Capability::list());
        let name = self.required(entry, at, "name", &expected);
        let reason = self
            .required(entry, at, "reason", "why the plugin needs it, for the operator who grants it")
            .unwrap_or_default();
        let name = name?;
        let Some(capability) = Capability::parse(&name) else {
            let problem =
                self.error("unknown-capability", format!("{at}.name"), format!("\"{name}\" is no capability"));
            match (name.as_str(), other_capability(&name)) {
                ("node" | "log" | "emit" | "status", _) => {
                    problem.hint("every plugin may emit, log, show a status and read its config; leave it out").done();
                }
                (_, Some(meant)) => problem.expected(expected).hint(format!("did you mean \"{meant}\"?")).done(),
                _ => problem.expected(expected).near(&name, Capability::ALL.map(Capability::as_str)).done(),
            }
            return None;
        };
        let hosts = self.hosts(entry, at, capability);
        let secrets = self.secrets(entry, at, capability);
        Some(Request { name: capability, reason, hosts, secrets })
    }

    fn hosts(&mut self, entry: &Table, at: &str, capability: Capability) -> Vec<HostPattern> {
        if capability != Capability::Http {
            self.misplaced(entry, at, "hosts", Capability::Http, capability);
            return Vec::new();
        }
        let given = self.texts(entry, at, "hosts");
        if given.is_empty() && entry.get("hosts").is_none_or(|h| h.as_array().is_some_and(Vec::is_empty)) {
            self.error("no-hosts", format!("{at}.hosts"), "no host is named")
                .expected(format!("a list of {}", hosts::FORMS))
                .hint("hosts = [\"api.example.org\"]")
                .done();
        }
        let mut patterns = Vec::new();
        for (i, text) in given {
            match text.parse::<HostPattern>() {
                Ok(pattern) => patterns.push(pattern),
                Err(bad) => {
                    let problem =
                        self.error("bad-host", format!("{at}.hosts[{i}]"), bad.to_string()).expected(hosts::FORMS);
                    match bad.hint {
                        Some(hint) => problem.hint(hint).done(),
                        None => problem.done(),
                    }
                }
            }
        }
        patterns
    }

    fn secrets(&mut self, entry: &Table, at: &str, capability: Capability) -> Vec<String> {
        if capability != Capability::Secret {
            self.misplaced(entry, at, "secrets", Capability::Secret, capability);
            return Vec::new();
        }
        let given = self.texts(entry, at, "secrets");
        if given.is_empty() && entry.get("secrets").is_none_or(|s| s.as_array().is_some_and(Vec::is_empty)) {
            self.error("no-secrets", format!("{at}.secrets"), "no secret is named")
                .expected("a list of names")
                .hint("secrets = [\"EXAMPLE_TOKEN\"]")
                .done();
        }
        let mut names = Vec::new();
        for (i, name) in given {
            if is_secret_name(&name) {
                names.push(name);
            } else {
                self.error("bad-secret", format!("{at}.secrets[{i}]"), format!("\"{name}\" is no name of a secret"))
                    .expected("letters, digits, \"_\", \"-\" and \".\", a letter or \"_\" first, at most 128; or \"*\"")
                    .done();
            }
        }
        names
    }
}
