//! The node types an engine knows, and the configuration a node is built from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arcstr::ArcStr;

use super::{Node, Services};
use crate::model::flow::{Plan, PlanNode};
use crate::model::node_spec::NodeSpec;
use crate::model::path::Path;
use crate::model::{Diagnostic, Value};

/// A node, or everything that is wrong with its configuration.
pub type Built = Result<Arc<dyn Node>, Vec<Diagnostic>>;

/// A node type: what it is and how one is made from its configuration.
#[derive(Clone, Copy)]
pub struct NodeType {
    pub spec: &'static NodeSpec,
    /// Reads the whole configuration and reports every problem of it.
    pub build: fn(&NodeConfig<'_>) -> Built,
}

/// Makes a node from its configuration.
pub type Build = Arc<dyn Fn(&NodeConfig<'_>) -> Built + Send + Sync>;

/// Is shown all nodes of its type that a plan is about to have built: what takes long can be done for all of them at once.
/// What it finds wrong is left to [`Build`] to tell.
pub type Prepare = Arc<dyn Fn(&[NodeConfig<'_>]) + Send + Sync>;

/// A node type of a catalogue: builtin, or from a plugin.
#[derive(Clone)]
pub struct Known {
    pub spec: &'static NodeSpec,
    pub build: Build,
    pub prepare: Option<Prepare>,
    /// The plugin it comes from; `None` for builtin ones.
    pub plugin: Option<ArcStr>,
}

impl Known {
    /// A builtin type with nothing to prepare.
    pub fn new(spec: &'static NodeSpec, build: impl Fn(&NodeConfig<'_>) -> Built + Send + Sync + 'static) -> Known {
        Known { spec, build: Arc::new(build), prepare: None, plugin: None }
    }
}

impl From<NodeType> for Known {
    fn from(builtin: NodeType) -> Self {
        Known::new(builtin.spec, builtin.build)
    }
}

/// All node types by name.
#[derive(Clone, Default)]
pub struct Catalogue {
    types: BTreeMap<&'static str, Known>,
}

impl Catalogue {
    pub fn new(types: &[NodeType]) -> Self {
        Catalogue { types: types.iter().map(|t| (t.spec.node_type, Known::from(*t))).collect() }
    }

    /// Adds a type; gives it back when one of this name is there already.
    pub fn add(&mut self, known: Known) -> Result<(), Known> {
        if self.types.contains_key(known.spec.node_type) {
            return Err(known);
        }
        self.types.insert(known.spec.node_type, known);
        Ok(())
    }

    /// A type by its name. A spec whose name ends in `:` is that of every type with this prefix (`subflow:<id>`).
    pub fn get(&self, node_type: &str) -> Option<&Known> {
        self.types.get(node_type).or_else(|| self.types.get(&node_type[..=node_type.find(':')?]))
    }

    pub fn spec(&self, node_type: &str) -> Option<&'static NodeSpec> {
        self.get(node_type).map(|t| t.spec)
    }

    /// In alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.types.values()
    }
}

/// The configuration of one node at deploy: its properties with the environment put in, the plan around it, and
/// the services it may keep.
pub struct NodeConfig<'a> {
    pub node: &'a PlanNode,
    pub plan: &'a Plan,
    pub services: &'a Arc<Services>,
    /// The config nodes built before this one.
    pub configs: &'a Configs,
}

/// Built config nodes by their ids.
pub type Configs = HashMap<ArcStr, Arc<dyn Node>>;

impl NodeConfig<'_> {
    /// A property as it stands; `Undefined` when absent.
    pub fn get(&self, name: &str) -> &Value {
        self.node.config.get(name).unwrap_or(&Value::Undefined)
    }

    /// Text of a property; numbers and booleans as JavaScript prints them, absent and null as "".
    pub fn text(&self, name: &str) -> ArcStr {
        match self.get(name) {
            Value::Undefined | Value::Null => ArcStr::new(),
            other => other.to_js_string(),
        }
    }

    /// Number or numeric text; `None` when absent, empty or not a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Value::Number(n) => Some(*n),
            Value::String(s) if !s.trim().is_empty() => Some(self.get(name).to_number()).filter(|n| !n.is_nan()),
            _ => None,
        }
    }

    /// `true`, or the text `true`.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Value::Bool(true)) || self.get(name).as_str() == Some("true")
    }

    /// A credential as the editor stores it: below `credentials`, or (in hand-written files) beside the others; "" when
    /// absent.
    pub fn credential(&self, name: &str) -> ArcStr {
        match self.get("credentials").get(name) {
            Value::Undefined | Value::Null => self.text(name),
            value => value.to_js_string(),
        }
    }

    /// What the config node whose id stands in a property shares; `None` when the property names none, or one that
    /// could not be built (its own problems are told).
    pub fn shared<T: Send + Sync + 'static>(&self, property: &str) -> Option<Arc<T>> {
        let config = self.configs.get(&self.text(property))?;
        config.shared()?.downcast().ok()
    }

    /// A property path below `msg`; `default` when the property is absent or empty.
    pub fn path(&self, name: &str, default: &str) -> Result<Path, Diagnostic> {
        let text = self.text(name);
        let text = if text.is_empty() { default } else { text.as_str() };
        Path::parse(text).map_err(|e| {
            self.problem("invalid-path", name, e.to_string()).expected("a property path such as payload.items[0]")
        })
    }

    /// The JSON path of this node in its file, for example `$[12]`.
    pub fn at(&self) -> String {
        format!("$[{}]", self.node.entry)
    }

    /// A problem of one property, for example `rules[0].v`.
    pub fn problem(&self, code: &str, property: &str, message: impl Into<String>) -> Diagnostic {
        let message = format!("{} node \"{}\": {}", self.node.node_type, self.label(), message.into());
        Diagnostic::error(code, format!("{}.{property}", self.at()), message)
    }

    /// The node's name, else its id.
    pub fn label(&self) -> &ArcStr {
        if self.node.name.is_empty() { &self.node.id } else { &self.node.name }
    }
}
