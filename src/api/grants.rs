//! `/probity/v1/plugins/{name}/grants`: what a plugin may do, decided with who and when, in the file that
//! `probity plugin grant` writes. A running server takes it up as soon as it looks at its files again.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::routing::{delete, get, put};
use axum::{Extension, Json};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::openapi::{Answer, BAD_REQUEST, Endpoint, Kind, Media, NOT_FOUND, Parameter, ok};
use super::query::Query;
use crate::model::diagnostic::closest;
use crate::plugin::capability::Capability;
use crate::plugin::desk::{Decided, Desk, DeskError, Wanted, Who};
use crate::plugin::grants::Scope;
use crate::plugin::hosts::{FORMS, HostPattern};
use crate::store::AuditEntry;

/// Every capability that is asked for; of a grant but `files`, whose folders have to be named.
const ALL: &str = "all";
const PATH: &str = "/probity/v1/plugins/{name}/grants";
const REFUSED: Answer = Answer { status: 422, help: "the plugin does not ask for this", media: Media::Json("Error") };
const QUERY: &[Parameter] = &[
    Parameter::new("capability", Kind::Text, "the capability; all when left out"),
    Parameter::new("host", Kind::Text, "only this host of `http`"),
    Parameter::new("folder", Kind::Text, "only this folder of `files`"),
    Parameter::new("secret", Kind::Text, "only this secret of `secret`"),
];

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "get",
        path: PATH,
        tag: "plugins",
        summary: "What a plugin asks for, and what was decided: by whom and when",
        query: &[],
        body: None,
        answers: &[ok("the decisions", Media::Json("PluginGrants")), NOT_FOUND],
        login: true,
        route: || get(show),
    },
    Endpoint {
        method: "put",
        path: PATH,
        tag: "plugins",
        summary: "Allows what a plugin asks for, or a part of it, on top of what was allowed before",
        query: &[],
        body: Some("PluginGrant"),
        answers: &[ok("the decisions", Media::Json("PluginGrants")), BAD_REQUEST, NOT_FOUND, REFUSED],
        login: true,
        route: || put(grant),
    },
    Endpoint {
        method: "delete",
        path: PATH,
        tag: "plugins",
        summary: "Takes back what was allowed, or a part of it",
        query: QUERY,
        body: None,
        answers: &[ok("the decisions", Media::Json("PluginGrants")), BAD_REQUEST, NOT_FOUND, REFUSED],
        login: true,
        route: || delete(revoke),
    },
];

/// The body of a grant.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Grant {
    capability: Option<String>,
    hosts: Vec<String>,
    folders: Vec<PathBuf>,
    secrets: Vec<String>,
    this_build: bool,
}

impl Grant {
    fn read(self) -> Result<Wanted, ApiError> {
        let capability = match self.capability.as_deref() {
            None | Some(ALL) => None,
            Some(name) => Some(capability(name)?),
        };
        let host = |text: &String| {
            text.parse::<HostPattern>().map_err(|bad| {
                let error = ApiError::bad_request(format!("{bad}; expected {FORMS}"));
                bad.hint.iter().fold(error, |error, hint| error.hint(hint.clone()))
            })
        };
        let hosts = self.hosts.iter().map(host).collect::<Result<_, _>>()?;
        if let Some(folder) = self.folders.iter().find(|folder| !folder.is_absolute()) {
            return Err(ApiError::bad_request(format!("the folder {} is not absolute", folder.display())));
        }
        let scope = Scope { hosts, folders: self.folders, secrets: self.secrets };
        Ok(Wanted { capability, scope, this_build: self.this_build })
    }
}

fn capability(name: &str) -> Result<Capability, ApiError> {
    Capability::parse(name).ok_or_else(|| {
        let error =
            ApiError::bad_request(format!("\"{name}\" is no capability; expected one of {}", Capability::list()));
        match closest(name, Capability::ALL.map(Capability::as_str)) {
            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
            None => error,
        }
    })
}

async fn show(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Json<Decided>, ApiError> {
    at_desk(&api, move |desk| desk.decided(&name)).await.map(Json)
}

async fn grant(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    caller: Option<Extension<Caller>>,
    body: Bytes,
) -> Result<Json<Decided>, ApiError> {
    let given: Grant = match body.is_empty() {
        true => Grant::default(),
        false => serde_json::from_slice(&body).map_err(|e| {
            ApiError::bad_request(format!("the body is not valid: {e}")).hint(
                "expected {\"capability\":…, \"hosts\":[…], \"folders\":[…], \"secrets\":[…], \"this_build\":…}, \
                 of which all but the first may be absent",
            )
        })?,
    };
    if given.capability.is_none() {
        let error = ApiError::bad_request("which capability?");
        return Err(error.hint(format!("expected one of {}, or \"{ALL}\" of what it asks for", Capability::list())));
    }
    decide(&api, "plugin.grant", name, given.read()?, caller, |desk, name, wanted, who| desk.grant(name, wanted, who))
        .await
}

async fn revoke(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    caller: Option<Extension<Caller>>,
) -> Result<Json<Decided>, ApiError> {
    let query = Query::read(query.as_deref(), QUERY)?;
    let given = Grant {
        capability: query.owned("capability"),
        hosts: query.owned("host").into_iter().collect(),
        folders: query.text("folder").map(PathBuf::from).into_iter().collect(),
        secrets: query.owned("secret").into_iter().collect(),
        this_build: false,
    };
    let take = |desk: &Desk, name: &str, wanted: &Wanted, who: &Who| desk.revoke(name, wanted, who).map(|_| ());
    decide(&api, "plugin.revoke", name, given.read()?, caller, take).await
}

/// Writes a decision with who made it, tells the audit trail, and gives what holds now.
async fn decide(
    api: &Api,
    action: &str,
    plugin: String,
    wanted: Wanted,
    caller: Option<Extension<Caller>>,
    how: impl FnOnce(&Desk, &str, &Wanted, &Who) -> Result<(), DeskError> + Send + 'static,
) -> Result<Json<Decided>, ApiError> {
    let name = caller.map_or("anonymous".to_string(), |c| c.name.clone());
    let who = Who { by: format!("api:{name}"), at: api.clock().now() };
    let entry = AuditEntry {
        at: who.at,
        actor: name,
        action: action.into(),
        subject: plugin.clone(),
        detail: json!({ "capability": wanted.capability, "scope": wanted.scope, "this_build": wanted.this_build }),
    };
    let decided = at_desk(api, move |desk| {
        how(desk, &plugin, &wanted, &who)?;
        desk.decided(&plugin)
    })
    .await?;
    tracing::info!(plugin = entry.subject, by = entry.actor, action, "decided by the API");
    // Decided it is: the file says by whom, and a database that is away does not undo it.
    if let Err(error) = api.store.audit(&entry).await {
        tracing::error!(%error, plugin = entry.subject, action, "a decision is not in the audit trail");
    }
    Ok(Json(decided))
}

/// Does what reads and writes files, off the event loop.
async fn at_desk<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&Desk) -> Result<T, DeskError> + Send + 'static,
) -> Result<T, ApiError> {
    let desk = api.desk.clone();
    let done = tokio::task::spawn_blocking(move || work(&desk)).await;
    done.map_err(|error| ApiError::internal("deciding about a plugin", &error))?.map_err(|error| match error {
        DeskError::Unknown(_) => {
            ApiError::not_found(error.to_string()).hint("GET /probity/v1/plugins lists them; it may not be installed")
        }
        DeskError::Refused(_) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "not_asked_for", error.to_string()),
        DeskError::Grants(_) => ApiError::internal("reading or writing the grants", &error),
    })
}
