//! Durable calls of flow endpoints: committed before they are acknowledged.
//!
//! `?async=1` or `Prefer: respond-async` (RFC 7240) is answered 202 with the run's address after the commit. On a tab that
//! is durable a caller who waits is answered by the flow, whose run was committed first. `Idempotency-Key` (of the IETF's
//! draft of that name) makes a repeated call the same one: the same key with the same request leads to the first run, with
//! another request it is refused with 422.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header, request};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Api;
use super::error::ApiError;
use super::hooks::{RUN_HEADER, past_deadline};
use crate::dispatch::{Acceptor, Asked, Local, NotAccepted};
use crate::model::flow::NodeIndex;
use crate::model::run::Trigger;
use crate::model::{Msg, RunId, Value};
use crate::runtime::exchange::ReplyTo;
use crate::runtime::opening::Start;
use crate::runtime::snapshot::write_start;
use crate::runtime::{Deployed, Reply, ReplyHandle};
use crate::store::queue::{Accepted, DedupKey, NewRun, Priority};

/// Longest key taken, bytes.
const KEY_MAX: usize = 255;

/// A call that is to be durable.
pub(super) struct Durability {
    acceptor: Arc<Acceptor>,
    /// Nobody waits for the flow's answer.
    responds_async: bool,
    /// The key as given, and what was asked so far.
    key: Option<(Result<String, ()>, Sha256)>,
}

/// What is called.
pub(super) struct Call {
    pub(super) deployed: Arc<Deployed>,
    pub(super) node: NodeIndex,
    pub(super) msg: Msg,
    pub(super) trigger: Trigger,
    pub(super) deadline: Duration,
}

/// How a call is to be durable; `None`: it is not.
pub(super) fn asked(api: &Api, deployed: &Deployed, node: NodeIndex, head: &request::Parts) -> Option<Durability> {
    let acceptor = api.acceptor.as_ref()?;
    let responds_async = wants_async(head);
    if !responds_async {
        let flow = deployed.plan.flows.get(deployed.plan.nodes[node as usize].flow as usize);
        let durable = flow.and_then(|flow| flow.durable).unwrap_or(api.options.flows_durable);
        if !durable {
            return None;
        }
    }
    let key = head.headers.get("idempotency-key").map(|key| {
        let mut asked = Sha256::new();
        asked.update(head.method.as_str());
        asked.update([0]);
        asked.update(head.uri.path_and_query().map_or("/", |url| url.as_str()));
        asked.update([0]);
        asked.update(head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes()));
        asked.update([0]);
        let given = key.to_str().map(str::trim).ok().filter(|key| !key.is_empty() && key.len() <= KEY_MAX);
        (given.map(str::to_owned).ok_or(()), asked)
    });
    Some(Durability { acceptor: acceptor.clone(), responds_async, key })
}

/// Whether the caller wants no more than to know that the run was accepted.
fn wants_async(head: &request::Parts) -> bool {
    let by_query = head.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "async=1"));
    by_query || prefers_async(&head.headers)
}

fn prefers_async(headers: &HeaderMap) -> bool {
    let texts = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split([',', ';']))
        .any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"))
}

impl Durability {
    /// Takes the body into what was asked.
    pub(super) fn read(&mut self, body: &[u8]) {
        if let Some((_, asked)) = &mut self.key {
            asked.update(body);
        }
    }

    /// Accepts the call's run. Gives the flow's own answer, or ours.
    pub(super) async fn answer(self, api: &Api, call: Call) -> Result<(Reply, RunId), Box<Response>> {
        let Durability { acceptor, responds_async, key } = self;
        let Call { deployed, node, mut msg, trigger, deadline } = call;
        let at = &deployed.plan.nodes[node as usize];
        let dedup = match key {
            None => None,
            Some((Err(()), _)) => return Err(bad_key()),
            Some((Ok(key), asked)) => Some(DedupKey {
                key: format!("http/{}/{key}", at.id),
                request: asked.finalize().into(),
                keep_ms: api.options.idempotency_key_ms,
            }),
        };
        let (flow, tenant) = deployed.plan.owner(node);
        // Flows run elsewhere when no worker is here; the caller is told where to look.
        let waits = !responds_async && acceptor.has_worker();
        let start = Start::Emit(0);
        let id = RunId::fresh();
        let run = NewRun {
            id,
            flow,
            node: at.id.to_string(),
            flow_version: deployed.plan.version.clone(),
            trigger,
            msg: write_start(start, &msg),
            reply: waits,
            priority: if waits { Priority::Interactive } else { Priority::Normal },
            tenant,
            delay_ms: 0,
            dedup,
            lease_ms: None,
        };
        let (mut reply, mut answer) = (None, None);
        if waits {
            let (reply_to, answered) = ReplyTo::new();
            let reply_to = Arc::new(reply_to);
            msg.set(arcstr::literal!("res"), Value::handle(ReplyHandle(reply_to.clone())));
            (reply, answer) = (Some(reply_to), Some(answered));
        } else {
            msg.remove("res");
        }
        let local = Local { start, msg, reply };
        match acceptor.accept(Asked { run, local }).await {
            Err(problem) => Err(Box::new(ApiError::from(problem).into_response())),
            Ok(Accepted::Conflict(first)) => Err(Box::new(other_request(first))),
            Ok(Accepted::Known(first)) => Err(Box::new(accepted(first, responds_async, true))),
            Ok(Accepted::Queued | Accepted::Leased) => {
                let Some(answer) = answer else { return Err(Box::new(accepted(id, responds_async, false))) };
                let reply = tokio::select! {
                    biased;
                    reply = answer => reply.ok(),
                    () = api.clock().sleep(deadline) => None,
                };
                acceptor.forget_caller(id);
                reply.map(|reply| (reply, id)).ok_or_else(|| Box::new(past_deadline(id, deadline.as_millis())))
            }
        }
    }
}

/// 202: it is committed, and there it can be seen. `again`: as it was before.
fn accepted(run: RunId, responds_async: bool, again: bool) -> Response {
    let address = format!("/probity/v1/runs/{run}");
    let body = json!({ "run": run, "address": address, "known": again });
    let mut response = (StatusCode::ACCEPTED, axum::Json(body)).into_response();
    let headers = response.headers_mut();
    if let (Ok(address), Ok(id)) = (HeaderValue::from_str(&address), HeaderValue::from_str(&run.to_string())) {
        headers.insert(header::LOCATION, address);
        headers.insert(RUN_HEADER, id);
    }
    if responds_async {
        headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
    }
    response
}

fn other_request(first: RunId) -> Response {
    let message = format!("this Idempotency-Key was given with another request, which is run {first}");
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message)
        .hint("give each request a key of its own, and the same key only to repetitions of it")
        .into_response()
}

fn bad_key() -> Box<Response> {
    let error = ApiError::bad_request("the Idempotency-Key is empty, too long, or no plain text");
    Box::new(error.hint(format!("give 1 to {KEY_MAX} ASCII characters, for example a UUID")).into_response())
}

impl From<NotAccepted> for ApiError {
    fn from(problem: NotAccepted) -> Self {
        match problem {
            NotAccepted::Unavailable(_) => ApiError::store_unavailable()
                .hint("the run was not accepted; ask again, with the same Idempotency-Key if it has one"),
            NotAccepted::Full | NotAccepted::Stopping => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", problem.to_string())
                    .hint("try again in a second")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(url: &str, prefer: &[&str]) -> request::Parts {
        let mut request = http::Request::builder().uri(url);
        for value in prefer {
            request = request.header("prefer", *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn who_wants_no_answer_says_so_in_either_way() {
        for (url, prefer, wants) in [
            ("/a?async=1", &[][..], true),
            ("/a?b=2&async=1", &[], true),
            ("/a?async=10", &[], false),
            ("/a?xasync=1", &[], false),
            ("/a", &["respond-async"], true),
            ("/a", &["wait=10, Respond-Async"], true),
            ("/a", &["return=minimal", "respond-async; wait=1"], true),
            ("/a", &["respond-asynchronously"], false),
        ] {
            assert_eq!(wants_async(&head(url, prefer)), wants, "{url} {prefer:?}");
        }
    }
}
