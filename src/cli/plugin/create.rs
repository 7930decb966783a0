//! `probity plugin new`: a plugin from a template.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{failed, not_so, print, usage};

/// Paths and contents.
type Files = &'static [(&'static str, &'static [u8])];

// `TEMPLATES: &[(folder below plugins/, Files)]`, `SDK`, `C_SDK` and `PYTHON_SDK: Files`.
include!(concat!(env!("OUT_DIR"), "/plugin_templates.rs"));

#[derive(Args)]
pub(super) struct NewArgs {
    /// The new plugin's folder; its last part is the plugin's name
    path: PathBuf,
    /// The language it is written in
    #[arg(long, value_enum, default_value_t)]
    lang: Lang,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Lang {
    #[default]
    /// A crate with the Rust SDK
    Rust,
    /// One .js file; nothing to build
    Js,
    /// C17 with clang and a C library for WASI
    C,
    /// Python with componentize-py, which brings the interpreter: 18 MB
    Python,
}

impl Lang {
    /// The folder below `plugins/` whose template it is.
    fn folder(self) -> &'static str {
        match self {
            Lang::Rust => "sdk",
            Lang::Js => "javascript",
            Lang::C => "c",
            Lang::Python => "python",
        }
    }

    /// What goes into the plugin's folder `sdk`.
    fn sdk(self) -> Files {
        match self {
            Lang::Rust => SDK,
            Lang::C => C_SDK,
            Lang::Python => PYTHON_SDK,
            Lang::Js => &[],
        }
    }
}

pub(super) fn create(args: &NewArgs) -> Result<ExitCode, ExitCode> {
    let path = &args.path;
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if !crate::plugin::manifest::is_name(name) {
        let expected = "lower-case letters, digits and single \"-\" between them, a letter first";
        return Err(usage(&format!("\"{name}\" is no name for a plugin; expected {expected}")));
    }
    if std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(not_so(format!("{} is there already and not empty", path.display())));
    }
    let template = TEMPLATES.iter().find(|(folder, _)| *folder == args.lang.folder());
    let (_, template) = template.expect("the build script embeds the template of every language");
    for (file, bytes) in *template {
        write(&path.join(filled(file.strip_suffix(".template").unwrap_or(file), name)), bytes, Some(name))?;
    }
    for (file, bytes) in args.lang.sdk() {
        write(&path.join("sdk").join(file), bytes, None)?;
    }
    let shown = path.display();
    print(&format!("wrote {shown}; next:\n\n  cd {shown}\n  probity plugin dev\n"));
    Ok(ExitCode::SUCCESS)
}

/// Writes one file; in those of a template the name is put in.
fn write(path: &Path, bytes: &[u8], name: Option<&str>) -> Result<(), ExitCode> {
    let folder = path.parent().expect("a file in the new folder");
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let text = name.zip(std::str::from_utf8(bytes).ok()).map(|(name, text)| filled(text, name));
    std::fs::write(path, text.as_ref().map_or(bytes, String::as_bytes)).map_err(failed(path))?;
    #[cfg(unix)]
    if bytes.starts_with(b"#!") {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(failed(path))?;
    }
    Ok(())
}

/// A template's text for a plugin of this name: `{{name}}` is `check-links`, `{{snake}}` `check_links`, `{{Camel}}`
/// `CheckLinks`, `{{Title}}` `Check links`.
fn filled(text: &str, name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    let camel: String = name.split('-').map(capital).collect();
    text.replace("{{name}}", name)
        .replace("{{snake}}", &name.replace('-', "_"))
        .replace("{{Camel}}", &camel)
        .replace("{{Title}}", &capital(&name.replace('-', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_in() {
        assert_eq!(
            filled("{{name}} {{snake}} {{Camel}} {{Title}}", "check-links"),
            "check-links check_links CheckLinks Check links"
        );
    }
}
