//! Verdicts over time as small bars: colour, height and sign all say the same, and each bar has a name for those who
//! hear the page.

use maud::{Markup, html};

use super::layout::{address, number, scope_text};
use crate::model::state::{State, StoredState, Verdict};

/// Newest verdicts a row of bars shows.
pub(super) const BARS_MAX: usize = 24;

/// A verdict as a word with its sign.
pub(super) fn badge(verdict: Option<Verdict>, provisional: bool) -> Markup {
    let (class, sign, word) = words(verdict);
    html! {
        span class=(format!("badge {class}")) { span aria-hidden="true" { (sign) } " " (word) }
        @if provisional { " " span .badge.provisional { "provisional" } }
    }
}

/// Class, sign and word of a verdict.
fn words(verdict: Option<Verdict>) -> (&'static str, &'static str, &'static str) {
    match verdict {
        Some(Verdict::Fulfilled) => ("fulfilled", "✓", "fulfilled"),
        Some(Verdict::Violated) => ("violated", "✕", "violated"),
        Some(Verdict::Unknown) => ("unknown", "?", "unknown"),
        Some(Verdict::Waived) => ("waived", "~", "waived"),
        Some(Verdict::NotApplicable) => ("not-applicable", "–", "not applicable"),
        None => ("unknown", "·", "no verdict"),
    }
}

/// The address of a verdict's page.
pub(super) fn verdict_address(state: &State) -> String {
    address(
        "/probity/verdict",
        &[
            ("agreement", &state.agreement),
            ("guarantee", &state.of),
            ("scope", &state.scope.canonical()),
            ("from", &state.window.from.to_string()),
            ("to", &state.window.to.to_string()),
        ],
    )
}

/// A row of bars, oldest left. `states` are newest first, as the store gives them.
pub(super) fn row(states: &[&StoredState]) -> Markup {
    html! {
        ol .bars aria-label="Verdicts, oldest first" {
            @for stored in states.iter().take(BARS_MAX).rev() {
                @let state = &stored.state;
                @let (class, sign, word) = words(state.verdict);
                @let open = if state.provisional { " provisional" } else { "" };
                @let value = state.value.map(|v| format!(", value {}", number(v))).unwrap_or_default();
                @let label = format!("{word}{value}, {}{}", state.window.text(), open.replace(' ', ", "));
                li {
                    a class=(format!("bar {class}{open}")) href=(verdict_address(state)) title=(label) aria-label=(label) {
                        span aria-hidden="true" { (sign) }
                    }
                }
            }
        }
    }
}

/// States by scope, in the order scopes sort; each still newest first.
pub(super) fn by_scope(states: &[StoredState]) -> Vec<(String, Vec<&StoredState>)> {
    let mut groups: std::collections::BTreeMap<_, Vec<&StoredState>> = Default::default();
    for stored in states {
        groups.entry(&stored.state.scope).or_default().push(stored);
    }
    groups.into_iter().map(|(scope, states)| (scope_text(scope), states)).collect()
}

/// What the bars mean.
pub(super) fn legend() -> Markup {
    html! {
        p .legend aria-label="Legend" {
            @for verdict in Verdict::ALL { (badge(Some(verdict), false)) " " }
            span .badge.provisional { "provisional" }
            span .quiet { " window still open" }
        }
    }
}
