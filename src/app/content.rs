//! Where flows and agreements come from: the configured files and folders, or those shipped in the binary.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use include_dir::{Dir, include_dir};

use crate::config::Config;
use crate::model::Diagnostic;
use crate::model::agreement::Agreement;
use crate::model::flow::FlowFile;
use crate::{agreement, flow, registry};

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

/// The shipped agreements.
pub fn shipped_agreements() -> Content<Vec<Agreement>> {
    let mut content = Content { loaded: Vec::new(), diagnostics: Vec::new() };
    for (name, text) in shipped(&AGREEMENTS) {
        let (loaded, diagnostics) = agreement::load(text, &format!("shipped/{name}"));
        content.loaded.extend(loaded);
        content.diagnostics.extend(diagnostics);
    }
    content
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

/// The configured flows. Without configuration `<data_dir>/flows.json`, which is made from the shipped flows when
/// it is missing (`create`) or stood in for by them.
pub fn load_flows(config: &Config, create: bool) -> Result<Content<FlowFile>> {
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

/// One flow file, or every `.json` file of a folder as one, in name order.
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
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .with_context(|| format!("cannot read the folder {}", path.display()))?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
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

/// The configured agreements. Without configuration the shipped ones, or none when flows are given.
pub fn load_agreements(config: &Config) -> Result<Content<Vec<Arc<Agreement>>>> {
    let sources = match (config.agreements.as_str(), config.flows.as_str()) {
        ("", "") => "shipped",
        ("", _) => "",
        (sources, _) => sources,
    };
    let mut content: Content<Vec<Arc<Agreement>>> = Content { loaded: Vec::new(), diagnostics: Vec::new() };
    for source in sources.split(',').map(str::trim).filter(|s| !s.is_empty()) {
        let (loaded, diagnostics) = match source {
            "shipped" => {
                let shipped = shipped_agreements();
                (shipped.loaded, shipped.diagnostics)
            }
            url if url.contains("://") => {
                bail!("agreements: \"{url}\": this release reads agreements from a folder or file, or \"shipped\"")
            }
            path => {
                if !Path::new(path).exists() {
                    bail!("agreements: there is no file or folder {path}");
                }
                registry::load_folder(Path::new(path))
            }
        };
        content.diagnostics.extend(diagnostics);
        for agreement in loaded {
            if content.loaded.iter().any(|a| a.id == agreement.id) {
                let message = format!("another agreement has the id \"{}\"; this one is left out", agreement.id);
                content
                    .diagnostics
                    .push(Diagnostic::error("duplicate-agreement", "$.id", message).in_file(agreement.source.clone()));
            } else {
                content.loaded.push(Arc::new(agreement));
            }
        }
    }
    Ok(content)
}

/// Writes a file so that it is there whole or not at all: temporary file, fsync, rename.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let temporary = path.with_extension("json.new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
