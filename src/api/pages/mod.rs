//! The pages under `/probity/`: what was promised and whether it was kept, down to the evidence and the run. Made on
//! the server, without scripts; colours never stand alone.

mod agreement;
mod bars;
mod layout;
mod overview;
mod plugins;
mod run;
mod service;
mod verdict;

use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::header;

use super::openapi::{Answer, Endpoint, Media, NOT_FOUND, Parameter, ok};

/// An error as a page.
pub(super) fn error(error: super::ApiError) -> Response {
    layout::PageError::from(error).into_response()
}

const HTML: Answer = ok("the page", Media::Html);

const fn page(
    path: &'static str,
    summary: &'static str,
    query: &'static [Parameter],
    route: fn() -> axum::routing::MethodRouter<std::sync::Arc<super::Api>>,
) -> Endpoint {
    Endpoint {
        method: "get",
        path,
        tag: "pages",
        summary,
        query,
        body: None,
        answers: &[HTML, NOT_FOUND],
        login: true,
        route,
    }
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    page("/probity", "Leads to /probity/", &[], || get(async || Redirect::permanent("/probity/"))),
    page("/probity/", "Agreements and how they are kept", overview::QUERY, || get(overview::show)),
    page("/probity/agreements/{id}", "An agreement by guarantee and scope", &[], || get(agreement::show)),
    page("/probity/verdicts", "Verdicts as a table", verdict::LIST_QUERY, || get(verdict::list)),
    page("/probity/verdict", "One verdict: reason, values, evidence, revisions", verdict::QUERY, || get(verdict::show)),
    page("/probity/runs", "Runs as a table", super::runs::QUERY, || get(run::list)),
    page("/probity/runs/{id}", "A run with its trace", &[], || get(run::show)),
    page("/probity/flows", "Flows and what is wrong with them", &[], || get(service::flows)),
    page("/probity/plugins", "Plugins: what they may do and how they are doing", &[], || get(plugins::list)),
    page("/probity/plugins/{name}", "One plugin", &[], || get(plugins::show)),
    page("/probity/schedules", "What fires when", &[], || get(service::schedules)),
    Endpoint {
        method: "get",
        path: "/probity/style.css",
        tag: "pages",
        summary: "The pages' style",
        query: &[],
        body: None,
        answers: &[ok("the style sheet", Media::Css)],
        login: true,
        route: || get(style),
    },
];

async fn style() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")];
    (headers, include_str!("style.css")).into_response()
}

/// `/`, where no flow answers and this build has no editor.
pub(super) fn front() -> Response {
    layout::bare(
        "Probity",
        maud::html! {
            h1 { "Probity" }
            p { "This is a governance workflow engine. Flows answer below this address." }
            p {
                "This build has no flow editor: its packages could not be fetched when it was built. Build again with \
                 network, or change flows in their file."
            }
            p { a href="/probity/" { "Agreements and verdicts" } }
        },
    )
}
