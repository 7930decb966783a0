//! What a process does of all that Probity does: roles, for replicas on one database.

use std::fmt;

use serde::Deserialize;

/// The roles of a process; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Roles {
    /// Answers HTTP: flows, API, pages, the editor. Without it only health and metrics are answered.
    pub api: bool,
    /// Notices what comes due and makes it rows in the store.
    pub scheduler: bool,
    /// Does the work of what is due or accepted: evaluations, runs, deliveries, retention.
    pub worker: bool,
}

impl Roles {
    pub const ALL: Roles = Roles { api: true, scheduler: true, worker: true };
}

impl TryFrom<String> for Roles {
    type Error = String;

    fn try_from(text: String) -> Result<Roles, String> {
        let mut roles = Roles { api: false, scheduler: false, worker: false };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "api" => roles.api = true,
                "scheduler" => roles.scheduler = true,
                "worker" => roles.worker = true,
                other => return Err(format!("roles: \"{other}\" is no role; expected some of api,scheduler,worker")),
            }
        }
        if roles == (Roles { api: false, scheduler: false, worker: false }) {
            return Err("roles: expected at least one of api,scheduler,worker".into());
        }
        Ok(roles)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.api, "api"), (self.scheduler, "scheduler"), (self.worker, "worker")];
        let words: Vec<&str> = words.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_and_shown_and_others_refused() {
        let read = |text: &str| Roles::try_from(text.to_owned());
        assert_eq!(read("api,scheduler,worker"), Ok(Roles::ALL));
        assert_eq!(read(" worker , api ").map(|roles| roles.to_string()), Ok("api,worker".into()));
        assert!(
            read("web").is_err_and(|problem| problem.contains("\"web\"") && problem.contains("api,scheduler,worker"))
        );
        assert!(read(",").is_err_and(|problem| problem.contains("at least one")));
    }
}
