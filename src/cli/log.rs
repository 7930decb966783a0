//! The log on standard error: as text for people or one JSON object a line, each line with the id of the run it belongs
//! to.
//!
//! The run is found by what the thread polls, not by a span: a span would have to be made for every run, which a fast
//! endpoint would feel, while hardly any run logs.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Config, LogFormat};
use crate::model::RunId;
use crate::runtime::current_run;

/// Starts logging to standard error.
pub(super) fn start(config: &Config, quiet: bool) {
    let level = if quiet { "warn" } else { config.log.level.as_str() };
    let filter = tracing_subscriber::EnvFilter::try_new(level).unwrap_or_else(|e| {
        eprintln!("warning: log.level \"{level}\": {e}; using \"info\"");
        tracing_subscriber::EnvFilter::new("info")
    });
    // Escape codes are for people in front of a terminal, not for files and journals.
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second call (tests in one process) keeps the first subscriber.
    let _started = match config.log.format {
        LogFormat::Json => builder.fmt_fields(JsonFields::new()).event_format(json()).try_init().is_ok(),
        LogFormat::Text => builder.event_format(text(colours)).try_init().is_ok(),
    };
}

fn json() -> WithRun<Format<Json>> {
    WithRun {
        format: Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false),
        json: true,
    }
}

fn text(colours: bool) -> WithRun<Format> {
    WithRun { format: Format::default().with_target(false).with_ansi(colours), json: false }
}

/// Adds `run` to the lines that do not say it themselves.
struct WithRun<F> {
    format: F,
    json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithRun<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let said = event.metadata().fields().field("run").is_some();
        let Some(run) = current_run().filter(|_| !said) else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&with_run(line, run, self.json))
    }
}

fn with_run(mut line: String, run: RunId, json: bool) -> String {
    line.truncate(line.trim_end().len());
    if json && line.ends_with('}') {
        line.pop();
        return format!("{line},\"run\":\"{run}\"}}\n");
    }
    format!("{line} run={run}\n")
}
