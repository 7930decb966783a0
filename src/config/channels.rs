//! `[channels.NAME]`, `[mail]` and `[notify]`: who is told of changed verdicts, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::{Table, Value};
use url::Url;

use super::secret_files;
use crate::notify::{self, Channels, MailOptions, MailTls, Quiet, Secret, Target};
use crate::store::NotificationRule;

/// Of the environment: `PROBITY_CHANNELS_<NAME>_<KEY>`.
const PREFIX: &str = "PROBITY_CHANNELS_";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Mail,
    Webhook,
    Slack,
}

#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Channel {
    kind: Kind,
    to: Vec<String>,
    url: String,
    url_file: String,
    secret: String,
    secret_file: String,
    agreements: Vec<String>,
    guarantees: Vec<String>,
    changes: Vec<String>,
    corrections: bool,
    quiet: Vec<String>,
    time_zone: String,
}

impl Default for Channel {
    fn default() -> Self {
        Channel {
            kind: Kind::Mail,
            to: Vec::new(),
            url: String::new(),
            url_file: String::new(),
            secret: String::new(),
            secret_file: String::new(),
            agreements: Vec::new(),
            guarantees: Vec::new(),
            changes: ["* > violated", "violated > *", "* > unknown", "unknown > *"].map(str::to_owned).into(),
            corrections: true,
            quiet: Vec::new(),
            time_zone: "UTC".into(),
        }
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[derive(Clone, Deserialize)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub from: String,
    pub tls: MailTls,
    pub authority: PathBuf,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Notify {
    pub base_url: String,
    pub request_ms_max: u64,
    pub retry_ms_min: u64,
    pub retry_ms_max: u64,
    pub give_up_ms: u64,
}

impl Channel {
    /// The text of a key, or of the file that its `_file` names.
    fn given(plain: &str, file: &str, key: &str) -> Result<String, String> {
        match (plain, file) {
            (plain, "") => Ok(plain.to_string()),
            ("", file) => secret_files::read(file.as_ref()).map_err(|problem| format!("{key}_file: {problem}")),
            _ => Err(format!("{key} and {key}_file: expected one of them")),
        }
    }

    fn url(&self) -> Result<Url, String> {
        let text = Channel::given(&self.url, &self.url_file, "url")?;
        // Not the text: addresses of webhooks are secrets.
        let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or_else(|| "url: expected an address such as https://hooks.example.org/verdicts".into())
    }

    fn target(&self, problems: &mut Vec<String>) -> Option<Target> {
        let mut note = |problem: String| problems.push(problem);
        match self.kind {
            Kind::Mail => {
                if self.to.is_empty() {
                    note("to: expected mail addresses".into());
                }
                self.to
                    .iter()
                    .filter_map(|to| notify::address_problem(to))
                    .for_each(|problem| note(format!("to: {problem}")));
                Some(Target::Mail { to: self.to.clone() })
            }
            Kind::Slack => self.url().map_err(note).ok().map(|url| Target::Slack { url }),
            Kind::Webhook => {
                let secret = Channel::given(&self.secret, &self.secret_file, "secret").map_err(&mut note).ok()?;
                if !secret.is_empty() && secret.len() < 16 {
                    note("secret: expected at least 16 characters".into());
                }
                let secrets = Some(secret).filter(|secret| !secret.is_empty()).map(|secret| Secret::of(&secret));
                self.url().map_err(note).ok().map(|url| Target::Webhook { url, secrets: secrets.into_iter().collect() })
            }
        }
    }

    fn read(&self) -> Result<notify::Channel, Vec<String>> {
        let mut problems = Vec::new();
        let target = self.target(&mut problems);
        let quiet = Quiet::parse(&self.quiet).map_err(|problem| problems.push(format!("quiet: {problem}"))).ok();
        let zone = TimeZone::get(&self.time_zone)
            .map_err(|_| {
                problems.push(format!("time_zone: \"{}\" is no time zone such as Europe/Madrid", self.time_zone))
            })
            .ok();
        match (target, quiet, zone) {
            (Some(target), Some(quiet), Some(time_zone)) if problems.is_empty() => {
                Ok(notify::Channel { target, quiet, time_zone })
            }
            _ => Err(problems),
        }
    }

    fn rule(&self, name: &str) -> Result<NotificationRule, Vec<String>> {
        let mut problems = Vec::new();
        let read = |text: &String| text.parse().map_err(|problem| problems.push(format!("changes: {problem}"))).ok();
        let changes = self.changes.iter().filter_map(read).collect();
        let rule = NotificationRule {
            channel: name.to_string(),
            agreements: self.agreements.clone(),
            guarantees: self.guarantees.clone(),
            changes,
            corrections: self.corrections,
        };
        if problems.is_empty() { Ok(rule) } else { Err(problems) }
    }

    /// What it would be known by if its secrets were others: their hashes.
    pub fn fingerprint(&self) -> [Option<[u8; 32]>; 2] {
        let digest = |text: String| Sha256::digest(text.as_bytes()).into();
        [
            Channel::given(&self.url, &self.url_file, "url").ok().map(digest),
            Channel::given(&self.secret, &self.secret_file, "secret").ok().map(digest),
        ]
    }

    /// Files that secrets are read from.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        [&self.url_file, &self.secret_file].into_iter().filter(|file| !file.is_empty()).map(PathBuf::from)
    }
}

impl super::Config {
    /// The channels as they are used; every problem is told.
    pub fn notification_channels(&self) -> Result<Channels, Vec<String>> {
        let mut problems = Vec::new();
        let mut by_name = BTreeMap::new();
        for (name, channel) in &self.channels {
            match channel.read() {
                Ok(read) => drop(by_name.insert(name.clone(), read)),
                Err(wrong) => problems.extend(wrong.into_iter().map(|problem| format!("channels.{name}.{problem}"))),
            }
        }
        let uses_mail = self.channels.values().any(|channel| channel.kind == Kind::Mail);
        let mail = match self.mail_options() {
            Ok(mail) => mail,
            Err(wrong) => {
                problems.extend(wrong);
                None
            }
        };
        if uses_mail && self.mail.host.is_empty() {
            problems.push("mail.host: expected the mail server for the channels of kind \"mail\"".into());
        }
        if problems.is_empty() { Ok(Channels { by_name, mail }) } else { Err(problems) }
    }

    /// Which changes are kept for which channel; every problem is told.
    pub fn notification_rules(&self) -> Result<Vec<NotificationRule>, Vec<String>> {
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        for (name, channel) in &self.channels {
            match channel.rule(name) {
                Ok(rule) => rules.push(rule),
                Err(wrong) => problems.extend(wrong.into_iter().map(|problem| format!("channels.{name}.{problem}"))),
            }
        }
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    }

    fn mail_options(&self) -> Result<Option<MailOptions>, Vec<String>> {
        let mail = &self.mail;
        if mail.host.is_empty() {
            return Ok(None);
        }
        let mut problems = Vec::new();
        let authorities = match mail.authority.as_os_str().is_empty() {
            true => Vec::new(),
            false => std::fs::read(&mail.authority).unwrap_or_else(|error| {
                problems.push(format!("mail.authority: cannot read {}: {error}", mail.authority.display()));
                Vec::new()
            }),
        };
        let login = (!mail.user.is_empty()).then(|| (mail.user.clone(), mail.password.clone()));
        let options = MailOptions {
            host: mail.host.clone(),
            port: mail.port,
            login,
            from: mail.from.clone(),
            tls: mail.tls,
            authorities,
        };
        problems.extend(options.problems());
        if mail.user.is_empty() && !mail.password.is_empty() {
            problems.push("mail.user: expected whose mail.password it is".into());
        }
        if problems.is_empty() { Ok(Some(options)) } else { Err(problems) }
    }
}

/// What is wrong with all of it.
pub(super) fn problems(config: &super::Config) -> Vec<String> {
    let mut problems = config.notification_channels().err().unwrap_or_default();
    problems.extend(config.notification_rules().err().unwrap_or_default());
    let base = &config.notify.base_url;
    let usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    if !base.is_empty() && !Url::parse(base).is_ok_and(|url| usable(&url)) {
        problems.push(format!("notify.base_url: \"{base}\" is no address such as https://status.example.org"));
    }
    for (key, value) in
        [("notify.request_ms_max", config.notify.request_ms_max), ("notify.retry_ms_min", config.notify.retry_ms_min)]
    {
        if value == 0 {
            problems.push(format!("{key}: expected at least 1, found 0"));
        }
    }
    problems
}

/// Whether a variable is about a channel.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Puts variables over what the file says: `PROBITY_CHANNELS_OPS_URL_FILE` is `url_file` under `[channels.ops]`. A name
/// that is not in the file is taken in small letters.
pub(super) fn from_environment(merged: &mut Table, variables: &[(String, String)], problems: &mut Vec<String>) {
    let Some(Value::Table(channels)) = merged.get_mut("channels") else { return };
    const TEXTS: [&str; 7] = ["url_file", "secret_file", "time_zone", "kind", "url", "secret", "corrections"];
    const LISTS: [&str; 5] = ["to", "agreements", "guarantees", "changes", "quiet"];
    for (variable, text) in variables.iter().filter(|(name, _)| is_variable(name)) {
        let rest = &variable[PREFIX.len()..];
        let found = TEXTS.iter().chain(&LISTS).find_map(|key| {
            let name = rest.strip_suffix(&key.to_uppercase())?.strip_suffix('_')?;
            Some((name, *key)).filter(|(name, _)| !name.is_empty())
        });
        let Some((name, key)) = found else {
            problems.push(format!("{variable}: expected {PREFIX}<NAME>_KIND, _TO, _URL or another of its keys"));
            continue;
        };
        let list = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let value = match key {
            "corrections" => Value::Boolean(matches!(text.trim(), "true" | "1")),
            key if LISTS.contains(&key) => Value::Array(list().map(|item| Value::String(item.into())).collect()),
            _ => Value::String(text.trim().into()),
        };
        let known = channels.keys().find(|known| known.to_uppercase().replace('-', "_") == name).cloned();
        let entry = channels.entry(known.unwrap_or_else(|| name.to_lowercase()));
        if let Value::Table(channel) = entry.or_insert_with(|| Value::Table(Table::new())) {
            channel.insert(key.into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, NO_SETTINGS, resolve};
    use super::*;

    fn config(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables: Vec<_> = variables.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let resolved = resolve(Some(("f.toml", file)), &NO_SETTINGS, &variables, &Table::new());
        resolved.map(|(config, _)| config).map_err(|error| error.to_string())
    }

    #[test]
    fn channels_come_from_the_file_and_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "a secret of some length\n").unwrap();
        let config = config(
            "[mail]\nhost = \"mail\"\nfrom = \"probity@example.org\"\n[channels.on-call]\nto = [\"ana@example.org\"]\n\
             quiet = [\"22:00-07:00\"]\ntime_zone = \"Europe/Madrid\"\n",
            &[
                ("PROBITY_CHANNELS_ON_CALL_AGREEMENTS", "sla, other"),
                ("PROBITY_CHANNELS_HOOK_KIND", "webhook"),
                ("PROBITY_CHANNELS_HOOK_URL", "http://receiver:8080/x"),
                ("PROBITY_CHANNELS_HOOK_SECRET_FILE", secret.to_str().unwrap()),
                ("PROBITY_CHANNELS_HOOK_CHANGES", "fulfilled > violated, none > violated"),
            ],
        )
        .unwrap();
        let channels = config.notification_channels().unwrap();
        assert!(matches!(&channels.by_name["hook"].target, Target::Webhook { secrets, .. } if secrets.len() == 1));
        assert!(matches!(&channels.by_name["on-call"].target, Target::Mail { to } if to == &["ana@example.org"]));
        let rules = config.notification_rules().unwrap();
        assert_eq!(rules.iter().map(|rule| rule.channel.as_str()).collect::<Vec<_>>(), ["hook", "on-call"]);
        assert_eq!((rules[0].changes.len(), rules[1].agreements.len()), (2, 2));
        assert_eq!(config.secret_files, [secret]);
    }

    #[test]
    fn every_problem_is_told_and_no_secret() {
        let said = config(
            "[channels.a]\nkind = \"slack\"\nurl = \"s3cret\"\nquiet = [\"late\"]\ntime_zone = \"Mars\"\n\
             [channels.b]\nkind = \"webhook\"\nurl = \"http://h\"\nsecret = \"s3cret\"\nchanges = [\"bad\"]\n\
             [channels.c]\nto = [\"nobody\"]\n[notify]\nbase_url = \"x\"\n",
            &[("PROBITY_CHANNELS_A", "s3cret")],
        );
        let first = said.unwrap_err();
        assert!(first.contains("PROBITY_CHANNELS_A: expected PROBITY_CHANNELS_<NAME>_KIND"), "{first}");
        let said = config(
            "[channels.a]\nkind = \"slack\"\nurl = \"s3cret\"\nquiet = [\"late\"]\ntime_zone = \"Mars\"\n\
             [channels.b]\nkind = \"webhook\"\nurl = \"http://h\"\nsecret = \"s3cret\"\nchanges = [\"bad\"]\n\
             [channels.c]\nto = [\"nobody\"]\n[notify]\nbase_url = \"x\"\n",
            &[],
        )
        .unwrap_err();
        for part in [
            "channels.a.url: expected an address",
            "channels.a.quiet: \"late\" is no quiet time",
            "channels.a.time_zone: \"Mars\"",
            "channels.b.secret: expected at least 16",
            "channels.b.changes: \"bad\" is no change",
            "channels.c.to: \"nobody\" is no mail address",
            "mail.host: expected",
            "notify.base_url: \"x\"",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("s3cret"), "{said}");
    }
}
