//! `/library`: flows, functions and templates that users keep, one file each below the library folder, in the format of
//! Node-RED's `storage/localfilesystem/library.js`: properties as `// name: value` lines, then the text.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value as Json, json};

use super::answer;
use super::{Ask, Route, route};

pub(super) const ROUTES: &[Route] = &[
    route!(GET "/library/:library/:type/*", "library.read", get),
    route!(POST "/library/:library/:type/*", "library.write", post),
];

/// What can be kept: Node-RED's own and those its function and template nodes register.
const TYPES: [&str; 3] = ["flows", "functions", "templates"];

fn forbidden() -> Response {
    answer::error(StatusCode::FORBIDDEN, "forbidden", "Error")
}

/// Why a call gets no entry.
enum Problem {
    /// A path that leads elsewhere.
    Forbidden,
    Other(String),
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Response {
        match problem {
            Problem::Forbidden => forbidden(),
            Problem::Other(message) => answer::unexpected(&message),
        }
    }
}

fn checked(ask: &Ask) -> Result<(), Problem> {
    if ask.param(2).split(['/', '\\']).any(|part| part == "..") || ask.param(2).contains('\0') {
        return Err(Problem::Forbidden);
    }
    if !TYPES.contains(&ask.param(1)) {
        return Err(Problem::Other(format!("Unknown library type: {}", ask.param(1))));
    }
    if !matches!(ask.param(0), "local" | "examples") {
        return Err(Problem::Other(format!("Unknown library: {}", ask.param(0))));
    }
    Ok(())
}

/// The file or folder of a path below the library's folder of one type. Nothing but plain names leads there.
fn place(root: &Path, path: &str) -> Result<PathBuf, Problem> {
    let relative = Path::new(path.trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(Problem::Forbidden);
    }
    let place = root.join(relative);
    // A link may lead anywhere; what exists must lie inside.
    if let (Ok(real), Ok(real_root)) = (place.canonicalize(), root.canonicalize())
        && !real.starts_with(real_root)
    {
        return Err(Problem::Forbidden);
    }
    Ok(place)
}

async fn get(ask: Ask) -> Response {
    if let Err(problem) = checked(&ask) {
        return problem.into();
    }
    let (kind, path) = (ask.param(1).to_string(), ask.param(2).to_string());
    if ask.param(0) == "examples" {
        return examples(&kind, &path);
    }
    let root = ask.admin.lib_dir.join(&kind);
    let read = tokio::task::spawn_blocking({
        let kind = kind.clone();
        move || read(&root, &kind, &path)
    });
    match read.await {
        Ok(Ok(Entry::Text(text))) if kind == "flows" => answer::text_of("application/json", text),
        Ok(Ok(Entry::Text(text))) => answer::text_of("text/plain", text),
        Ok(Ok(Entry::Folder(names))) => answer::json(&Json::Array(names)),
        Ok(Err(problem)) => problem.into(),
        Err(error) => answer::unexpected(&error.to_string()),
    }
}

/// The editor's packages bring examples for their own nodes; the folder is there, and what it holds is theirs.
fn examples(kind: &str, path: &str) -> Response {
    match (kind, path.trim_matches('/')) {
        ("flows", "") => answer::json(&json!(["node-red"])),
        ("flows", "node-red") => answer::json(&json!([])),
        _ => answer::not_found("Error"),
    }
}

enum Entry {
    Text(String),
    Folder(Vec<Json>),
}

fn read(root: &Path, kind: &str, path: &str) -> Result<Entry, Problem> {
    let wanted = place(root, path)?;
    if wanted.is_dir() {
        return folder(&wanted).map(Entry::Folder);
    }
    // What is named as a folder is an empty one as long as nothing lies in it.
    let with_ending = root.join(format!("{path}.json"));
    let wanted = if kind == "flows" && !wanted.exists() && with_ending.exists() { with_ending } else { wanted };
    match std::fs::read_to_string(&wanted) {
        Ok(text) => Ok(Entry::Text(body(&text))),
        Err(error) if error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::NotADirectory => {
            if path.is_empty() || path.ends_with('/') {
                Ok(Entry::Folder(Vec::new()))
            } else {
                Err(Problem::Other(format!("Library Entry not found {path}")))
            }
        }
        Err(error) => Err(Problem::Other(format!("{path}: {error}"))),
    }
}

/// Folders first, then files with their properties, both by name.
fn folder(path: &Path) -> Result<Vec<Json>, Problem> {
    let entries = std::fs::read_dir(path).map_err(|e| Problem::Other(e.to_string()))?;
    let mut names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    let (folders, files): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| path.join(name).is_dir());
    let described = files.into_iter().map(|name| {
        let text = std::fs::read_to_string(path.join(&name)).unwrap_or_default();
        let mut about = properties(&text);
        about.insert("fn".into(), name.into());
        Json::Object(about)
    });
    Ok(folders.into_iter().map(Json::from).chain(described).collect())
}

/// `// name: value` at the start of a file.
fn property(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("// ")?.split_once(": ")?;
    let word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.then_some((name, value))
}

fn properties(text: &str) -> Map<String, Json> {
    let lines = text.lines().map_while(property);
    lines.map(|(name, value)| (name.to_string(), several_lines(value).into())).collect()
}

fn body(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').skip_while(|line| property(line).is_some()).collect();
    lines.join("\n")
}

fn one_line(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn several_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('\\')) => out.push('\\'),
            _ => {
                out.push(c);
                continue;
            }
        }
        rest.next();
    }
    out
}

async fn post(ask: Ask) -> Response {
    if let Err(problem) = checked(&ask) {
        return problem.into();
    }
    let given = match ask.json() {
        Ok(given) => given,
        Err(refusal) => return *refusal,
    };
    if ask.param(0) == "examples" {
        return answer::unexpected("Library examples is read-only");
    }
    let (kind, mut path) = (ask.param(1).to_string(), ask.param(2).to_string());
    let text = match text_of(&kind, given) {
        Ok(text) => text,
        Err(message) => return answer::unexpected(&message),
    };
    if kind == "flows" && !path.ends_with(".json") {
        path.push_str(".json");
    }
    let root = ask.admin.lib_dir.join(kind);
    let written = tokio::task::spawn_blocking(move || write(&root, &path, &text)).await;
    match written {
        Ok(Ok(())) => answer::nothing(),
        Ok(Err(problem)) => problem.into(),
        Err(error) => answer::unexpected(&error.to_string()),
    }
}

fn text_of(kind: &str, given: Json) -> Result<String, String> {
    if kind == "flows" {
        return Ok(crate::model::Value::from(&given).to_json_pretty(4));
    }
    let Json::Object(mut about) = given else { return Err("the entry must be an object with `text`".into()) };
    let Some(Json::String(text)) = about.remove("text") else { return Err("`text` must be a text".into()) };
    let mut out = String::new();
    for (name, value) in about {
        let Json::String(value) = value else { return Err(format!("`{name}` must be a text")) };
        out.push_str(&format!("// {name}: {}\n", one_line(&value)));
    }
    Ok(out + &text)
}

fn write(root: &Path, path: &str, text: &str) -> Result<(), Problem> {
    let other = |e: std::io::Error| Problem::Other(format!("{path}: {e}"));
    std::fs::create_dir_all(root).map_err(other)?;
    let wanted = place(root, path)?;
    let name = wanted.file_name().filter(|_| !path.ends_with('/')).ok_or(Problem::Other("a name is missing".into()))?;
    let folder = wanted.parent().ok_or(Problem::Forbidden)?;
    std::fs::create_dir_all(folder).map_err(other)?;
    // Once more: a folder on the way may be a link.
    place(root, Path::new(path).parent().and_then(Path::to_str).unwrap_or_default())?;
    let temporary = folder.join(format!(".{}.new", name.to_string_lossy()));
    std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, &wanted)).map_err(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_properties_and_text() {
        let given = json!({ "name": "a\\b\nc", "info": "", "text": "// x\n// note: y\nreturn msg;" });
        let text = text_of("functions", given).unwrap();
        assert_eq!(text, "// name: a\\\\b\\nc\n// info: \n// x\n// note: y\nreturn msg;");
        assert_eq!(Json::Object(properties(&text)), json!({ "name": "a\\b\nc", "info": "" }));
        assert_eq!(body(&text), "// x\n// note: y\nreturn msg;");
        assert!(text_of("functions", json!({ "outputs": 1, "text": "" })).is_err());
        assert!(text_of("functions", json!({ "name": "no text" })).is_err());
    }

    #[test]
    fn nothing_outside_the_library_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("lib");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), root.join("out")).unwrap();
        for path in ["../secret", "a/../../secret", "out/secret", "./../secret"] {
            assert!(matches!(read(&root, "flows", path), Err(Problem::Forbidden)), "{path}");
        }
        assert!(matches!(write(&root, "out/new.json", "x"), Err(Problem::Forbidden)));
        assert!(!folder.path().join("new.json").exists());
        write(&root, "a/b.json", "[]").ok().unwrap();
        assert!(matches!(read(&root, "flows", "a/b"), Ok(Entry::Text(text)) if text == "[]"));
    }
}
