//! The macros of `probity-sdk`: `#[derive(Config)]` and `#[node(…)]`.
//!
//! Written on `proc_macro` alone: `syn` and `quote` would cost every author more to compile than the SDK itself.

use proc_macro::TokenStream;

mod config;
mod item;
mod node;
mod template;

/// Makes a struct a node's configuration, or a row of one; an enum without fields a choice. See `probity_sdk::Config`.
///
/// Doc comments become the fields' help in the editor. `#[config(…)]` on a field:
/// `default = <JSON>`, `name = "…"`, `label = "…"`, `min = 0`, `max = 1`, `one_of = ["a", "b"]`, `min_length = 1`,
/// `max_length = 9`, `pattern = "…"`, `placeholder = "…"`, `lenient` (numbers may be texts), `config_only` (a caller
/// cannot override it), `multiline`, `code = "json"`, `rows` (a list shown as a table), `kinds = ["msg", "str"]` and
/// `type_name = "…"` (typed inputs). On the struct or enum: `rename_all = "camelCase"` or `"kebab-case"`; on an enum's
/// variant: `name = "…"`.
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(input: TokenStream) -> TokenStream {
    config::derive(input).unwrap_or_else(item::Problem::into_compile_error)
}

/// Says what a node type is: `#[node(type = "threshold", category = "filter", outputs = ["passed", "held"])]` on
/// `impl Node for …`.
///
/// `type` (as flows write it) and `category` are needed. `color = "#rrggbb"`, `icon = "fa-filter"`,
/// `outputs = ["label", …]` (one nameless output when absent), `inputs = 0`, `wants = ["payload", …]` (the message
/// properties that cross; all when absent), `capabilities = ["http", …]`, `summary = "…"` and `help = …` (an
/// expression such as `include_str!("help.md")`; both from the struct's doc comment when absent),
/// `version = "…"` (the crate's when absent).
#[proc_macro_attribute]
pub fn node(attributes: TokenStream, item: TokenStream) -> TokenStream {
    node::expand(attributes, item).unwrap_or_else(item::Problem::into_compile_error)
}
