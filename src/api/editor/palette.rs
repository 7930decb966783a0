//! The HTML of the palette's node sets, which defines each node's look, form and help in the editor: Node-RED's own for
//! its core nodes; made from their schemas for ours and for plugins'.

use std::sync::{Arc, OnceLock};

use serde_json::{Value as Json, json};

use super::{files, forms};
use crate::api::admin::{Forms, Set};
use crate::plugin::Plugins;
use crate::runtime::{Catalogue, Engine};

/// A file of Node-RED's core nodes.
struct Core {
    /// `inject`, `CSV`: the file's name without its number.
    name: &'static str,
    /// Below `nodes/core/`, without the end: `common/20-inject`.
    file: &'static str,
    html: String,
}

/// Node-RED's core sets. Read once, when an editor first asks.
fn core() -> &'static [Core] {
    static CORE: OnceLock<Vec<Core>> = OnceLock::new();
    CORE.get_or_init(|| {
        let pages = files::below("nodes/core/").filter(|f| f.path.ends_with(".html") && !f.path.contains("/lib/"));
        pages.filter_map(read_core).collect()
    })
}

fn read_core(file: &'static files::File) -> Option<Core> {
    let stem = file.name().strip_suffix(".html")?;
    let path = file.path.strip_prefix("nodes/core/")?.strip_suffix(".html")?;
    let name = stem.trim_start_matches(|c: char| c.is_ascii_digit());
    Some(Core { name: name.strip_prefix('-').unwrap_or(stem), file: path, html: file.text() })
}

/// The forms of a running server.
pub struct EditorForms {
    pub engine: Arc<Engine>,
    pub plugins: Arc<Plugins>,
}

impl Forms for EditorForms {
    fn html(&self, sets: &[Set], language: &str) -> String {
        let catalogue = self.engine.catalogue();
        let of = |set: &Set| set_html(&catalogue, &self.plugins, set, language);
        match sets {
            [one] => of(one),
            sets => sets.iter().map(of).fold(String::new(), |all, part| all + "\n" + &part),
        }
    }

    fn icons(&self) -> Json {
        json!({ "node-red": files::below("nodes/icons/").map(files::File::name).collect::<Vec<_>>() })
    }
}

/// The HTML of one set, after the comment by which the editor tells them apart.
fn set_html(catalogue: &Catalogue, plugins: &Plugins, set: &Set, language: &str) -> String {
    let mut html = format!("<!-- --- [red-module:{}] --- -->\n", set.id);
    let core = set.id.strip_prefix("node-red/").and_then(|name| core().iter().find(|core| core.name == name));
    if let Some(core) = core {
        html.push_str(&core.html);
        html.push_str(&help(core, language).unwrap_or_default());
        return html;
    }
    for known in set.types.iter().filter_map(|node_type| catalogue.get(node_type)) {
        let described = known.plugin.as_ref().and_then(|plugin| {
            plugins.descriptions(plugin).into_iter().find(|of| of.node_type == known.spec.node_type)
        });
        let form = match described {
            Some(description) => forms::Form::of_plugin(&description),
            None => forms::Form::of_spec(known.spec),
        };
        html.push_str(&form.html());
    }
    html
}

/// Help of a core set: in the language, else in its base, else in English.
fn help(core: &Core, language: &str) -> Option<String> {
    let base = language.split('-').next().unwrap_or_default();
    let in_language = |l: &str| files::find(&format!("nodes/locales/{l}/{}.html", core.file));
    let file = [language, base, "en-US"].into_iter().find_map(in_language)?;
    Some(file.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_nodes_have_their_own_form_and_help_in_the_language() {
        if !super::super::is_there() {
            eprintln!("skipped: this build has no editor");
            return;
        }
        let of = |name: &str| core().iter().find(|core| core.name == name).unwrap_or_else(|| panic!("no {name}"));
        assert!(of("httpin").html.contains("data-template-name=\"http response\""));
        assert_eq!((of("CSV").file, of("rbe").file), ("parsers/70-CSV", "function/rbe"));
        let inject = of("inject");
        assert!(inject.html.contains("data-template-name=\"inject\""));
        let (english, german) = (help(inject, "en-GB"), help(inject, "de-AT"));
        assert!(english.is_some() && german.is_some() && english != german);
        assert_eq!(help(inject, "../de"), english, "a name of a language, not a path");
    }
}
