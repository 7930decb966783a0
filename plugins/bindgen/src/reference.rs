//! `docs/plugins/reference.md`: the contract for people, from the doc comments of the WIT.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use wit_parser::{Docs, Function, Interface, Resolve, Stability, Type, TypeDef, TypeDefKind, WorldItem};

const HEAD: &str = "<!-- Generated from plugins/wit/plugin.wit by plugins/bindgen. Do not edit. -->\n";

const INTRODUCTION: &str = "\
Everything between a plugin and the engine, interface by interface, as [`plugins/wit/plugin.wit`](../../plugins/wit/plugin.wit)
declares it. Authors rarely need it: the SDK of their language wraps it. Types are written as in WIT: `option<T>` is a
value or nothing, `result<T, E>` a value or an error, `list<T>` any number, `tuple<…>` values side by side.
";

/// The page for the contract at `wit`.
pub fn generate(wit: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_file(wit)?;
    let world = &resolve.worlds[resolve.select_world(&[package], Some("plugin"))?];
    let package = &resolve.packages[package];
    let mut page = String::from(HEAD);
    writeln!(page, "# Contract {}\n", package.name)?;
    paragraph(&mut page, &package.docs)?;
    writeln!(page, "{INTRODUCTION}")?;

    let interfaces = |items: Vec<&WorldItem>| -> Vec<&Interface> {
        let ids = items.into_iter().filter_map(|item| match item {
            WorldItem::Interface { id, .. } => Some(&resolve.interfaces[*id]),
            _ => None,
        });
        ids.collect()
    };
    writeln!(page, "## What the engine offers\n")?;
    for interface in interfaces(world.imports.values().collect()) {
        describe(&mut page, &resolve, interface)?;
    }
    writeln!(page, "## What a plugin exports\n")?;
    for interface in interfaces(world.exports.values().collect()) {
        describe(&mut page, &resolve, interface)?;
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    Ok(page)
}

fn describe(page: &mut String, resolve: &Resolve, interface: &Interface) -> Result<()> {
    let name = interface.name.as_deref().context("interfaces of the contract have names")?;
    writeln!(page, "### `{name}`{}\n", since(&interface.stability))?;
    paragraph(page, &interface.docs)?;
    for (name, id) in &interface.types {
        let of = &resolve.types[*id];
        // What is only taken over from another interface is described there.
        if !matches!(of.kind, TypeDefKind::Type(Type::Id(_))) {
            describe_type(page, resolve, name, of)?;
        }
    }
    for (name, function) in &interface.functions {
        writeln!(page, "#### `{name}`{}\n", since(&function.stability))?;
        writeln!(page, "```wit\n{}\n```\n", signature(resolve, name, function))?;
        paragraph(page, &function.docs)?;
    }
    Ok(())
}

fn describe_type(page: &mut String, resolve: &Resolve, name: &str, of: &TypeDef) -> Result<()> {
    let mut rows: Vec<(String, String, &Docs)> = Vec::new();
    let kind = match &of.kind {
        TypeDefKind::Record(record) => {
            for field in &record.fields {
                rows.push((field.name.clone(), type_name(resolve, &field.ty), &field.docs));
            }
            "record"
        }
        TypeDefKind::Variant(variant) => {
            for case in &variant.cases {
                let of = case.ty.as_ref().map(|ty| type_name(resolve, ty)).unwrap_or_default();
                rows.push((case.name.clone(), of, &case.docs));
            }
            "variant"
        }
        TypeDefKind::Enum(words) => {
            for case in &words.cases {
                rows.push((case.name.clone(), String::new(), &case.docs));
            }
            "enum"
        }
        other => {
            writeln!(page, "#### type `{name}` = `{}`\n", kind_name(resolve, other))?;
            return paragraph(page, &of.docs);
        }
    };
    writeln!(page, "#### {kind} `{name}`\n")?;
    paragraph(page, &of.docs)?;
    for (name, of, docs) in rows {
        let of = if of.is_empty() { String::new() } else { format!(": `{of}`") };
        let text = docs.contents.as_deref().map(|text| text.trim().replace('\n', " "));
        writeln!(page, "- `{name}`{of}{}", text.map(|text| format!(". {text}")).unwrap_or_default())?;
    }
    writeln!(page)?;
    Ok(())
}

fn paragraph(page: &mut String, docs: &Docs) -> Result<()> {
    if let Some(text) = &docs.contents {
        writeln!(page, "{}\n", text.trim())?;
    }
    Ok(())
}

fn since(stability: &Stability) -> String {
    match stability {
        Stability::Stable { since, .. } if since.minor > 0 => format!(" (since {}.{})", since.major, since.minor),
        _ => String::new(),
    }
}

fn signature(resolve: &Resolve, name: &str, function: &Function) -> String {
    let params = function.params.iter().map(|param| format!("{}: {}", param.name, type_name(resolve, &param.ty)));
    let result = function.result.as_ref().map(|ty| format!(" -> {}", type_name(resolve, ty)));
    format!("{name}: func({}){}", params.collect::<Vec<_>>().join(", "), result.unwrap_or_default())
}

fn type_name(resolve: &Resolve, ty: &Type) -> String {
    match ty {
        Type::Id(id) => match &resolve.types[*id] {
            TypeDef { name: Some(name), .. } => name.clone(),
            unnamed => kind_name(resolve, &unnamed.kind),
        },
        Type::Bool => "bool".into(),
        Type::String => "string".into(),
        Type::Char => "char".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn kind_name(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let name = |ty: &Type| type_name(resolve, ty);
    match kind {
        TypeDefKind::Type(ty) => name(ty),
        TypeDefKind::List(ty) => format!("list<{}>", name(ty)),
        TypeDefKind::Option(ty) => format!("option<{}>", name(ty)),
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", tuple.types.iter().map(name).collect::<Vec<_>>().join(", ")),
        TypeDefKind::Result(result) => {
            let or_nothing = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), name);
            format!("result<{}, {}>", or_nothing(&result.ok), or_nothing(&result.err))
        }
        other => other.as_str().to_owned(),
    }
}
