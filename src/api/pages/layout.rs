//! The frame around every page, and the small parts pages share.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use crate::api::error::ApiError;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::run::RunState;
use crate::model::state::Scope;

/// Nothing but our own style sheet is loaded, and nobody may frame us.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Where a page hangs in the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Agreements,
    Verdicts,
    Runs,
    Flows,
    Schedules,
    Plugins,
}

const SECTIONS: [(Section, &str, &str); 6] = [
    (Section::Agreements, "/probity/", "Agreements"),
    (Section::Verdicts, "/probity/verdicts", "Verdicts"),
    (Section::Runs, "/probity/runs", "Runs"),
    (Section::Flows, "/probity/flows", "Flows"),
    (Section::Schedules, "/probity/schedules", "Schedules"),
    (Section::Plugins, "/probity/plugins", "Plugins"),
];

/// A page with navigation. `trail` leads back up: `(address, name)`.
pub(super) fn page(section: Section, title: &str, trail: &[(String, String)], body: Markup) -> Response {
    let content = html! {
        header {
            a .brand href="/probity/" { "Probity" }
            nav aria-label="Sections" {
                @for (which, address, name) in SECTIONS {
                    a href=(address) aria-current=[(which == section).then_some("page")] { (name) }
                }
            }
        }
        main {
            @if !trail.is_empty() {
                nav .trail aria-label="Path" {
                    @for (address, name) in trail { a href=(address) { (id(name)) } span aria-hidden="true" { " / " } }
                }
            }
            (body)
        }
    };
    send(StatusCode::OK, title, content)
}

/// A page without navigation.
pub(super) fn bare(title: &str, body: Markup) -> Response {
    send(StatusCode::OK, title, html! { main { (body) } })
}

fn send(status: StatusCode, title: &str, content: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) @if title != "Probity" { " – Probity" } }
                link rel="stylesheet" href="/probity/style.css";
            }
            body { (content) }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, page.into_string()).into_response()
}

/// An error where a page was asked for.
pub(super) struct PageError(ApiError);

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        PageError(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let ApiError { status, message, hint, .. } = self.0;
        let body = html! {
            main {
                h1 { (status.canonical_reason().unwrap_or("Error")) }
                p { (message) }
                @if let Some(hint) = hint { p .quiet { (hint) } }
                p { a href="/probity/" { "Back to the agreements" } }
            }
        };
        send(status, "Error", body)
    }
}

/// An identifier that may be broken across lines where its words end.
pub(super) fn id(text: &str) -> Markup {
    html! {
        @for part in text.split_inclusive(['_', '-', '.', '/', ':']) { (part) wbr; }
    }
}

/// `team: a, region: eu`, or what stands for no scope.
pub(super) fn scope_text(scope: &Scope) -> String {
    if scope.0.is_empty() {
        return "everything".into();
    }
    scope.0.iter().map(|(k, v)| format!("{k}: {v}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn instant(t: Timestamp) -> Markup {
    html! { time datetime=(t) { (t.strftime("%Y-%m-%d %H:%M:%S")) " UTC" } }
}

/// A number as people read it: at most six decimals, cut and marked, never rounded: 99.9999999 must not read as 100.
pub(super) fn number(n: f64) -> String {
    if n.fract() == 0.0 && n.abs() < 1e15 {
        return format!("{n:.0}");
    }
    if n.abs() < 1e-6 || n.abs() >= 1e15 {
        return format!("{n:e}");
    }
    let text = n.to_string();
    match text.find('.') {
        Some(point) if text.len() > point + 7 => format!("{}…", &text[..point + 7]),
        _ => text,
    }
}

pub(super) fn run_state(state: RunState) -> Markup {
    let sign = match state {
        RunState::Running => "…",
        RunState::Done => "✓",
        RunState::Failed => "✕",
        RunState::Stopped => "■",
    };
    html! { span class=(format!("badge run-{}", state.as_str())) { span aria-hidden="true" { (sign) } " " (state.as_str()) } }
}

pub(super) fn diagnostics(list: &[Diagnostic]) -> Markup {
    html! {
        @if !list.is_empty() {
            ul .diagnostics {
                @for d in list {
                    li class=(if d.severity == Severity::Error { "error" } else { "warning" }) {
                        strong { @if d.severity == Severity::Error { "Error" } @else { "Warning" } }
                        " " (d.message)
                        @if let Some(expected) = &d.expected { "; expected " (expected) }
                        @if let Some(hint) = &d.hint { ". " em { (hint) } }
                        br; code { (d.file) @if !d.file.is_empty() { ": " } (d.path) } " " span .quiet { (d.code) }
                    }
                }
            }
        }
    }
}

/// An address with a query.
pub(super) fn address(path: &str, query: &[(&str, &str)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        text.append_pair(name, value);
    }
    let query = text.finish();
    if query.is_empty() { path.to_string() } else { format!("{path}?{query}") }
}

/// The link to the next page of a list, keeping its filters.
pub(super) fn more(path: &str, filters: &[(&str, &str)], next: Option<&str>) -> Markup {
    html! {
        @if let Some(next) = next {
            @let query: Vec<(&str, &str)> = filters.iter().copied().chain([("after", next)]).collect();
            p .more { a href=(address(path, &query)) rel="next" { "Older →" } }
        }
    }
}

/// A path segment, percent-encoded.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_what_matters() {
        for (n, text) in [(95.0, "95"), (0.975, "0.975"), (2.0 / 3.0, "0.666666…"), (1e-9, "1e-9"), (-0.5, "-0.5")] {
            assert_eq!(number(n), text);
        }
        assert_eq!(number(99.999_999_9), "99.999999…");
        assert_eq!(number(1e300), "1e300");
    }
}
