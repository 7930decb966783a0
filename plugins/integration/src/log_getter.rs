//! `log-getter`: a process log from a URL.

use logs::csv_log::Columns;
use logs::log::{self, Options};
use probity_sdk::prelude::*;
use status_conventions::service::ask;

/// Gets a process log as `msg.log`.
///
/// Reads XES, OCEL 2.0 (XML or JSON), CSV (a URL that ends in `.csv`) and JSON, each of them packed with gzip, too. XES,
/// OCEL and CSV become `msg.log.log.trace[]` with `event[]`, whose attributes are `{"$": {"key", "value"}}` in lists by
/// their type, as *log-trace* and the nodes over traces expect them; JSON is taken as it is.
///
/// An OCEL log is seen from one *object type*: each object of it is a trace. A CSV log has one event per row.
///
/// *Concept name* is put into the global context as `conceptName`.
///
/// A caller may send `logUrl` and `conceptName` in the body of the request. The operator's grant says which hosts may be
/// asked.
#[derive(Clone, Config)]
pub struct LogGetter {
    /// Where the log is.
    #[config(name = "logUrl", label = "URL of the log", default = "")]
    url: Value,
    /// What becomes `conceptName` in the global context.
    #[config(name = "conceptName", label = "Concept name", default = "")]
    concept_name: Value,
    /// Object type whose objects are the traces of an OCEL log.
    #[config(name = "objectType", label = "Object type (OCEL)", default = "", config_only)]
    object_type: String,
    /// Column with the case, in CSV.
    #[config(name = "caseColumn", label = "Case column (CSV)", default = "case:concept:name", config_only)]
    case: String,
    /// Column with the activity, in CSV.
    #[config(name = "activityColumn", label = "Activity column (CSV)", default = "concept:name", config_only)]
    activity: String,
    /// Column with the time, in CSV.
    #[config(name = "timestampColumn", label = "Time column (CSV)", default = "time:timestamp", config_only)]
    timestamp: String,
}

/// Largest log, unpacked, bytes.
const BYTES_MAX: u64 = 48 << 20;

#[node(
    type = "log-getter",
    category = "integration",
    color = "#DDAA99",
    icon = "fa-download",
    wants = ["req"],
    capabilities = ["http", "clock", "context"]
)]
impl Node for LogGetter {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let url = config.url.as_str().filter(|url| !url.is_empty());
        let url = url.context("Payload must be a URL string: logUrl is missing or no text")?;
        if let Some(name) = config.concept_name.as_str().filter(|name| !name.is_empty()) {
            cx.global().set("conceptName", name)?;
        }
        let answer = ask(|| cx.http().get(url), "the log", cx).context("Failed to fetch the log")?;
        let columns = Columns { case: &config.case, activity: &config.activity, timestamp: &config.timestamp };
        let options = Options { object_type: &config.object_type, columns, bytes_max: BYTES_MAX };
        let found = log::read_text(answer.bytes(), url, &options).context("the log cannot be read")?;
        drop(answer);
        msg.set_json("log", found)?;
        cx.emit(0, msg)
    }
}
