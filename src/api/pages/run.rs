//! Runs: the list, and the page of one with its trace.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use maud::{Markup, html};

use super::layout::{self, PageError, Section, address, instant, page, run_state};
use crate::api::Api;
use crate::api::query::Query;
use crate::api::runs::{self, QUERY};
use crate::model::call::CallRecord;
use crate::model::run::{Captured, RunRecord, RunState, TraceStep, Trigger};
use crate::store::TRIGGER_KINDS;

pub(super) async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Response, PageError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let runs = runs::page(&api, &query).await?;
    let given: Vec<(&str, &str)> = ["subject", "state", "trigger", "from", "to", "text", "limit"]
        .into_iter()
        .filter_map(|name| Some((name, query.text(name)?)))
        .collect();
    let states = [RunState::Done, RunState::Failed, RunState::Stopped];
    let body = html! {
        h1 { "Runs" }
        p .filters {
            a href="/probity/runs" aria-current=[query.text("state").is_none().then_some("true")] { "all" }
            @for state in states {
                @let on = query.text("state") == Some(state.as_str());
                " " a href=(address("/probity/runs", &[("state", state.as_str())])) aria-current=[on.then_some("true")] { (state.as_str()) }
            }
        }
        (search(&api, &query))
        @if runs.items.is_empty() { p .empty { "No run fits." } }
        ul .rows {
            @for run in &runs.items {
                li {
                    a href=(format!("/probity/runs/{}", run.id)) {
                        span .row-head { strong { (trigger_text(&run.trigger)) } (run_state(run.state)) }
                        span .quiet { (subject_name(&api, &run.subject)) " · " (instant(run.started_at)) (took(run)) }
                    }
                }
            }
        }
        (layout::more("/probity/runs", &given, runs.next.as_deref()))
    };
    Ok(page(Section::Runs, "Runs", &[], body))
}

/// The form that searches.
fn search(api: &Api, query: &Query) -> Markup {
    let deployed = api.engine.current();
    let chosen = |name: &str, value: &str| (query.text(name) == Some(value)).then_some("selected");
    let subject = query.text("subject").unwrap_or_default();
    let known = deployed.plan.flows.iter().any(|f| f.id == subject);
    // As the browser's field wants it.
    let when = |name: &str| {
        let at = query.text(name).and_then(runs::instant);
        at.map(|at| at.strftime("%Y-%m-%dT%H:%M").to_string()).unwrap_or_default()
    };
    html! {
        form .filters action="/probity/runs" method="get" role="search" {
            label { "Flow or agreement"
                select name="subject" {
                    option value="" { "any" }
                    @if !subject.is_empty() && !known { option value=(subject) selected { (subject) } }
                    @for flow in &deployed.plan.flows {
                        option value=(flow.id) selected[chosen("subject", &flow.id).is_some()] {
                            @if flow.label.is_empty() { (flow.id) } @else { (flow.label) }
                        }
                    }
                    @for agreement in &(api.agreements)().agreements {
                        @if agreement.id != subject || known { option value=(agreement.id) { (agreement.id) } }
                    }
                }
            }
            label { "State"
                select name="state" {
                    option value="" { "any" }
                    @for state in runs::STATES { option value=(state) selected[chosen("state", state).is_some()] { (state) } }
                }
            }
            label { "Started by"
                select name="trigger" {
                    option value="" { "any" }
                    @for kind in TRIGGER_KINDS { option value=(kind) selected[chosen("trigger", kind).is_some()] { (kind) } }
                }
            }
            label { "From (UTC)" input type="datetime-local" name="from" value=(when("from")); }
            label { "Before (UTC)" input type="datetime-local" name="to" value=(when("to")); }
            label { "Error or run id" input type="search" name="text" value=(query.text("text").unwrap_or_default()); }
            button { "Search" }
        }
    }
}

pub(super) async fn show(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, PageError> {
    let run = runs::find(&api, &id).await?;
    let body = html! {
        h1 { "Run " (run_state(run.state)) }
        p .reason {
            (trigger_text(&run.trigger))
            @if let Trigger::Cron { due_at, .. } = &run.trigger { ", due " (instant(*due_at)) }
        }
        @if let Some(error) = &run.error {
            p .failure {
                strong { "Failed" }
                @if !error.node.is_empty() { " at " code { (error.node_type) " " (error.node) } }
                ": " (error.message)
            }
        }
        section .card {
            dl {
                dt { "Of" } dd { (subject(&api, &run)) }
                dt { "Started" } dd { (instant(run.started_at)) (took(&run)) }
                dt { "Steps" } dd { (run.hops) }
                dt { "Version" } dd { code { (run.version.get(..12).unwrap_or(&run.version)) } }
                dt { "Id" } dd { code { (run.id) } }
            }
        }
        section .card id="trace" {
            h2 { "Trace" }
            (trace(&run))
        }
    };
    let trail = [("/probity/runs".to_string(), "Runs".to_string())];
    Ok(page(Section::Runs, "Run", &trail, body))
}

/// The flow or agreement that ran, with a link when it is still there.
fn subject(api: &Api, run: &RunRecord) -> Markup {
    let is_agreement = (api.agreements)().agreements.iter().any(|a| a.id == run.subject);
    html! {
        @if is_agreement {
            a href=(format!("/probity/agreements/{}", layout::segment(&run.subject))) { (run.subject) }
        } @else { (subject_name(api, &run.subject)) }
    }
}

/// A flow's label, for its id says little; an agreement is known by its id.
fn subject_name(api: &Api, id: &str) -> String {
    let deployed = api.engine.current();
    let flow = deployed.plan.flows.iter().find(|f| f.id == id && !f.label.is_empty());
    flow.map_or(id, |f| f.label.as_str()).to_string()
}

fn trace(run: &RunRecord) -> Markup {
    html! {
        @if run.trace.is_empty() { p .empty { "No step was kept." } }
        ol .trace {
            @for step in &run.trace { (step_row(step)) }
        }
        @if run.trace_dropped > 0 { p .quiet { (run.trace_dropped) " further steps were not kept." } }
    }
}

fn step_row(step: &TraceStep) -> Markup {
    html! {
        li {
            span .at { (micros(step.at_us)) }
            span .step {
                strong { (step.node_type) }
                " " @if step.name.is_empty() { code { (step.node) } } @else { (step.name) }
                @if step.emitted > 0 { span .quiet { " → " (step.emitted) } }
                @if let Some(took) = step.took_us { span .quiet { " · " (micros(took)) } }
                @if let Some(note) = &step.note { br; (note) }
                @for call in &step.calls { br; span .quiet { (recorded(call)) } }
                @if let Some(input) = &step.input { (message("in", input)) }
                @for sent in &step.sent { (message(&format!("out, port {}", sent.port + 1), &sent.msg)) }
                @if step.calls_cut > 0 { br; span .quiet { (step.calls_cut) " further calls were not recorded" } }
            }
        }
    }
}

/// A message that was kept, to be unfolded.
fn message(what: &str, captured: &Captured) -> Markup {
    html! {
        details {
            summary {
                (what)
                @if captured.cut { span .quiet { " · cut" } }
                @if captured.masked { span .quiet { " · secrets masked" } }
            }
            pre tabindex="0" { (serde_json::to_string_pretty(&captured.msg).unwrap_or_default()) }
        }
    }
}

/// What there is to say of a recorded call; what is in it is the API's to show.
fn recorded(call: &CallRecord) -> String {
    let plugin = format!("recorded: {}@{}", call.plugin, call.version);
    match &call.cut {
        Some(why) => format!("{plugin}, not whole: {why}"),
        None => format!("{plugin}, {} host calls, {} fuel", call.calls.len(), call.fuel),
    }
}

fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}\u{a0}µs"),
        1_000..1_000_000 => format!("{:.1}\u{a0}ms", us as f64 / 1e3),
        _ => format!("{:.2}\u{a0}s", us as f64 / 1e6),
    }
}

fn took(run: &RunRecord) -> String {
    let Some(ended) = run.ended_at else { return String::new() };
    let us = ended.duration_since(run.started_at).as_micros();
    format!(", took {}", micros(u64::try_from(us).unwrap_or(0)))
}

fn trigger_text(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Http { method, path } => format!("{method} {path}"),
        Trigger::Cron { schedule, .. } => format!("schedule {schedule}"),
        Trigger::Inject { node } => format!("inject {node}"),
        Trigger::Event { node } => format!("event at {node}"),
        Trigger::Manual { by } => format!("asked for by {by}"),
        Trigger::Metric { evaluation } => format!("metric for evaluation {evaluation}"),
        Trigger::Linked { run, .. } => format!("went on from run {run}"),
    }
}
