//! What a user may do with the Admin API, in Node-RED's words: `*`, `read`, `flows.write`, lists of them.

use serde_json::{Value as Json, json};

/// Permissions of a user or of one login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions(Vec<String>);

impl Permissions {
    /// Everything.
    pub fn all() -> Permissions {
        Permissions(vec!["*".into()])
    }

    /// Nothing: what a user of a settings.js has without `permissions`.
    pub fn none() -> Permissions {
        Permissions(Vec::new())
    }

    /// Words separated by blanks or commas, as a login asks for them and the configuration has them.
    pub fn of_text(text: &str) -> Permissions {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        Permissions(words.map(str::to_owned).collect())
    }

    /// As stored and as settings.js has them: a text, or a list of texts.
    pub fn of_json(json: &Json) -> Permissions {
        match json {
            Json::String(text) => Permissions::of_text(text),
            Json::Array(words) => Permissions(words.iter().filter_map(Json::as_str).map(str::to_owned).collect()),
            _ => Permissions::none(),
        }
    }

    /// As Node-RED shows and stores them: one word alone, several as a list.
    pub fn to_json(&self) -> Json {
        match self.0.as_slice() {
            [word] => json!(word),
            words => json!(words),
        }
    }

    /// Whether these cover one permission such as `flows.write`; the empty one is everybody's.
    pub fn allow(&self, permission: &str) -> bool {
        permission.is_empty() || self.0.iter().any(|word| covers(word, permission))
    }

    /// Whether these cover all of those.
    pub fn cover(&self, others: &Permissions) -> bool {
        others.0.iter().all(|other| self.allow(other))
    }

    /// True for who may do nothing at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `hasPermission` of Node-RED's `editor-api/lib/auth/permissions.js` for one word.
fn covers(word: &str, permission: &str) -> bool {
    let ends_in = |kind: &str| {
        permission == kind
            || permission.strip_suffix(kind).is_some_and(|before| before.len() > 1 && before.ends_with('.'))
    };
    match word {
        "*" => true,
        "read" | "*.read" => ends_in("read") || word == permission,
        "write" | "*.write" => ends_in("write") || word == permission,
        word => word == permission,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cover_what_they_do_in_node_red() {
        for (given, permission, allowed) in [
            ("*", "flows.write", true),
            ("read", "flows.read", true),
            ("read", "read", true),
            ("*.read", "flows.read", true),
            ("read", "flows.write", false),
            ("read", "flowsread", false),
            ("read", ".read", false),
            ("read", "*", false),
            ("write", "flows.write", true),
            ("write", "flows.read", false),
            ("flows.write", "flows.write", true),
            ("flows.write", "nodes.write", false),
            ("flows.read, nodes.read", "nodes.read", true),
            ("", "flows.read", false),
            ("", "", true),
        ] {
            assert_eq!(Permissions::of_text(given).allow(permission), allowed, "{given:?} {permission:?}");
        }
        assert!(Permissions::all().cover(&Permissions::of_text("* read")));
        assert!(!Permissions::of_text("read").cover(&Permissions::all()));
    }

    #[test]
    fn they_are_read_and_shown_as_settings_js_has_them() {
        let shown = |json: Json| Permissions::of_json(&json).to_json();
        assert_eq!(shown(json!("*")), json!("*"));
        assert_eq!(shown(json!(["flows.read", "inject.write"])), json!(["flows.read", "inject.write"]));
        assert_eq!(shown(json!(null)), json!([]));
    }
}
