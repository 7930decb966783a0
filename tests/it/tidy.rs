//! House rules that neither the compiler nor clippy can hold: floors, names, headers, who may touch what.
//!
//! Every rule collects all its offenders and names the mend. A rule that arrives late comes with a list of today's
//! offenders; such a list may only shrink.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

mod scan;

/// Files that are longer than [`LINES_MAX`], with a length they may not exceed. May only shrink.
const LONG_FILES: &[(&str, usize)] = &[];
const LINES_MAX: usize = 700;

/// One Rust file below `src/`.
struct Source {
    /// `src/store/mod.rs`.
    path: String,
    /// Top-level module: `store`; `lib` and `main` for the two roots.
    module: String,
    text: String,
    /// The text with comments and literals blanked; byte offsets stay.
    code: String,
    /// As `code`, with `#[cfg(test)]` items blanked, too. Empty for a file that is all tests.
    product: String,
}

#[test]
fn modules_use_only_lower_floors() {
    let sources = sources();
    let floors = floors(&sources);
    let mut problems = Vec::new();
    for source in &sources {
        let Some(own) = floors.get(source.module.as_str()) else {
            if !["lib", "main"].contains(&source.module.as_str()) {
                problems.push(format!(
                    "{}: module `{}` stands on no floor; give it a line in the table of src/lib.rs",
                    source.path, source.module
                ));
            }
            continue;
        };
        for used in scan::crate_modules(&source.product) {
            let Some(floor) = floors.get(used.as_str()) else { continue };
            if used != source.module && floor >= own {
                problems.push(format!(
                    "{} (floor {own}) uses `{used}` (floor {floor}, {}): move what both need to a lower floor, or \
                     let `app` pass it in as a value",
                    source.path,
                    file_of(&sources, &used),
                ));
            }
        }
    }
    report(problems);
}

#[test]
fn names_are_the_fields_words() {
    const BANNED: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "stuff"];
    let mut problems = Vec::new();
    for source in sources() {
        let parts = source.path.trim_end_matches(".rs").split(['/', '_']);
        for part in parts.filter(|p| BANNED.contains(p)) {
            problems.push(format!("{}: \"{part}\" says nothing; name the file after what is in it", source.path));
        }
        for name in scan::declared_names(&source.code) {
            let lower = name.to_lowercase();
            if ["manager", "helper", "utils"].iter().any(|b| lower.ends_with(b)) {
                problems.push(format!("{}: `{name}`: name it after what it does, not that it helps", source.path));
            }
        }
    }
    report(problems);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut problems = Vec::new();
    for path in files(&["src", "tests", "benches"]) {
        if path.ends_with(".rs") && !read(&path).starts_with("//! ") {
            problems
                .push(format!("{path}: open with a `//!` sentence: what the file is for, what it leaves to others"));
        }
    }
    report(problems);
}

#[test]
fn each_concern_has_one_home() {
    /// Needle, where it may stand, what to do instead.
    const HOMES: &[(&str, &[&str], &str)] = &[
        ("sqlx::", &["store", "datasource"], "only `store` speaks SQL; add a method to the trait Store"),
        ("reqwest::", &["net"], "connect through `net`, which holds the allow-list, time and size limits"),
        (
            "TcpStream::connect",
            &["net", "cli"],
            "connect through `net`, which holds the allow-list, time and size limits",
        ),
        ("env::var", &["config"], "only `config` reads the environment; add a key to config.default.toml"),
        ("env::set_var", &[], "the environment is read once, by `config`, and never written"),
        ("Timestamp::now", &["clock"], "take a `Clock` and ask `clock.now()`"),
        ("Zoned::now", &["clock"], "take a `Clock` and ask `clock.now()`"),
        ("SystemTime::now", &["clock"], "take a `Clock` and ask `clock.now()`"),
        ("Utc::now", &["clock"], "take a `Clock` and ask `clock.now()`"),
        ("Local::now", &["clock"], "take a `Clock` and ask `clock.now()`"),
        ("tokio::time::sleep", &["clock"], "wait with `clock.sleep()`, so that tests can move time"),
        ("thread::sleep", &[], "wait with `clock.sleep()`, so that tests can move time"),
        (".unwrap()", &[], "use `?` for the world and `expect(\"why this holds\")` for our own invariants"),
        ("process::exit", &["cli", "main"], "return an error; only the command line ends the process"),
    ];
    let mut problems = Vec::new();
    for source in sources() {
        for (needle, homes, mend) in HOMES {
            if homes.contains(&source.module.as_str()) {
                continue;
            }
            for at in scan::word_positions(&source.product, needle) {
                problems.push(format!("{}:{}: `{needle}`: {mend}", source.path, line_of(&source.product, at)));
            }
        }
    }
    report(problems);
}

#[test]
fn pure_modules_are_synchronous() {
    const PURE: &[&str] = &["model", "expr", "cron", "regexp", "flow", "agreement"];
    const IMPURE: &[(&str, &str)] = &[
        ("async fn", "a pure module answers at once"),
        ("tokio::", "a pure module knows no runtime"),
        ("std::fs", "take the text, not the path"),
        ("std::net", "take the answer, not the address"),
        ("std::thread", "a pure module starts nothing"),
    ];
    let mut problems = Vec::new();
    for source in sources().iter().filter(|s| PURE.contains(&s.module.as_str())) {
        for (needle, why) in IMPURE {
            for at in scan::word_positions(&source.product, needle) {
                problems.push(format!(
                    "{}:{}: `{needle}` in a pure module: {why}; do it in a module above",
                    source.path,
                    line_of(&source.product, at)
                ));
            }
        }
    }
    report(problems);
}

#[test]
fn the_runtime_names_no_node() {
    let catalogue = probity::nodes::catalogue();
    let types: BTreeSet<&str> = catalogue.iter().map(|t| t.spec.node_type).collect();
    let mut problems = Vec::new();
    for source in sources().iter().filter(|s| s.module == "runtime") {
        for (at, literal) in scan::strings(&source.text, &source.code, &source.product) {
            // Many types are everyday words; only a comparison with a node's type is a dependency on it.
            let line = source.code[..at].lines().last().unwrap_or_default();
            if types.contains(literal) && (literal.contains(' ') || line.contains("type")) {
                problems.push(format!(
                    "{}:{}: \"{literal}\" is the type of a node: let the node's spec say what the runtime wants to know",
                    source.path,
                    line_of(&source.text, at)
                ));
            }
        }
    }
    report(problems);
}

#[test]
fn files_stay_readable() {
    let mut problems = Vec::new();
    let long: BTreeMap<&str, usize> = LONG_FILES.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for path in files(&["src", "tests", "benches"]).into_iter().filter(|p| p.ends_with(".rs")) {
        let lines = read(&path).lines().count();
        let limit = long.get(path.as_str()).copied();
        seen.insert(path.clone());
        if lines > limit.unwrap_or(LINES_MAX) {
            problems
                .push(format!("{path}: {lines} lines, at most {}: split it by meaning", limit.unwrap_or(LINES_MAX)));
        }
        if limit.is_some() && lines <= LINES_MAX {
            problems.push(format!("{path}: {lines} lines now; take it off LONG_FILES in tests/it/tidy.rs"));
        }
    }
    for (path, _) in LONG_FILES {
        if !seen.contains(*path) {
            problems.push(format!("{path}: gone; take it off LONG_FILES in tests/it/tidy.rs"));
        }
    }
    report(problems);
}

#[test]
fn nothing_is_left_for_later_or_tied_to_one_machine() {
    // Spelt in pieces, so that this file does not find itself.
    let later = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let machine = [concat!("/wor", "k/"), concat!("/ro", "ot/"), concat!("/hom", "e/"), concat!(".libr", "ary/")];
    let mut problems = Vec::new();
    for path in files(&["."]) {
        // What Node-RED said, word for word, is not ours to finish.
        if path == "Cargo.lock" || path == "LICENSE" || path.starts_with("tests/cases/node-red/") {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in later.iter().filter(|w| line.contains(**w)) {
                problems.push(format!("{path}:{}: {word}: do it, or write an issue", number + 1));
            }
            // Behind a letter it is a part of some other path, such as a drive's root.
            let begins = |word: &str| {
                line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric()))
            };
            for word in machine.iter().filter(|w| begins(w)) {
                problems.push(format!("{path}:{}: {word} is a path of one machine: make it relative", number + 1));
            }
        }
    }
    report(problems);
}

fn report(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every file below these folders, relative to the root, sorted; built and fetched things left out.
fn files(folders: &[&str]) -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if ["target", ".git", "data", "node_modules", ".env"].contains(&name.as_str()) {
                continue;
            }
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut found);
    }
    let relative = |path: &PathBuf| {
        let path = path.strip_prefix(root()).expect("walked below the root");
        path.to_string_lossy().trim_start_matches("./").to_string()
    };
    let mut names: Vec<String> = found.iter().map(relative).collect();
    names.sort();
    names
}

fn sources() -> Vec<Source> {
    let read_source = |path: String| {
        let text = read(&path);
        let code = scan::without_comments_and_literals(&text);
        let product = scan::without_tests(&code);
        let module = path["src/".len()..].split(['/', '.']).next().unwrap_or_default().to_string();
        Source { path, module, text, code, product }
    };
    let paths = files(&["src"]).into_iter().filter(|p| p.ends_with(".rs"));
    let mut sources: Vec<Source> = paths.map(read_source).collect();
    let tests: Vec<String> =
        sources.iter().flat_map(|s| scan::test_modules(&s.code).into_iter().map(|m| beside(&s.path, &m))).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
        if tests.iter().any(|t| stem == t || stem.starts_with(&format!("{t}/"))) {
            source.product.clear();
        }
    }
    sources
}

/// Where the module `name` declared in the file `path` lives, without `.rs`.
fn beside(path: &str, name: &str) -> String {
    let (folder, file) = path.rsplit_once('/').expect("a path below src");
    match file {
        "mod.rs" | "lib.rs" | "main.rs" => format!("{folder}/{name}"),
        _ => format!("{}/{name}", path.trim_end_matches(".rs")),
    }
}

/// The table in the crate's documentation: module → floor.
fn floors(sources: &[Source]) -> BTreeMap<String, u8> {
    let lib = &sources.iter().find(|s| s.path == "src/lib.rs").expect("src/lib.rs").text;
    let mut floors = BTreeMap::new();
    for line in lib.lines() {
        let Some((floor, modules)) = line.strip_prefix("//! | ").and_then(|l| l.split_once(" | ")) else { continue };
        let Ok(floor) = floor.trim().parse() else { continue };
        // Every second piece stands between backticks.
        for name in modules.split('`').skip(1).step_by(2) {
            floors.insert(name.to_string(), floor);
        }
    }
    assert!(floors.len() > 10, "the floors table of src/lib.rs was not understood: {floors:?}");
    floors
}

fn file_of(sources: &[Source], module: &str) -> String {
    let homes = [format!("src/{module}.rs"), format!("src/{module}/mod.rs")];
    sources.iter().map(|s| &s.path).find(|p| homes.contains(p)).cloned().unwrap_or_default()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}
