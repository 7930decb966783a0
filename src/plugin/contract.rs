//! The contract as its text (`plugins/wit/plugin.wit`) says it: which interfaces there are and what their functions
//! take and give.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use wit_parser::{Resolve, Type, TypeDefKind};

/// The contract's text.
pub const WIT: &str = include_str!("../../plugins/wit/plugin.wit");

pub use super::component::PACKAGE;

/// What a plugin exports.
pub const HANDLER: &str = "handler";

/// One interface: function name → its form.
pub(super) type Interface = BTreeMap<String, Function>;

/// What a function takes and gives, types spelt out as `record {name: string, …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub params: Vec<(String, String)>,
    pub result: Option<String>,
}

/// Every interface of the contract by name.
pub(super) static INTERFACES: LazyLock<BTreeMap<String, Interface>> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", WIT).expect("the contract is WIT; a test holds that");
    let interfaces = &resolve.packages[package].interfaces;
    interfaces
        .iter()
        .map(|(name, id)| {
            let functions = resolve.interfaces[*id].functions.values();
            let functions = functions.map(|f| {
                let params = f.params.iter().map(|p| (p.name.clone(), shape(&resolve, &p.ty))).collect();
                let result = f.result.as_ref().map(|r| shape(&resolve, r));
                (f.name.clone(), Function { params, result })
            });
            (name.clone(), functions.collect())
        })
        .collect()
});

/// The line of the contract's text that declares a function.
pub(super) fn declaration(interface: &str, function: &str) -> Option<&'static str> {
    let (_, rest) = WIT.split_once(&format!("interface {interface} {{"))?;
    let end = rest.find("\ninterface ").unwrap_or(rest.len());
    let at = rest[..end].find(&format!("{function}: func("))?;
    let line = rest[at..end].lines().next()?;
    line.split(';').next()
}

/// A type with all names of types resolved, so that two of them can be compared.
fn shape(resolve: &Resolve, ty: &Type) -> String {
    let optional = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".into(), |t| shape(resolve, t));
    let id = match ty {
        Type::Bool => return "bool".into(),
        Type::U8 => return "u8".into(),
        Type::U16 => return "u16".into(),
        Type::U32 => return "u32".into(),
        Type::U64 => return "u64".into(),
        Type::S8 => return "s8".into(),
        Type::S16 => return "s16".into(),
        Type::S32 => return "s32".into(),
        Type::S64 => return "s64".into(),
        Type::F32 => return "f32".into(),
        Type::F64 => return "f64".into(),
        Type::Char => return "char".into(),
        Type::String => return "string".into(),
        Type::ErrorContext => return "error-context".into(),
        Type::Id(id) => *id,
    };
    match &resolve.types[id].kind {
        TypeDefKind::Type(alias) => shape(resolve, alias),
        TypeDefKind::List(element) => format!("list<{}>", shape(resolve, element)),
        TypeDefKind::Option(inner) => format!("option<{}>", shape(resolve, inner)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", optional(&result.ok), optional(&result.err)),
        TypeDefKind::Tuple(tuple) => {
            let types: Vec<String> = tuple.types.iter().map(|t| shape(resolve, t)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        TypeDefKind::Record(record) => {
            let fields: Vec<String> =
                record.fields.iter().map(|f| format!("{}: {}", f.name, shape(resolve, &f.ty))).collect();
            format!("record {{{}}}", fields.join(", "))
        }
        TypeDefKind::Variant(variant) => {
            let cases: Vec<String> = variant.cases.iter().map(|c| format!("{}({})", c.name, optional(&c.ty))).collect();
            format!("variant {{{}}}", cases.join(", "))
        }
        TypeDefKind::Enum(of) => {
            let cases: Vec<&str> = of.cases.iter().map(|c| c.name.as_str()).collect();
            format!("enum {{{}}}", cases.join(", "))
        }
        other => other.as_str().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::capability::Capability;
    use crate::plugin::manifest::CONTRACT;

    #[test]
    fn the_version_is_the_one_of_the_text() {
        let (major, minor) = CONTRACT;
        assert!(WIT.contains(&format!("package {PACKAGE}@{major}.{minor}.")));
    }

    #[test]
    fn every_capability_is_an_interface_and_every_other_interface_is_known() {
        for capability in Capability::ALL {
            assert!(INTERFACES.contains_key(capability.interface()), "{capability}");
        }
        let others: Vec<&str> =
            INTERFACES.keys().map(String::as_str).filter(|i| Capability::of_interface(i).is_none()).collect();
        assert_eq!(others, ["handler", "node", "script", "types"]);
    }

    #[test]
    fn every_function_has_its_declaration() {
        for (interface, functions) in INTERFACES.iter() {
            for function in functions.keys() {
                assert!(declaration(interface, function).is_some(), "{interface}.{function}");
            }
        }
        assert_eq!(declaration("clock", "now"), Some("now: func() -> u64"));
        assert_eq!(
            INTERFACES["state"]["get"].params,
            [("scope".into(), "enum {run, node}".into()), ("key".into(), "string".into())]
        );
    }
}
