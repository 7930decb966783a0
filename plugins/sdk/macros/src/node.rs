//! `#[node(…)]`.

use proc_macro::{Delimiter, Span, TokenStream, TokenTree};

use crate::item::{Problem, Result, Setting, settings};
use crate::template::fill;

/// The contract's capabilities.
const CAPABILITIES: [&str; 9] =
    ["clock", "random", "secret", "http", "state", "evidence", "typed-input", "context", "files"];

pub fn expand(attributes: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let settings = settings(attributes)?;
    let (of_type, at_run_end) = implementation(&item)?;
    let find = |name: &str| settings.iter().find(|setting| setting.name == name);
    let needed = |name: &str, example: &str| {
        find(name)
            .ok_or_else(|| Problem::new(Span::call_site(), format!("write `{name} = \"{example}\"` in #[node(…)]")))
    };
    for setting in &settings {
        check(setting)?;
    }
    let or = |name: &str, template: &str| match find(name) {
        Some(setting) => setting.tokens(),
        None => Ok(fill(template, &[])),
    };
    let wants = match find("wants") {
        Some(setting) => fill("::core::option::Option::Some(&__LIST__)", &[("__LIST__", setting.tokens()?)]),
        None => fill("::core::option::Option::None", &[]),
    };
    let holes = [
        ("__ITEM__", item.clone()),
        ("__OF__", of_type),
        ("__TYPE__", needed("type", "check-property")?.tokens()?),
        ("__CATEGORY__", needed("category", "filter")?.tokens()?),
        ("__COLOR__", or("color", "\"#a6bbcf\"")?),
        ("__ICON__", or("icon", "\"fa-puzzle-piece\"")?),
        ("__VERSION__", or("version", "::core::env!(\"CARGO_PKG_VERSION\")")?),
        ("__SUMMARY__", or("summary", "&::probity_sdk::node::summary(<Self as ::probity_sdk::Config>::DOC)")?),
        ("__HELP__", or("help", "<Self as ::probity_sdk::Config>::DOC")?),
        ("__INPUTS__", or("inputs", "1")?),
        ("__OUTPUTS__", or("outputs", "[\"\"]")?),
        ("__WANTS__", wants),
        ("__CAPABILITIES__", or("capabilities", "[]")?),
        ("__AT_RUN_END__", flag(at_run_end)),
    ];
    let template = r#"
        __ITEM__

        impl ::probity_sdk::NodeType for __OF__ {
            const TYPE: &'static str = __TYPE__;
            const WANTS: ::core::option::Option<&'static [&'static str]> = __WANTS__;
            const CAPABILITIES: &'static [&'static str] = &__CAPABILITIES__;

            fn description() -> ::probity_sdk::Description {
                const OUTPUTS: &[&str] = &__OUTPUTS__;
                let list = |names: &[&str]| names.iter().map(|name| ::std::string::String::from(*name)).collect();
                ::probity_sdk::Description {
                    node_type: ::std::string::String::from(Self::TYPE),
                    version: ::std::string::String::from(__VERSION__),
                    category: ::std::string::String::from(__CATEGORY__),
                    color: ::std::string::String::from(__COLOR__),
                    icon: ::std::string::String::from(__ICON__),
                    summary: ::std::string::String::from(__SUMMARY__),
                    help: ::std::string::String::from(__HELP__),
                    inputs: __INPUTS__,
                    outputs: list(OUTPUTS),
                    config: ::probity_sdk::node::schema::<Self>(),
                    wants: Self::WANTS.map(list),
                    capabilities: list(Self::CAPABILITIES),
                    at_run_end: __AT_RUN_END__,
                }
            }
        }
    "#;
    Ok(fill(template, &holes))
}

fn flag(flag: bool) -> TokenStream {
    fill(if flag { "true" } else { "false" }, &[])
}

fn check(setting: &Setting) -> Result<()> {
    let wrong = |message: String| Err(Problem::new(setting.span, message));
    match setting.name.as_str() {
        "color" => {
            let color = setting.string()?;
            let digits = color.strip_prefix('#').unwrap_or_default();
            if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return wrong(format!("`color = \"{color}\"` is not of the form #rrggbb"));
            }
        }
        "capabilities" => {
            for capability in setting.strings()? {
                if !CAPABILITIES.contains(&capability.as_str()) {
                    return wrong(format!("unknown capability `{capability}`; known are {}", CAPABILITIES.join(", ")));
                }
            }
        }
        "wants" | "outputs" => {
            setting.strings()?;
        }
        "type" | "category" | "icon" => {
            if setting.string()?.is_empty() {
                return wrong(format!("`{}` is empty", setting.name));
            }
        }
        "version" | "summary" | "help" | "inputs" => {}
        other => {
            return wrong(format!(
                "unknown setting `{other}`; known are type, category, color, icon, inputs, outputs, wants, \
                 capabilities, summary, help, version"
            ));
        }
    }
    Ok(())
}

/// The type an `impl Node for Type { … }` is for, and whether it has a function `run_end`.
fn implementation(item: &TokenStream) -> Result<(TokenStream, bool)> {
    let wrong = || Problem::new(Span::call_site(), "#[node(…)] belongs on `impl Node for YourType { … }`");
    let mut tokens = item.clone().into_iter();
    tokens.find(|token| matches!(token, TokenTree::Ident(name) if name.to_string() == "for")).ok_or_else(wrong)?;
    let mut of_type = TokenStream::new();
    for token in tokens {
        match token {
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => {
                let words: Vec<String> = body.stream().into_iter().map(|token| token.to_string()).collect();
                let at_run_end = words.windows(2).any(|pair| pair[0] == "fn" && pair[1] == "run_end");
                return Ok((of_type, at_run_end));
            }
            other => of_type.extend([other]),
        }
    }
    Err(wrong())
}
