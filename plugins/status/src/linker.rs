//! The linker: which data sources there are, and how each is reached.

use probity_sdk::{Context, Map, Result, Value, bail};
use status_conventions::credential;
use status_conventions::value::{kind, shown};

/// Kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    Rest,
    Github,
    Graph,
    Owncloud,
}

impl Definition {
    /// By the id of the library, or the class name that STATUS's examples use.
    fn of(id: &str) -> Option<Self> {
        Some(match id {
            "rest-api" | "RestApiDatasource" => Self::Rest,
            "github-api" | "GithubApiDatasource" | "GitHubApiDatasource" => Self::Github,
            "microsoft-graph" | "MicrosoftGraphDatasource" => Self::Graph,
            "owncloud" | "OwnCloudDatasource" => Self::Owncloud,
            _ => return None,
        })
    }
}

/// One source.
pub struct Source {
    pub id: String,
    pub definition: Definition,
    pub config: Map<String, Value>,
    /// Renames properties of its items: old name, new name.
    pub mapping: Map<String, Value>,
    /// What the linker says of its method: `methodName` and `options`.
    pub method: Map<String, Value>,
}

/// The sources of a node, and whose word they are.
pub struct Linker {
    pub sources: Vec<Source>,
    pub default_method: Option<String>,
    pub secrets: Secrets,
}

/// Which secrets a linker may name.
#[derive(Clone)]
pub struct Secrets {
    /// Those of the node's configuration; `None` for a linker that came with the message.
    pub named: Option<Vec<String>>,
}

impl Secrets {
    /// Warns of a secret that stands in the node's own linker.
    pub fn warn_of_literal(&self, name: &str, text: &str, cx: &Context) {
        if self.named.is_some() && !text.starts_with("secret:") {
            credential::warn_of_literal(&format!("linker ({name})"), cx);
        }
    }

    /// The text, or the placeholder of the secret it names.
    pub fn text(&self, text: &str, cx: &Context) -> Result<String> {
        let Some(name) = text.strip_prefix("secret:") else { return Ok(text.to_owned()) };
        match &self.named {
            None => {
                bail!("the linker came with the message and names the secret \"{name}\": only a configured linker may")
            }
            Some(named) if named.iter().any(|known| known == text) => cx.secret(name),
            Some(_) => {
                bail!("the linker names the secret \"{name}\": add \"secret:{name}\" to this node's list of secrets")
            }
        }
    }
}

impl Linker {
    /// Reads a linker: an object, or its JSON text. What cannot be used of it goes to the log, unless nothing remains.
    pub fn read(linker: &Value, secrets: Secrets, cx: &Context) -> Result<Self> {
        let parsed;
        let linker = match linker {
            Value::String(text) => {
                parsed = probity_sdk::serde_json::from_str::<Value>(text)
                    .map_err(|error| probity_sdk::Error::new(format!("the linker is no JSON: {error}")))?;
                &parsed
            }
            other => other,
        };
        let Some(object) = linker.as_object() else {
            bail!(
                "the linker is {}: {{\"datasources\": [{{\"id\", \"definitionId\", \"config\"}}]}} was expected",
                kind(linker)
            );
        };
        let listed = object.get("datasources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let (mut sources, mut problems) = (Vec::new(), Vec::new());
        for (index, entry) in listed.iter().enumerate() {
            match source(entry, object) {
                Ok(source) => sources.push(source),
                Err(problem) => problems.push(format!("datasources[{index}]: {}", problem.message())),
            }
        }
        if sources.is_empty() {
            let why = if problems.is_empty() { "datasources is empty".to_owned() } else { problems.join("; ") };
            bail!("the linker names no source that can be used: {why}");
        }
        problems.iter().for_each(|problem| cx.warn(format_args!("a source of the linker is left out: {problem}")));
        let default_method = object.get("defaultMethodName").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { sources, default_method, secrets })
    }
}

fn source(entry: &Value, linker: &Map<String, Value>) -> Result<Source> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(definition_id) = text("definitionId") else { bail!("definitionId is missing") };
    let Some(definition) = Definition::of(definition_id) else {
        bail!("definitionId is \"{definition_id}\": rest-api, github-api, microsoft-graph or owncloud was expected");
    };
    let config = match entry.get("config") {
        Some(Value::Object(config)) => config.clone(),
        None => bail!("config is missing"),
        Some(other) => bail!("config is {}: an object was expected", shown(other)),
    };
    // The library names a source without id by its definition.
    let id = text("id").unwrap_or(definition_id).to_owned();
    let of_source = linker.get("datasourceConfigs").and_then(|configs| configs.get(&id));
    let part = |name: &str| of_source.and_then(|c| c.get(name)).and_then(Value::as_object).cloned().unwrap_or_default();
    Ok(Source { id, definition, config, mapping: part("propertyMapping"), method: part("methodConfig") })
}
