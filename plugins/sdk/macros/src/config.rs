//! `#[derive(Config)]`.

use proc_macro::{Span, TokenStream, TokenTree};

use crate::item::{Item, Member, Problem, Result, Setting, item};
use crate::template::{fill, text};

pub fn derive(input: TokenStream) -> Result<TokenStream> {
    let item = item(input)?;
    if item.is_enum { choice(&item) } else { configuration(&item) }
}

/// How `rename_all` of the item writes a name.
fn renamed(item: &Item, name: &str) -> Result<String> {
    let name = name.trim_start_matches("r#");
    let mut style = None;
    for setting in &item.attributes.settings {
        match setting.name.as_str() {
            "rename_all" => style = Some((setting.string()?, setting.span)),
            _ => return Err(unknown(setting, "rename_all")),
        }
    }
    let words = words(name);
    match style {
        None if item.is_enum => Ok(words.join("-")),
        None => Ok(name.to_owned()),
        Some((style, span)) => match style.as_str() {
            "kebab-case" => Ok(words.join("-")),
            "snake_case" => Ok(words.join("_")),
            "camelCase" => Ok(camel(&words)),
            _ => Err(Problem::new(span, "`rename_all` is \"camelCase\", \"kebab-case\" or \"snake_case\"")),
        },
    }
}

/// The words of `snake_case` or `PascalCase`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        let last = words.last_mut().expect("never empty");
        if c == '_' {
            words.push(String::new());
        } else if c.is_uppercase() && !last.is_empty() {
            words.push(c.to_lowercase().collect());
        } else {
            last.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn camel(words: &[String]) -> String {
    let mut out = String::new();
    for (at, word) in words.iter().enumerate() {
        let mut chars = word.chars();
        if at > 0 {
            out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        }
        out.push_str(chars.as_str());
    }
    out
}

fn unknown(setting: &Setting, known: &str) -> Problem {
    Problem::new(setting.span, format!("unknown setting `{}`; known are {known}", setting.name))
}

fn choice(item: &Item) -> Result<TokenStream> {
    let (mut names, mut arms) = (TokenStream::new(), TokenStream::new());
    for variant in &item.members {
        let mut name = renamed(item, &variant.name.to_string())?;
        for setting in &variant.attributes.settings {
            match setting.name.as_str() {
                "name" => name = setting.string()?,
                _ => return Err(unknown(setting, "name")),
            }
        }
        names.extend(fill("__NAME__,", &[("__NAME__", text(&name))]));
        let holes = [("__NAME__", text(&name)), ("__VARIANT__", TokenTree::from(variant.name.clone()).into())];
        arms.extend(fill(
            "::core::option::Option::Some(__NAME__) => ::core::option::Option::Some(Self::__VARIANT__),",
            &holes,
        ));
    }
    let template = r#"
        impl ::probity_sdk::config::ConfigValue for __TYPE__ {
            const EMPTY_IS_NONE: bool = true;

            fn schema() -> ::probity_sdk::Value {
                ::probity_sdk::json!({ "type": "string", "enum": [__NAMES__] })
            }

            fn read(
                value: &::probity_sdk::Value,
                at: &str,
                problems: &mut ::std::vec::Vec<::std::string::String>,
            ) -> ::core::option::Option<Self> {
                match value.as_str() {
                    __ARMS__
                    _ => {
                        let names: &[&str] = &[__NAMES__];
                        ::probity_sdk::config::wrong(value, at, &::std::format!("one of {}", names.join(", ")), problems)
                    }
                }
            }
        }
    "#;
    let name = TokenTree::from(item.name.clone()).into();
    Ok(fill(template, &[("__TYPE__", name), ("__NAMES__", names), ("__ARMS__", arms)]))
}

/// What the settings of a field say.
struct Field {
    rules: TokenStream,
    config_only: bool,
}

fn configuration(item: &Item) -> Result<TokenStream> {
    let [mut consts, mut read, mut over, mut names, mut describe] = [(); 5].map(|()| TokenStream::new());
    for member in &item.members {
        let field = field(item, member)?;
        let name: TokenStream = TokenTree::from(member.name.clone()).into();
        let constant = format!("__RULES_{}", member.name.to_string().trim_start_matches("r#").to_uppercase());
        let constant = TokenTree::from(proc_macro::Ident::new(&constant, Span::mixed_site())).into();
        let holes = [
            ("__RULES__", constant),
            ("__FIELD__", name),
            ("__OF__", member.of_type.clone()),
            ("__VALUE__", field.rules),
        ];
        consts.extend(fill("const __RULES__: ::probity_sdk::config::Rules = __VALUE__;", &holes));
        read.extend(fill(
            "let __FIELD__ = <__OF__ as ::probity_sdk::config::ConfigValue>::read_field(
                &fields, &__RULES__, &::probity_sdk::config::below(at, __RULES__.name), problems);",
            &holes,
        ));
        over.extend(if field.config_only {
            fill("let __FIELD__ = ::core::option::Option::Some(::core::clone::Clone::clone(&self.__FIELD__));", &holes)
        } else {
            fill(
                "let __FIELD__ = <__OF__ as ::probity_sdk::config::ConfigValue>::over_field(&self.__FIELD__, &fields,
                    &__RULES__, &::probity_sdk::config::below(\"msg.req.body\", __RULES__.name), &mut problems);",
                &holes,
            )
        });
        describe.extend(fill(
            "<__OF__ as ::probity_sdk::config::ConfigValue>::describe_field(&__RULES__, properties, required);",
            &holes,
        ));
        names.extend(fill("__FIELD__: __FIELD__?,", &holes));
    }
    let template = r#"
        const _: () = {
            __CONSTS__

            impl ::probity_sdk::config::ConfigValue for __TYPE__ {
                fn schema() -> ::probity_sdk::Value {
                    #[allow(unused_variables)]
                    ::probity_sdk::config::object_schema(|properties, required| { __DESCRIBE__ })
                }

                fn read(
                    value: &::probity_sdk::Value,
                    at: &str,
                    problems: &mut ::std::vec::Vec<::std::string::String>,
                ) -> ::core::option::Option<Self> {
                    #[allow(unused_variables)]
                    let fields = ::probity_sdk::config::Fields::of(value, at, problems)?;
                    __READ__
                    ::core::option::Option::Some(Self { __NAMES__ })
                }
            }

            impl ::probity_sdk::Config for __TYPE__ {
                const DOC: &'static str = __DOC__;

                fn over(&self, msg: &::probity_sdk::Message) -> ::probity_sdk::Result<Self> {
                    #[allow(unused_variables)]
                    let ::core::option::Option::Some(fields) = ::probity_sdk::config::Fields::of_body(msg) else {
                        return ::core::result::Result::Ok(::core::clone::Clone::clone(self));
                    };
                    #[allow(unused_mut)]
                    let mut problems = ::std::vec::Vec::new();
                    __OVER__
                    let found = (|| ::core::option::Option::Some(Self { __NAMES__ }))();
                    ::probity_sdk::config::finish(found, problems, "bad-parameter")
                }
            }
        };
    "#;
    let holes = [
        ("__CONSTS__", consts),
        ("__TYPE__", TokenTree::from(item.name.clone()).into()),
        ("__DESCRIBE__", describe),
        ("__READ__", read),
        ("__OVER__", over),
        ("__NAMES__", names),
        ("__DOC__", text(&item.attributes.doc)),
    ];
    renamed(item, "")?;
    Ok(fill(template, &holes))
}

const KNOWN: &str = "default, name, label, min, max, one_of, min_length, max_length, pattern, placeholder, secret, \
                     lenient, config_only, multiline, code, rows, kinds, type_name";

fn field(item: &Item, member: &Member) -> Result<Field> {
    let mut name = renamed(item, &member.name.to_string())?;
    let mut type_name = None;
    let mut config_only = false;
    let (mut parts, mut hints) = (TokenStream::new(), TokenStream::new());
    for setting in &member.attributes.settings {
        let part = |template: &str, value: TokenStream| fill(template, &[("__VALUE__", value)]);
        match setting.name.as_str() {
            "name" => name = setting.string()?,
            "type_name" => type_name = Some(setting.string()?),
            "config_only" => config_only = true,
            "default" => {
                let template = "default: ::core::option::Option::Some(|| ::probity_sdk::json!(__VALUE__)),";
                parts.extend(part(template, setting.tokens()?));
            }
            "one_of" => {
                let template = "one_of: ::core::option::Option::Some(|| ::probity_sdk::json!(__VALUE__)),";
                parts.extend(part(template, setting.tokens()?));
            }
            "min" => parts.extend(part("min: ::core::option::Option::Some((__VALUE__) as f64),", setting.tokens()?)),
            "max" => parts.extend(part("max: ::core::option::Option::Some((__VALUE__) as f64),", setting.tokens()?)),
            "kinds" => {
                setting.strings()?;
                parts.extend(part("kinds: &__VALUE__,", setting.tokens()?));
            }
            "label" => hints.extend(part(r#""title": __VALUE__,"#, setting.tokens()?)),
            "min_length" => hints.extend(part(r#""minLength": __VALUE__,"#, setting.tokens()?)),
            "max_length" => hints.extend(part(r#""maxLength": __VALUE__,"#, setting.tokens()?)),
            "pattern" => hints.extend(part(r#""pattern": __VALUE__,"#, setting.tokens()?)),
            "placeholder" => hints.extend(part(r#""x-placeholder": __VALUE__,"#, setting.tokens()?)),
            "secret" => {
                hints.extend(part(r#""x-secret": true, "x-placeholder": "secret:NAME","#, TokenStream::new()));
            }
            "lenient" => hints.extend(part(r#""type": ["number", "string"],"#, TokenStream::new())),
            "multiline" => hints.extend(part(r#""x-widget": "multiline","#, TokenStream::new())),
            "rows" => hints.extend(part(r#""x-widget": "rows","#, TokenStream::new())),
            "code" => hints.extend(part(r#""x-widget": "code", "x-language": __VALUE__,"#, setting.tokens()?)),
            _ => return Err(unknown(setting, KNOWN)),
        }
    }
    if config_only {
        hints.extend(fill(r#""x-config-only": true,"#, &[]));
    }
    let type_name = type_name.unwrap_or_else(|| format!("{name}Type"));
    let holes = [
        ("__NAME__", text(&name)),
        ("__DOC__", text(&member.attributes.doc)),
        ("__TYPE_NAME__", text(&type_name)),
        ("__PARTS__", parts),
        ("__HINTS__", hints),
    ];
    let template = "::probity_sdk::config::Rules {
        type_name: __TYPE_NAME__,
        __PARTS__
        hints: || ::probity_sdk::json!({ __HINTS__ }),
        ..::probity_sdk::config::Rules::new(__NAME__, __DOC__)
    }";
    Ok(Field { rules: fill(template, &holes), config_only })
}
