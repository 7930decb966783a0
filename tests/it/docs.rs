//! The documents say what is so: links lead somewhere, commands and flags exist, examples are accepted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn probity(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_probity")).args(arguments).output().expect("probity runs")
}

/// Every document with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs", "docs/plugins", "deploy", "changelog.d"].map(|folder| root().join(folder));
    let mut found: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())))
        .map(|entry| entry.expect("a folder that can be read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .map(|path| (path.clone(), fs::read_to_string(&path).expect("text")))
        .collect();
    found.sort();
    assert!(found.len() >= 8, "only {} documents", found.len());
    found
}

/// The contents of fenced blocks of this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut pieces = text.split("\n```");
    let mut found = Vec::new();
    pieces.next();
    while let Some(block) = pieces.next() {
        if let Some(body) = block.strip_prefix(language).and_then(|b| b.strip_prefix('\n')) {
            found.push(body.to_string());
        }
        // What stands between the end of this block and the start of the next.
        pieces.next();
    }
    found
}

#[test]
fn relative_links_lead_somewhere() {
    let mut seen = 0;
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let target = path.parent().expect("a folder").join(link.split('#').next().unwrap_or_default());
            assert!(target.exists(), "{}: the link {link} leads nowhere", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} links seen");
}

#[test]
fn commands_in_the_documents_exist_with_their_flags() {
    let mut seen = BTreeSet::new();
    for (path, text) in documents() {
        for line in blocks(&text, "sh").iter().flat_map(|b| b.lines()) {
            for start in ["cargo run --release -- ", "target/release/probity "] {
                if let Some((_, rest)) = line.split_once(start) {
                    check_command(&path, line, rest);
                    seen.insert(rest.split(' ').next().unwrap_or_default().to_string());
                }
            }
            if line.starts_with("tests/") {
                let script = root().join(line.split(' ').next().unwrap_or_default());
                let mode = fs::metadata(&script).map(|m| m.permissions().mode()).unwrap_or_default();
                assert!(mode & 0o111 != 0, "{}: {line}: no such program", path.display());
                seen.insert(line.to_string());
            }
        }
    }
    for wanted in ["serve", "check", "test", "evaluate", "tests/all"] {
        assert!(seen.contains(wanted), "the documents show {seen:?}, but not {wanted}");
    }
}

fn check_command(document: &Path, line: &str, rest: &str) {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let help = probity(&[words[0], "--help"]);
    assert!(help.status.success(), "{}: {line}: no such command", document.display());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for flag in words.iter().filter(|w| w.starts_with("--")) {
        assert!(help.contains(flag), "{}: {line}: {} has no {flag}", document.display(), words[0]);
    }
}

#[test]
fn the_page_on_the_command_line_names_every_command_and_flag() {
    let page = fs::read_to_string(root().join("docs/cli.md")).expect("docs/cli.md");
    let help = String::from_utf8_lossy(&probity(&["--help"]).stdout).into_owned();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| l.starts_with("  "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|c| *c != "help")
        .collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        assert!(page.contains(&format!("`probity {command}")), "docs/cli.md does not name `probity {command}`");
        for flag in flags(&String::from_utf8_lossy(&probity(&[command, "--help"]).stdout)) {
            let known = page.contains(&format!("`{flag}")) || ["--help", "--version"].contains(&flag.as_str());
            // Small ones of a single command are left to its help.
            assert!(
                known || ["--filter", "--timeout-ms"].contains(&flag.as_str()),
                "docs/cli.md does not name {flag} of {command}"
            );
        }
    }
}

/// The flags that a help text lists.
fn flags(help: &str) -> BTreeSet<String> {
    let words = help.lines().filter(|l| l.trim_start().starts_with('-')).flat_map(str::split_whitespace);
    words.filter(|w| w.starts_with("--")).map(|w| w.trim_end_matches([',', '.']).to_string()).collect()
}

#[test]
fn the_example_agreement_is_accepted() {
    let text = fs::read_to_string(root().join("docs/agreements.md")).expect("docs/agreements.md");
    // The others are parts of one, or settings of editors.
    let example = &blocks(&text, "json")[0];
    let (agreement, diagnostics) = probity::agreement::load(example, "docs/agreements.md");
    assert!(agreement.is_some() && diagnostics.is_empty(), "{diagnostics:?}");
}

/// The fragments on waivers, penalties and bills, put into the example, are accepted and say what the page says.
#[test]
fn the_fragments_of_the_agreements_page_are_accepted() {
    let text = fs::read_to_string(root().join("docs/agreements.md")).expect("docs/agreements.md");
    let blocks: Vec<serde_json::Value> =
        blocks(&text, "json").iter().map(|block| serde_json::from_str(block).expect("JSON")).collect();
    let with = |pointer: &str| blocks.iter().find(|block| block.pointer(pointer).is_some()).expect(pointer);
    let mut document = blocks[0].clone();
    document["context"]["x-probity"]["waivers"] =
        with("/context/x-probity/waivers")["context"]["x-probity"]["waivers"].clone();
    document["terms"]["pricing"] = with("/terms/pricing")["terms"]["pricing"].clone();
    for key in ["penalties", "rewards"] {
        document["terms"]["guarantees"][0]["of"][0][key] = with("/penalties")[key].clone();
    }
    let (agreement, diagnostics) = probity::agreement::load_value(document, "docs/agreements.md");
    let agreement = agreement.unwrap_or_else(|| panic!("{diagnostics:?}"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert_eq!((agreement.waivers[0].id.as_str(), agreement.waivers[0].owner.as_str()), ("move", "ana@example.org"));
    let term = &agreement.guarantees[0].terms[0];
    assert_eq!((term.penalties[0].cases.len(), term.rewards[0].over.as_str()), (2, "bonus"));
    assert_eq!(agreement.billing.expect("a billing").penalties[0].up_to, Some(-10.0));
}

#[test]
fn the_example_tests_are_accepted() {
    let text = fs::read_to_string(root().join("docs/testing.md")).expect("docs/testing.md");
    let agreements = fs::read_to_string(root().join("docs/agreements.md")).expect("docs/agreements.md");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs");
    for sub in ["flows", "agreements"] {
        fs::create_dir_all(folder.join(sub)).expect("a folder");
    }
    fs::write(folder.join("flows/probe.json"), "[]").expect("written");
    fs::write(folder.join("agreements/shop.json"), &blocks(&agreements, "json")[0]).expect("written");
    let examples = blocks(&text, "yaml");
    assert_eq!(examples.len(), 2);
    for example in examples {
        let name = example.lines().next().and_then(|l| l.strip_prefix("# ")).expect("a first line with the file name");
        let file = folder.join(name);
        fs::write(&file, &example).expect("written");
        let checked = probity(&["check", &file.display().to_string()]);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{name}: {said}");
    }
}

#[test]
fn the_files_that_the_architecture_names_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut seen = 0;
    for name in text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|n| n.contains('/') && !n.starts_with('/') && !n.contains(['*', '<', ' ']))
    {
        let places = [root().join(name), root().join("src").join(name)];
        assert!(places.iter().any(|p| p.exists()), "ARCHITECTURE.md names {name}, which is not there");
        seen += 1;
    }
    assert!(seen > 15, "only {seen} files named");
}
