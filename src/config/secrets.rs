//! Secrets that a deployment's environment holds for others than Probity: are they any? Asked once, before anything of
//! the deployment starts (`probity migrate --refuse-weak`).

use crate::api::password;

/// Shorter ones can be guessed; characters.
const LENGTH_MIN: usize = 16;
/// A password that people type may be shorter; characters.
const TYPED_LENGTH_MIN: usize = 8;

/// What stands in examples, whatever its capitals.
const EXAMPLES: &[&str] =
    &["change-me", "changeme", "secret", "root", "statuspass", "grafanapass", "postgres", "example"];

/// Secrets of ours that everybody knows or that can be guessed, by their keys.
pub(super) fn problems(config: &super::Config) -> Vec<String> {
    let given =
        [("auth.status_secret (JWT_SECRET)", &config.auth.status_secret), ("director.secret", &config.director.secret)];
    let weak = given.into_iter().filter(|(_, value)| !value.is_empty() && !config.allow_default_passwords);
    let weak = weak.filter_map(|(key, value)| Some(format!("{key} {}", weakness(key, value)?)));
    weak.map(|problem| format!("{problem}; make one with: openssl rand -hex 24")).collect()
}

/// A secret, where it comes from, and what is to be said of it.
pub struct Standing {
    pub key: String,
    pub origin: String,
    pub remark: String,
}

/// How it stands with all secrets that have a key.
#[expect(clippy::disallowed_methods, reason = "this module reads the environment for `config`")]
pub fn standings(config: &super::Config) -> Vec<Standing> {
    let set = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
    let table = |table: &std::collections::BTreeMap<String, String>| set(&"hashes".repeat(table.len()));
    let user = config.auth.environment_user.is_some().then(|| "a password of somebody".to_string());
    let is_given = |name: &str| std::env::var(name).is_ok_and(|text| !text.is_empty());
    [
        ("auth.status_secret", set(&config.auth.status_secret)),
        ("auth.tokens", table(&config.auth.tokens)),
        ("auth.users", table(&config.auth.users)),
        ("pass_status", user),
        ("cache.password", set(&config.cache.password)),
        ("credentials.secret", set(&config.credentials.secret)),
        ("database_password", set(&config.database_password)),
        ("delivery.token", set(&config.delivery.token)),
        ("dispatch.nats_password", set(&config.dispatch.nats_password)),
        ("director.secret", set(&config.director.secret)),
        ("mail.password", set(&config.mail.password)),
    ]
    .into_iter()
    .map(|(key, value)| {
        let (ours, stack) = super::secret_files::variables_of(key);
        let named = [Some(ours), stack].into_iter().flatten().find(|name| is_given(name));
        let origin = match (super::Config::file_of(key), named, &value) {
            (Some(file), ..) => format!("the file {}", file.display()),
            (None, Some(name), _) => format!("the environment, {name}"),
            (None, None, Some(_)) => "the configuration".into(),
            (None, None, None) => "not set".into(),
        };
        let weak = value.as_deref().and_then(|value| weakness(key, value));
        Standing { key: key.into(), origin, remark: weak.unwrap_or_default() }
    })
    .collect()
}

/// What is wrong with the secret in this variable; never its value.
#[expect(clippy::disallowed_methods, reason = "this module reads the environment for `config`")]
pub fn problem(variable: &str) -> Option<String> {
    let mut files = Vec::new();
    let value = match super::secret_files::value(variable, &|name| std::env::var(name).ok(), &mut files) {
        Ok(value) => value.unwrap_or_default(),
        Err(problem) => return Some(problem),
    };
    weakness(variable, value.trim()).map(|weakness| format!("{variable} {weakness}"))
}

fn weakness(variable: &str, value: &str) -> Option<String> {
    let lower = value.to_lowercase();
    let least = if variable == "PASS_STATUS" { TYPED_LENGTH_MIN } else { LENGTH_MIN };
    if value.is_empty() {
        Some("is not set".to_string())
    } else if EXAMPLES.contains(&lower.as_str()) || password::SHIPPED.contains(&lower.as_str()) {
        Some("is one that everybody knows from examples".to_string())
    } else if value.chars().count() < least {
        Some(format!("has fewer than {least} characters"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::weakness;

    #[test]
    fn what_everybody_knows_or_can_guess_is_none() {
        for (variable, value, said) in [
            ("JWT_SECRET", "", "is not set"),
            ("JWT_SECRET", "secret", "everybody knows"),
            ("DB_PASSWORD", "Change-Me", "everybody knows"),
            ("PASS_STATUS", "admin123", "everybody knows"),
            ("JWT_SECRET", "0123456789abcde", "fewer than 16"),
            ("PASS_STATUS", "short12", "fewer than 8"),
        ] {
            let found = weakness(variable, value).unwrap_or_default();
            assert!(found.contains(said), "{variable}={value}: {found}");
            assert!(value.is_empty() || !found.contains(value), "the value is not said: {found}");
        }
        assert_eq!(weakness("JWT_SECRET", "0123456789abcdef"), None);
        assert_eq!(weakness("PASS_STATUS", "a good 1"), None);
    }
}
