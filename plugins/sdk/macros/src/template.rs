//! Code from a text with holes, `quote!` without its weight: `__NAME__` stands for tokens.

use proc_macro::{Group, TokenStream, TokenTree};

/// The tokens of `template`, with each identifier that `holes` names replaced by its tokens, spans kept.
pub fn fill(template: &str, holes: &[(&str, TokenStream)]) -> TokenStream {
    let tokens: TokenStream = template.parse().expect("templates of this crate are Rust");
    fill_tokens(tokens, holes)
}

fn fill_tokens(tokens: TokenStream, holes: &[(&str, TokenStream)]) -> TokenStream {
    let mut filled = TokenStream::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), fill_tokens(group.stream(), holes));
                inner.set_span(group.span());
                filled.extend([TokenTree::Group(inner)]);
            }
            TokenTree::Ident(name) => {
                let text = name.to_string();
                match holes.iter().find(|(hole, _)| *hole == text) {
                    Some((_, tokens)) => filled.extend(tokens.clone()),
                    None => filled.extend([TokenTree::Ident(name)]),
                }
            }
            other => filled.extend([other]),
        }
    }
    filled
}

/// A string literal.
pub fn text(value: &str) -> TokenStream {
    TokenTree::Literal(proc_macro::Literal::string(value)).into()
}
