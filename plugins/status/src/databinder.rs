//! `databinder`: data of REST services, GitHub, Microsoft Graph and ownCloud.

use probity_sdk::Map;
use probity_sdk::prelude::*;
use status_conventions::value::shown;
use status_conventions::verdict::{self, Finding};

use crate::linker::{Linker, Secrets, Source};
use crate::source::{Question, into_items};

/// Fetches data from a source: a REST service, GitHub, Microsoft Graph or ownCloud.
///
/// The *linker* names the sources: `{"datasources": [{"id", "definitionId", "config"}], "datasourceConfigs": {ID:
/// {"propertyMapping": {OLD: NEW}, "methodConfig": {"methodName", "options"}}}, "defaultMethodName"}`, with the
/// definitions `rest-api`, `github-api`, `microsoft-graph` and `owncloud`. The answer goes to `msg.payload`:
/// `{result: true, data: {data, metadata}, metadata}`; evidences and scope that were there stay.
///
/// | definition | config | methods |
/// |---|---|---|
/// | `rest-api` | `baseUrl`, `defaultEndpoint`, `endpoints`, `headers`, `timeout` (ms), `auth` | `default`, `getById`, `search` |
/// | `github-api` | `personalAccessToken`, `defaultOrg`, `defaultRepo`, `baseUrl` | `getRepositories`, `getRepository`, `getIssues`, `getIssue`, `getPullRequests`, `getPullRequest`, `getContents`, `searchCode`, `searchIssues`, `getUser` |
/// | `microsoft-graph` | `tenantId`, `clientId`, `clientSecret`, `scopes`, `baseUrl`, `loginUrl` | `listSiteItems`, `getSiteIdByPath` |
/// | `owncloud` | `baseUrl`, `username`, `password` or `authorization` | `listFiles`, `listCollections`, `listRecursive`, `searchFiles`, `getFileProperties`, `getFileContent`, `getDocument`, `uploadFile`, `createCollection`, `copy`, `move`, `delete` |
///
/// **Options of a method** are in `msg.fetchOptions`: `endpoint`, `id`, `headers`, `cookies`, `method`, `body`, `query
/// {filters, sort}`, `pagination {enabled, startPage, pageSize}`, `owner`, `repo`, `state`, `sort`, `direction`,
/// `labels`, `issueNumber`, `pullNumber`, `path`, `query`, `username`, `siteId`, `folderPath`, `sitePath`,
/// `responseOptions {fullResponse, throwHttpErrors}`, `authOverride`.
///
/// **Formats**: *full* and *iterator* `{data, metadata}`; *batch* the list of items, with totals; *stream* one message
/// per item, as a *split* node sends them. *Data source* `all` asks all sources: `data` is `{ID: answer}`.
///
/// **Pages**: with *Pages* more than 1, `Link: …; rel="next"` and `@odata.nextLink` are followed on the same server.
///
/// **Secrets**: write `secret:NAME` in the linker, and list it under *Secrets*. A secret cannot be the password of
/// basic authentication: put the whole header into it. A client secret goes into a form as it is stored: percent-encode
/// what is not a letter, a digit or one of `-._~`. Linkers of a message cannot name secrets.
///
/// **Errors** go to catch nodes, with codes such as `http-404`; nothing goes on. A source that does not answer is no
/// result. No connection, 5xx and 429 are tried three times, later if *Retry-After* says so.
#[derive(Clone, Config)]
pub struct Databinder {
    /// Id of the source in the linker, or `all`.
    #[config(name = "datasourceId", label = "Data source", default = "", config_only)]
    datasource_id: String,
    /// The sources, as JSON.
    #[config(label = "Linker", default = "", code = "json", config_only)]
    linker: Value,
    /// Method of the source.
    #[config(name = "methodName", label = "Method", default = "default")]
    method: String,
    /// Form of the reply.
    #[config(name = "responseFormat", label = "Format", default = "full", one_of = ["full", "batch", "iterator", "stream"])]
    format: String,
    /// Items of a page.
    #[config(name = "batchSize", label = "Batch size", default = 100, min = 1, lenient)]
    batch_size: u32,
    /// Most pages to fetch.
    #[config(name = "pagesMax", label = "Pages", default = 1, min = 1, max = 1000, config_only)]
    pages_max: u32,
    /// Where all sources are asked and some fail: send what came, with `result: null` and `errors`.
    #[config(label = "Send part of the sources", default = false, config_only)]
    partial: bool,
    /// The secrets that the linker names.
    #[config(name = "secretNames", label = "Secrets", default = json!([]), rows, config_only)]
    secrets: Vec<SecretName>,
    /// Keep what was fetched as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false, config_only)]
    store_evidences: bool,
}

/// A secret of the linker.
#[derive(Clone, Config)]
pub struct SecretName {
    /// As the linker writes it.
    #[config(label = "Secret", placeholder = "secret:NAME")]
    name: String,
}

#[node(
    type = "databinder",
    category = "status",
    color = "#DDAA99",
    icon = "fa-database",
    wants = ["payload", "req", "datasourceId", "linker", "fetchOptions"],
    capabilities = ["http", "secret", "clock", "random", "evidence"]
)]
impl Node for Databinder {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let fetched = config.fetch(&msg, cx);
        let (method, outcome) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                if self.store_evidences {
                    cx.evidence("databinder-error", &json!({ "error": error.message() }), None)?;
                }
                return Err(error);
            }
        };
        if config.format == "stream" {
            return config.stream(msg, outcome, &method, cx);
        }
        let count = outcome.count();
        let id = outcome.id.clone();
        let mut payload = config.payload(outcome, &method, cx);
        // What earlier nodes found stays; of other payloads nothing does, as in the original.
        for name in ["evidences", "scope"] {
            if let Some(kept) = msg.payload().get(name) {
                payload.insert(name.to_owned(), kept.clone());
            }
        }
        msg.set_payload(payload);
        if self.store_evidences {
            let value = json!({ "datasourceId": id, "methodName": method, "responseFormat": config.format,
                "dataCount": count });
            let finding = Finding::new("databinder-success", value, true);
            verdict::store(&mut msg, cx, &finding)?;
        }
        cx.emit(0, msg)
    }
}

/// What the sources answered.
struct Outcome {
    id: String,
    data: Value,
    /// Sources that failed, where that is allowed.
    errors: Map<String, Value>,
    all: bool,
}

impl Outcome {
    /// Items that came, over all sources.
    fn count(&self) -> usize {
        let of = |reply: &Value| reply.get("data").and_then(Value::as_array).map_or(1, Vec::len);
        match (&self.data, self.all) {
            (Value::Object(replies), true) => replies.values().map(of).sum(),
            (reply, _) => of(reply),
        }
    }
}

impl Databinder {
    fn fetch(&self, msg: &Message, cx: &Context) -> Result<(String, Outcome)> {
        let id = self.datasource(msg)?;
        let linker = self.linker(msg, cx)?;
        let empty = Map::new();
        let options = match msg.get("fetchOptions") {
            Some(Value::Object(options)) => options,
            None | Some(Value::Null) => &empty,
            Some(other) => bail!("msg.fetchOptions is {}: an object was expected", shown(other)),
        };
        if id != "all" {
            let Some(source) = linker.sources.iter().find(|source| source.id == id) else {
                let known: Vec<&str> = linker.sources.iter().map(|source| source.id.as_str()).collect();
                bail!("the linker has no source \"{id}\"; it has {}", known.join(", "));
            };
            let method = self.method(source, &linker);
            let data = self.ask(source, &linker, &method, options, cx)?;
            return Ok((method, Outcome { id, data, errors: Map::new(), all: false }));
        }
        let (mut replies, mut errors, mut first) = (Map::new(), Map::new(), None);
        for source in &linker.sources {
            match self.ask(source, &linker, &self.method(source, &linker), options, cx) {
                Ok(reply) => _ = replies.insert(source.id.clone(), reply),
                Err(error) => {
                    errors.insert(source.id.clone(), Value::from(error.message()));
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) if !self.partial || replies.is_empty() => Err(error),
            _ => Ok((self.method.clone(), Outcome { id, data: Value::Object(replies), errors, all: true })),
        }
    }

    /// The body's, the node's, or the message's, whichever says something first.
    fn datasource(&self, msg: &Message) -> Result<String> {
        let own = Value::from(self.datasource_id.as_str());
        let places = [msg.param("datasourceId"), Some(&own), msg.get("datasourceId")];
        match places.into_iter().flatten().find_map(|id| id.as_str().filter(|id| !id.is_empty())) {
            Some(id) => Ok(id.to_owned()),
            None => bail!("no data source is named: set Data source, msg.datasourceId or datasourceId in the body"),
        }
    }

    fn linker(&self, msg: &Message, cx: &Context) -> Result<Linker> {
        let own = || Secrets { named: Some(self.secrets.iter().map(|secret| secret.name.clone()).collect()) };
        let foreign = || Secrets { named: None };
        let says = |linker: &&Value| !linker.is_null() && *linker != "";
        if let Some(linker) = msg.param("linker").filter(says) {
            return Linker::read(linker, foreign(), cx);
        }
        if let Some(linker) = Some(&self.linker).filter(says) {
            return Linker::read(linker, own(), cx);
        }
        match msg.get("linker").filter(says) {
            Some(linker) => Linker::read(linker, foreign(), cx),
            None => bail!("there is no linker: set Linker, msg.linker or linker in the body"),
        }
    }

    fn method(&self, source: &Source, linker: &Linker) -> String {
        if self.method != "default" && !self.method.is_empty() {
            return self.method.clone();
        }
        let of_source = source.method.get("methodName").and_then(Value::as_str);
        of_source.or(linker.default_method.as_deref()).unwrap_or("default").to_owned()
    }

    fn ask(
        &self,
        source: &Source,
        linker: &Linker,
        method: &str,
        options: &Map<String, Value>,
        cx: &Context,
    ) -> Result<Value> {
        let mut all = source.method.get("options").and_then(Value::as_object).cloned().unwrap_or_default();
        all.extend(options.iter().map(|(name, value)| (name.clone(), value.clone())));
        let question = Question {
            source,
            secrets: &linker.secrets,
            method,
            options: &all,
            format: &self.format,
            batch_size: self.batch_size.into(),
            pages_max: self.pages_max,
            cx,
        };
        question.ask().map_err(|error| {
            let code = error.code().unwrap_or("databinder").to_owned();
            error.context(format_args!("source \"{}\", method {method}", source.id)).with_code(code)
        })
    }

    fn payload(&self, outcome: Outcome, method: &str, cx: &Context) -> Map<String, Value> {
        let mut payload = Map::new();
        let whole = outcome.errors.is_empty();
        payload.insert("result".to_owned(), if whole { Value::Bool(true) } else { Value::Null });
        payload.insert("data".to_owned(), outcome.data);
        if !whole {
            payload.insert("errors".to_owned(), Value::Object(outcome.errors));
        }
        payload.insert(
            "metadata".to_owned(),
            json!({ "datasourceId": outcome.id, "methodName": method,
            "responseFormat": self.format, "timestamp": cx.now_iso() }),
        );
        payload
    }

    /// One message per item, with `msg.parts` as a split node sets them.
    fn stream(&self, msg: Message, outcome: Outcome, method: &str, cx: &Context) -> Result<()> {
        let replies = match outcome.data {
            Value::Object(replies) if outcome.all => replies.into_iter().map(|(_, reply)| reply).collect(),
            reply => vec![reply],
        };
        let items: Vec<Value> = replies.into_iter().flat_map(|mut reply| into_items(reply["data"].take())).collect();
        let (id, count) = (cx.uuid(), items.len());
        for (index, item) in items.into_iter().enumerate() {
            let one = Outcome { id: outcome.id.clone(), data: item, errors: outcome.errors.clone(), all: false };
            let mut out = msg.clone();
            out.set_payload(self.payload(one, method, cx));
            out.set("parts", json!({ "id": id, "index": index, "count": count, "type": "array", "len": 1 }));
            cx.emit(0, out)?;
        }
        Ok(())
    }
}
