//! Secrets that stand in files: `PROBITY_<KEY>_FILE` for every key, and the names that the STATUS stack has for some
//! (`JWT_SECRET`, `SMTP_PASSWORD`, …), each also with `_FILE`.

use std::path::{Path, PathBuf};

/// Names of the stack, and the variable of ours that each stands for.
pub(super) const STACK: &[(&str, &str)] = &[
    ("JWT_SECRET", "PROBITY_AUTH_STATUS_SECRET"),
    ("SMTP_HOST", "PROBITY_MAIL_HOST"),
    ("SMTP_PORT", "PROBITY_MAIL_PORT"),
    ("SMTP_USER", "PROBITY_MAIL_USER"),
    ("SMTP_PASSWORD", "PROBITY_MAIL_PASSWORD"),
    ("SMTP_FROM", "PROBITY_MAIL_FROM"),
];

/// Further secrets of the stack that are no business of flows.
const HIDDEN: &[&str] = &["PASS_STATUS", "REFRESH_JWT_SECRET", "DB_PASSWORD", "MONGOPASS", "GRAFANA_DB_PASSWORD"];

const SUFFIX: &str = "_FILE";
/// Longer files hold no secret, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The variables that a key is given by: ours, and the stack's if it has one.
pub(super) fn variables_of(key: &str) -> (String, Option<String>) {
    if key == "pass_status" {
        return ("PASS_STATUS".into(), None);
    }
    let ours = format!("PROBITY_{}", key.to_uppercase().replace('.', "_"));
    let stack = STACK.iter().find(|(_, name)| *name == ours).map(|(stack, _)| stack.to_string());
    (ours, stack)
}

/// Whether a variable of the environment is kept from flows.
pub(super) fn is_hidden(name: &str) -> bool {
    let name = name.strip_suffix(SUFFIX).unwrap_or(name);
    HIDDEN.contains(&name)
        || STACK.iter().any(|(stack, _)| *stack == name && (name == "JWT_SECRET" || name == "SMTP_PASSWORD"))
}

/// Reads a secret's file; its last line break is not part of it.
///
/// # Errors
/// A file that cannot be read, is empty (it may be about to be written) or too large to be one.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|error| format!("cannot read {shown}: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{shown} has more than {FILE_BYTES_MAX} bytes; expected a file that holds one secret"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(format!("{shown} is empty; expected the secret"));
    }
    Ok(text.to_string())
}

/// A variable's value: of the variable itself, or of the file that its `_FILE` names.
///
/// # Errors
/// Both are given, or the file cannot be read.
pub(super) fn value(
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    files: &mut Vec<PathBuf>,
) -> Result<Option<String>, String> {
    let given = |name: &str| lookup(name).filter(|text| !text.is_empty());
    let of_file = format!("{name}{SUFFIX}");
    match (given(name), given(&of_file)) {
        (Some(_), Some(_)) => Err(format!("{name} and {of_file}: expected one of them")),
        (plain, None) => Ok(plain),
        (None, Some(path)) => {
            files.push(PathBuf::from(&path));
            read(Path::new(&path)).map(Some).map_err(|problem| format!("{of_file}: {problem}"))
        }
    }
}

/// The variables with what their files hold: `X_FILE` becomes `X` for every `X` that is a key. Ours win over the stack's.
pub(super) fn resolved(
    variables: &[(String, String)],
    stack: &dyn Fn(&str) -> Option<String>,
    is_key: &dyn Fn(&str) -> bool,
    problems: &mut Vec<String>,
) -> (Vec<(String, String)>, Vec<PathBuf>) {
    let mut files = Vec::new();
    let mut resolved: Vec<(String, String)> = Vec::new();
    for (name, text) in variables {
        let key = name.strip_suffix(SUFFIX).filter(|key| !is_key(name) && is_key(key));
        let Some(key) = key else {
            resolved.push((name.clone(), text.clone()));
            continue;
        };
        if text.is_empty() {
            continue;
        }
        if variables.iter().any(|(other, value)| other == key && !value.is_empty()) {
            problems.push(format!("{key} and {name}: expected one of them"));
            continue;
        }
        files.push(PathBuf::from(text));
        match read(Path::new(text)) {
            // Over an empty variable, which compose files make of what is not set.
            Ok(secret) => resolved.push((key.to_string(), secret)),
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
    }
    resolved.retain({
        let given: Vec<String> =
            resolved.iter().filter(|(_, text)| !text.is_empty()).map(|(name, _)| name.clone()).collect();
        move |(name, text)| !text.is_empty() || !given.contains(name)
    });
    for (name, ours) in STACK {
        let is_given = |(name, text): &(String, String)| name == ours && !text.is_empty();
        if resolved.iter().any(is_given) {
            continue;
        }
        match value(name, stack, &mut files) {
            Ok(Some(text)) => resolved.push((ours.to_string(), text)),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    (resolved, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(ours: &[(&str, &str)], stack: &[(&str, &str)]) -> (Vec<(String, String)>, Vec<PathBuf>, Vec<String>) {
        let ours: Vec<_> = ours.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let stack: Vec<_> = stack.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let lookup = move |name: &str| stack.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
        let is_key =
            |name: &str| ["PROBITY_AUTH_STATUS_SECRET", "PROBITY_X_URL_FILE", "PROBITY_MAIL_PASSWORD"].contains(&name);
        let mut problems = Vec::new();
        let (variables, files) = resolved(&ours, &lookup, &is_key, &mut problems);
        (variables, files, problems)
    }

    fn pair(name: &str, text: &str) -> (String, String) {
        (name.to_string(), text.to_string())
    }

    #[test]
    fn files_stand_for_their_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "s3cret \r\n").unwrap();
        let path = path.to_str().unwrap();
        let (variables, files, problems) = resolve(
            &[
                ("PROBITY_AUTH_STATUS_SECRET_FILE", path),
                ("PROBITY_AUTH_STATUS_SECRET", ""),
                ("PROBITY_X_URL_FILE", "/u"),
            ],
            &[("SMTP_PASSWORD_FILE", path), ("JWT_SECRET", "of the stack")],
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            variables,
            [
                pair("PROBITY_AUTH_STATUS_SECRET", "s3cret "),
                pair("PROBITY_X_URL_FILE", "/u"),
                pair("PROBITY_MAIL_PASSWORD", "s3cret ")
            ]
        );
        assert_eq!(files, [PathBuf::from(path), PathBuf::from(path)]);
    }

    #[test]
    fn the_stacks_names_stand_for_ours() {
        let (variables, ..) = resolve(&[], &[("JWT_SECRET", "a"), ("SMTP_PORT", "25")]);
        assert_eq!(variables, [pair("PROBITY_AUTH_STATUS_SECRET", "a"), pair("PROBITY_MAIL_PORT", "25")]);
    }

    #[test]
    fn what_cannot_be_meant_is_told_without_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "\n").unwrap();
        let empty = empty.to_str().unwrap();
        for (ours, stack, said) in [
            (&[("PROBITY_AUTH_STATUS_SECRET_FILE", "/no/file")][..], &[][..], "cannot read /no/file"),
            (&[("PROBITY_AUTH_STATUS_SECRET_FILE", empty)], &[], "is empty"),
            (
                &[("PROBITY_AUTH_STATUS_SECRET_FILE", empty), ("PROBITY_AUTH_STATUS_SECRET", "s3cret")],
                &[],
                "expected one of them",
            ),
            (&[], &[("JWT_SECRET", "s3cret"), ("JWT_SECRET_FILE", empty)], "JWT_SECRET and JWT_SECRET_FILE"),
        ] {
            let (_, _, problems) = resolve(ours, stack);
            assert!(problems.len() == 1 && problems[0].contains(said), "{problems:?}");
            assert!(!problems[0].contains("s3cret"), "{problems:?}");
        }
    }

    #[test]
    fn flows_do_not_see_the_stacks_secrets() {
        for hidden in ["JWT_SECRET", "JWT_SECRET_FILE", "SMTP_PASSWORD", "PASS_STATUS", "DB_PASSWORD_FILE"] {
            assert!(is_hidden(hidden), "{hidden}");
        }
        for shown in ["SMTP_HOST", "USER_STATUS", "NODE_RED_URL", "STATUS_LEDGER_ENDPOINT"] {
            assert!(!is_hidden(shown), "{shown}");
        }
    }
}
