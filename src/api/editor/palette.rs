//! The palette: which node sets there are, and their HTML, which defines each node's look, form and help in the editor.
//! Node-RED's own for its core nodes as far as we run them; made from their schemas for ours and for plugins'.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;

use super::{files, forms};
use crate::plugin::description::Description;
use crate::runtime::{Catalogue, catalogue::Known};

/// Node types that one file of the editor defines together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct NodeSet {
    /// `node-red/inject`, `probity/schedule`, `<plugin>/<node type>`.
    pub(in crate::api) id: String,
    /// `node-red`, `probity`, or a plugin's name.
    pub(in crate::api) module: String,
    pub(in crate::api) name: String,
    pub(in crate::api) types: Vec<String>,
    pub(in crate::api) version: String,
}

/// A file of Node-RED's core nodes.
struct Core {
    /// `inject`, `CSV`: the file's name without its number.
    name: &'static str,
    /// Below `nodes/core/`, without the end: `common/20-inject`.
    file: &'static str,
    types: Vec<String>,
    html: String,
}

/// Node-RED's core sets in the order in which it loads them. Read once, when an editor first asks.
fn core() -> &'static [Core] {
    static CORE: OnceLock<Vec<Core>> = OnceLock::new();
    CORE.get_or_init(|| {
        let files =
            files::below("nodes/core/").filter(|file| file.path.ends_with(".html") && !file.path.contains("/lib/"));
        files.filter_map(read_core).collect()
    })
}

fn read_core(file: &'static files::File) -> Option<Core> {
    static TYPES: OnceLock<Regex> = OnceLock::new();
    let types = TYPES.get_or_init(|| {
        Regex::new(r#"(?i)<script [^>]*data-template-name\s*=\s*['"]([^'"]*)['"]"#).expect("it is well formed")
    });
    let stem = file.name().strip_suffix(".html")?;
    let html = file.text();
    let types = types.captures_iter(&html).map(|found| found[1].to_string()).collect();
    let path = file.path.strip_prefix("nodes/core/")?.strip_suffix(".html")?;
    let name = stem.trim_start_matches(|c: char| c.is_ascii_digit());
    Some(Core { name: name.strip_prefix('-').unwrap_or(stem), file: path, types, html })
}

/// A core set has a place in the palette when we run one of its nodes; one that defines no type always has.
fn is_run(core: &Core, catalogue: &Catalogue) -> bool {
    core.types.is_empty() || core.types.iter().any(|t| is_builtin(catalogue, t))
}

fn is_builtin(catalogue: &Catalogue, node_type: &str) -> bool {
    // The editor needs its definition to show nodes that nobody knows.
    node_type == "unknown" || catalogue.get(node_type).is_some_and(|known| known.plugin.is_none())
}

/// Types that need a form of ours: those no core file defines. `subflow:` and its like are not in a palette.
fn own(catalogue: &Catalogue) -> impl Iterator<Item = &Known> {
    let defined = |known: &&Known| {
        let core = core().iter().any(|core| core.types.iter().any(|t| t == known.spec.node_type));
        // Without the packages nothing says which are Node-RED's, so all are listed as ours.
        !core && !known.spec.node_type.contains(':')
    };
    catalogue.iter().filter(defined)
}

fn set_of(known: &Known) -> NodeSet {
    let module = known.plugin.as_deref().unwrap_or("probity").to_string();
    let name = known.spec.node_type.to_string();
    NodeSet {
        id: format!("{module}/{name}"),
        module,
        types: vec![name.clone()],
        name,
        version: env!("CARGO_PKG_VERSION").to_string(),
    }
}

/// All node sets, in palette order.
pub(in crate::api) fn node_sets(catalogue: &Catalogue) -> Vec<NodeSet> {
    let core = core().iter().filter(|core| is_run(core, catalogue)).map(|core| NodeSet {
        id: format!("node-red/{}", core.name),
        module: "node-red".to_string(),
        name: core.name.to_string(),
        types: core.types.clone(),
        version: files::VERSION.to_string(),
    });
    core.chain(own(catalogue).map(set_of)).collect()
}

/// What plugins say of their node types, by type.
pub(in crate::api) type Descriptions = BTreeMap<String, Description>;

/// The HTML of all sets but the disabled ones.
pub(in crate::api) fn html(
    catalogue: &Catalogue,
    descriptions: &Descriptions,
    language: &str,
    disabled: &dyn Fn(&str) -> bool,
) -> String {
    let sets = node_sets(catalogue);
    let enabled = sets.iter().filter(|set| !disabled(&set.id));
    enabled.filter_map(|set| set_html(catalogue, descriptions, &set.id, language)).fold(
        String::new(),
        |mut all, part| {
            all.push('\n');
            all.push_str(&part);
            all
        },
    )
}

/// The HTML of one set, after the comment by which the editor tells them apart.
pub(in crate::api) fn set_html(
    catalogue: &Catalogue,
    descriptions: &Descriptions,
    id: &str,
    language: &str,
) -> Option<String> {
    let mut html = format!("<!-- --- [red-module:{id}] --- -->\n");
    if let Some(core) = id.strip_prefix("node-red/").and_then(|name| core().iter().find(|core| core.name == name)) {
        html.push_str(&core.html);
        html.push_str(&help(core, language).unwrap_or_default());
        return Some(html);
    }
    let known = own(catalogue).find(|known| set_of(known).id == id)?;
    let form = match (&known.plugin, descriptions.get(known.spec.node_type)) {
        (Some(_), Some(description)) => forms::Form::of_plugin(description),
        _ => forms::Form::of_spec(known.spec),
    };
    html.push_str(&form.html());
    Some(html)
}

/// Help of a core set: in the language, else in its base, else in English.
fn help(core: &Core, language: &str) -> Option<String> {
    let safe = language.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let base = language.split('-').next().unwrap_or_default();
    let languages = [language, base, "en-US"].into_iter().filter(|_| safe).chain(["en-US"]);
    let mut found = languages.filter_map(|l| files::find(&format!("nodes/locales/{l}/{}.html", core.file)));
    found.next().map(|file| file.text())
}

/// The language of help from an `Accept-Language` header: its first, or English.
pub(in crate::api) fn help_language(accepted: Option<&str>) -> String {
    let first = accepted.unwrap_or_default().split([',', ';']).next().unwrap_or_default().trim();
    if first.is_empty() || first == "*" { "en-US".to_string() } else { first.to_string() }
}

/// The icons that the palette's appearance may choose from, by module.
pub(in crate::api) fn icons() -> BTreeMap<&'static str, Vec<&'static str>> {
    let icons = files::below("nodes/icons/").map(files::File::name).filter(|name| !name.contains('@'));
    BTreeMap::from([("node-red", icons.collect())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_nodes_have_their_own_form_and_ours_a_generated_one() {
        let catalogue = crate::nodes::catalogue();
        let sets = node_sets(&catalogue);
        let has = |id: &str| sets.iter().any(|set| set.id == id);
        assert!(has("probity/schedule") && has("probity/evaluate"), "{sets:?}");
        assert!(!has("node-red/watch"), "what cannot run is not offered");
        let all = html(&catalogue, &Descriptions::new(), "en-US", &|id| id == "probity/evaluate");
        assert!(all.contains("[red-module:probity/schedule]") && !all.contains("[red-module:probity/evaluate]"));
        if super::super::is_there() {
            assert!(has("node-red/inject") && has("node-red/httpin"), "{sets:?}");
            assert_eq!(sets.iter().find(|s| s.id == "node-red/httpin").map(|s| s.types.len()), Some(2), "{sets:?}");
            assert!(all.contains("data-template-name=\"inject\"") && all.contains("data-help-name=\"inject\""));
            let german = set_html(&catalogue, &Descriptions::new(), "node-red/inject", "de-AT").expect("a set");
            assert_ne!(Some(german), set_html(&catalogue, &Descriptions::new(), "node-red/inject", "en"));
            assert_eq!(icons()["node-red"].first(), Some(&"alert.svg"));
        }
    }

    #[test]
    fn the_first_language_counts() {
        assert_eq!(help_language(Some("es-ES,es;q=0.9")), "es-ES");
        assert_eq!(help_language(None), "en-US");
    }
}
