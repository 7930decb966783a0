//! Where flows and agreements come from: the configured files and folders, or those shipped in the binary.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use include_dir::{Dir, include_dir};

use crate::clock::Clock;
use crate::config::Config;
use crate::model::Diagnostic;
use crate::model::flow::FlowFile;
use crate::net::Net;
use crate::registry::{Agreements, Document, FolderSource, Found, Source, SourceError, Times};
use crate::{flow, registry};

static FLOWS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/flows");
static AGREEMENTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/agreements");

/// Something loaded and everything that is wrong with it.
pub struct Content<T> {
    pub loaded: T,
    pub diagnostics: Vec<Diagnostic>,
}

/// The shipped flows as one flow file, in file-name order.
pub fn shipped_flows() -> String {
    let mut entries = Vec::new();
    for (name, text) in shipped(&FLOWS) {
        let flow: Vec<serde_json::Value> =
            serde_json::from_str(text).unwrap_or_else(|e| panic!("shipped flow {name} is a JSON array: {e}"));
        entries.extend(flow);
    }
    let mut text = serde_json::to_string_pretty(&entries).expect("JSON prints");
    text.push('\n');
    text
}

fn shipped(dir: &'static Dir<'static>) -> Vec<(&'static str, &'static str)> {
    let mut files: Vec<_> = dir
        .files()
        .filter_map(|f| Some((f.path().file_name()?.to_str()?, f.contents_utf8()?)))
        .filter(|(name, _)| name.ends_with(".json"))
        .collect();
    files.sort();
    files
}

/// Refuses a file that is no flow file at all: a server without its flows would look ready and answer nothing.
pub fn usable(flows: Content<FlowFile>) -> Result<Content<FlowFile>> {
    match flows.diagnostics.iter().find(|d| matches!(d.code.as_str(), "broken-json" | "not-flows")) {
        Some(problem) => bail!("{problem}"),
        None => Ok(flows),
    }
}

/// Where the configured flows are, or will be.
pub fn flow_path(config: &Config) -> PathBuf {
    match config.flows.as_str() {
        "" => config.data_dir.join("flows.json"),
        flows => PathBuf::from(flows),
    }
}

/// The configured flows. Without configuration `<data_dir>/flows.json`, which is made from the shipped flows when
/// it is missing (`create`) or stood in for by them.
pub fn load_flows(config: &Config, create: bool) -> Result<Content<FlowFile>> {
    // A flow file that settings.js names is made by the first deploy, as in Node-RED.
    if config.settings_js.is_some() && !config.flows.is_empty() && !Path::new(&config.flows).exists() {
        let (loaded, diagnostics) = flow::load("[]", &config.flows);
        return Ok(Content { loaded, diagnostics });
    }
    if !config.flows.is_empty() {
        return read_flows(Path::new(&config.flows)).and_then(usable);
    }
    let path = config.data_dir.join("flows.json");
    if path.exists() {
        return read_flows(&path).and_then(usable);
    }
    let text = shipped_flows();
    if create {
        write_whole(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let (loaded, diagnostics) = flow::load(&text, &path.display().to_string());
    Ok(Content { loaded, diagnostics })
}

/// One flow file, or every `.json` file of a folder as one, in the order they were written in, else by name.
pub fn read_flows(path: &Path) -> Result<Content<FlowFile>> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read the flow file {}", path.display()))
    };
    if !path.is_dir() {
        let (loaded, diagnostics) = flow::load(&read(path)?, &path.display().to_string());
        return Ok(Content { loaded, diagnostics });
    }
    let mut entries = Vec::new();
    let mut diagnostics = Vec::new();
    let files =
        crate::deploy::folder::files(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
    for file in &files {
        let (loaded, found) = flow::load(&read(file)?, &file.display().to_string());
        diagnostics.extend(found);
        entries.extend(loaded.entries.into_iter().map(serde_json::Value::Object));
    }
    let (loaded, found) = flow::load_value(entries, &path.display().to_string());
    // What one file alone shows has been said with its own name; between files only duplicates are new.
    diagnostics.extend(found.into_iter().filter(|d| d.code.contains("duplicate")));
    Ok(Content { loaded, diagnostics })
}

/// The configured sources of agreements, in order. Without configuration the shipped ones, or none when flows are given.
///
/// # Errors
/// An address that is none, and a folder or file that is not there.
pub fn sources(config: &Config, net: &Arc<Net>) -> Result<Vec<Box<dyn Source>>> {
    let configured = match (config.agreements.as_str(), config.flows.as_str()) {
        ("", "") => "shipped",
        ("", _) => "",
        (sources, _) => sources,
    };
    let times = Times {
        watch: Duration::from_millis(config.registry.watch_ms.max(10)),
        poll: Duration::from_millis(config.registry.poll_ms.max(10)),
        request: Duration::from_millis(config.registry.request_ms_max),
    };
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    for source in registry::addresses(configured) {
        sources.push(match source.as_str() {
            "shipped" => Box::new(Shipped),
            url if url.contains("://") => {
                registry::remote(url, net, times).map_err(|problem| anyhow::anyhow!("agreements: {problem}"))?
            }
            path if !Path::new(path).exists() => bail!("agreements: there is no file or folder {path}"),
            path => Box::new(FolderSource::new(path.into(), times.watch)),
        });
    }
    Ok(sources)
}

/// The agreements that a server with this configuration has, read once: those put by its API, then the configured ones.
///
/// # Errors
/// Sources that are not there or do not answer.
pub async fn load_agreements(config: &Config, net: &Arc<Net>) -> Result<Arc<Agreements>> {
    let mut all = sources(config, net)?;
    if let Some(store) = super::store_there_is(config).await? {
        all.insert(0, Box::new(registry::StoredSource::once(store)));
    }
    Ok(registry::read_once(Clock::System, all).await?)
}

/// The agreements in the binary, as a source that never changes.
struct Shipped;

#[async_trait]
impl Source for Shipped {
    fn name(&self) -> String {
        "shipped".into()
    }

    fn kind(&self) -> &'static str {
        "shipped"
    }

    async fn read(&mut self) -> Result<Option<Found>, SourceError> {
        let read = |(name, text): (&str, &str)| {
            let source = format!("shipped/{name}");
            Document::of_text(&source, &source, text)
        };
        Ok(Some(Found { documents: shipped(&AGREEMENTS).into_iter().map(read).collect(), ..Found::default() }))
    }

    async fn changed(&mut self, _clock: &Clock) {
        std::future::pending().await
    }
}

/// Writes a file so that it is there whole or not at all: temporary file, fsync, rename.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
