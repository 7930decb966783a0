//! The server loop: accepts connections, bounds them in number and time, and hands each call to a flow or to our
//! own router. Flow calls do not pass through the router: they are the hot path.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arcstr::ArcStr;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::Request;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tower::ServiceExt;

use super::stalled::Stalled;
use super::{Api, ApiError, admin, cors, forwarded, guard, hooks, people};

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) ip: IpAddr,
    /// As flows see it in `msg.req.ip`.
    pub(super) text: ArcStr,
}

impl Peer {
    pub(super) fn new(address: SocketAddr) -> Peer {
        // An IPv4 caller on an IPv6 socket is still an IPv4 caller.
        let ip = address.ip().to_canonical();
        Peer { ip, text: ip.to_string().into() }
    }

    /// Who is at the other end of the proxies before us, as far as they are trusted.
    fn behind_proxies(self, api: &Api, headers: &http::HeaderMap) -> Peer {
        if api.trusted_proxies.is_empty() {
            return self;
        }
        let ip = forwarded::source(self.ip, headers, &api.trusted_proxies);
        if ip == self.ip { self } else { Peer { ip, text: ip.to_string().into() } }
    }
}

/// Serves flows, our own paths and pages until `stop` resolves, then lets open connections end for at most
/// `drain_ms_max`.
pub async fn serve(listener: TcpListener, api: Arc<Api>, stop: impl Future<Output = ()>) {
    let served = Served::All(super::router(api.clone()));
    api.auth.look_for_shipped_passwords();
    let stopping = api.clone();
    let stop = async move {
        stop.await;
        // Upgraded connections have left the server's hands and must hear it themselves.
        stopping.stopping.send_replace(true);
    };
    accept(listener, api, served, stop).await;
}

/// Serves nothing but `router` on an address of its own, under the same limits: an API that other programs know as
/// another service's (the Registry's, the Director's). Reads are open, writes are held to [`guard::admit_apart`].
pub async fn serve_apart(listener: TcpListener, api: Arc<Api>, router: Router, stop: impl Future<Output = ()>) {
    accept(listener, api, Served::Apart(router), stop).await;
}

/// What an address answers.
#[derive(Clone)]
enum Served {
    /// Flows and everything of ours.
    All(Router),
    /// One router that stands for another service.
    Apart(Router),
}

async fn accept(listener: TcpListener, api: Arc<Api>, served: Served, stop: impl Future<Output = ()>) {
    let http = Arc::new(connection_rules(&api));
    let places = Arc::new(Semaphore::new(api.options.connections_max.min(Semaphore::MAX_PERMITS)));
    let stopping = watch::Sender::new(false);
    // Never sent on: it is over when every connection has dropped its end.
    let (open, mut over) = mpsc::channel::<()>(1);
    tokio::pin!(stop);
    loop {
        let accepted = async {
            // The place is taken first: beyond the limit callers wait in the kernel's queue.
            let place = places.clone().acquire_owned().await.expect("this semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, stream, address) = tokio::select! {
            biased;
            () = &mut stop => break,
            (place, accepted) = accepted => match accepted {
                Ok((stream, address)) => (place, stream, address),
                Err(error) => {
                    // Out of file descriptors, mostly: others must end first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    api.clock().sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let connection = connect(&http, stream, Peer::new(address), api.clone(), served.clone());
        let (mut stopping, open) = (stopping.subscribe(), open.clone());
        tokio::spawn(async move {
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                // An error means that the server is gone.
                _ = async { stopping.wait_for(|stop| *stop).await.is_ok() } => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, peer = %address, "a connection ended early");
            }
            drop((place, open));
        });
    }
    drop((listener, open));
    stopping.send_replace(true);
    tokio::select! {
        _ = over.recv() => {}
        () = api.clock().sleep(Duration::from_millis(api.options.drain_ms_max)) => {
            tracing::warn!("connections were still open after drain_ms_max and are cut");
        }
    }
}

fn connection_rules(api: &Api) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(api.options.header_ms_max))
        .max_buf_size(64 * 1024)
        .pipeline_flush(true);
    http
}

type Call = Request<hyper::body::Incoming>;

type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

fn connect(
    http: &http1::Builder,
    stream: TcpStream,
    peer: Peer,
    api: Arc<Api>,
    served: Served,
) -> http1::UpgradeableConnection<
    TokioIo<Stalled>,
    impl Service<Call, Response = Response, Error = Infallible, Future = Answering> + use<>,
> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let stream = Stalled::new(stream, api.clock().clone(), Duration::from_millis(api.options.body_ms_max));
    let service = service_fn(move |call: Call| {
        let (api, served, peer) = (api.clone(), served.clone(), peer.clone());
        let answering: Answering = Box::pin(async move { Ok(answer(&api, served, peer, call).await) });
        answering
    });
    http.serve_connection(TokioIo::new(stream), service).with_upgrades()
}

/// Answers one call.
async fn answer(api: &Arc<Api>, served: Served, peer: Peer, call: Call) -> Response {
    let started = Instant::now();
    if api.options.probes_only && matches!(served, Served::All(_)) && !is_probe(call.uri().path()) {
        super::body::leave_unread_of(call, api).await;
        return ApiError::not_found("this process has not the role \"api\"; it answers only /health and /metrics")
            .hint("ask a replica whose `roles` have \"api\"")
            .into_response();
    }
    let peer = peer.behind_proxies(api, call.headers());
    if !is_health(call.uri().path())
        && let Err(refusal) = guard::count(api, &peer, call.headers()).await
    {
        let own = is_own(call.uri().path());
        let origin = call.headers().get(http::header::ORIGIN).cloned();
        super::body::leave_unread_of(call, api).await;
        api.metrics.http(own, refusal.status(), started.elapsed());
        return marked(api, origin, !own, refusal);
    }
    if let Served::All(_) = served
        && call.method() == http::Method::OPTIONS
    {
        return marked(api, call.headers().get(http::header::ORIGIN).cloned(), false, preflight(api, call).await);
    }
    let origin = call.headers().get(http::header::ORIGIN).cloned();
    let all = matches!(served, Served::All(_));
    let call = if all { below_admin(api, call) } else { call };
    let people = if all { people::find(api, call.method(), call.uri().path()) } else { None };
    let (own, response) = match served {
        Served::All(_) if let Some(route) = people => (true, people::answer(api, route, &peer, call).await),
        Served::All(router) if is_own(call.uri().path()) => (true, answer_own(api, router, peer, call).await),
        Served::All(_) => match admin::find(api, call.method(), call.uri().path()) {
            Some(found) => (true, admin::answer(api, peer, call, found).await),
            None if admin::is_comms(api, &call) => (true, admin::answer_comms(api, peer, call).await),
            None => (false, hooks::answer(api, &peer, call).await),
        },
        Served::Apart(router) => (true, answer_apart(api, router, peer, call).await),
    };
    api.metrics.http(own, response.status(), started.elapsed());
    let mut response = if all { marked(api, origin, !own, response) } else { response };
    if api.is_leaving() && response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    response
}

/// Paths by which others see whether we live; never refused, or a flood would look like a failure.
fn is_health(path: &str) -> bool {
    matches!(path, "/health/live" | "/health/ready")
}

/// OPTIONS on any path, for pages of other sites that ask before they call.
async fn preflight(api: &Arc<Api>, call: Call) -> Response {
    let response = cors::preflight(call.headers());
    super::body::leave_unread_of(call, api).await;
    response
}

/// Says which origin's pages may read an answer.
fn marked(api: &Api, origin: Option<http::HeaderValue>, flow: bool, mut response: Response) -> Response {
    let more: &[String] = if flow { &api.options.node_cors_origins } else { &[] };
    cors::mark([&api.options.cors_origins, more], origin.as_ref(), &mut response);
    response
}

/// A call of the editor for our own API comes below `httpAdminRoot`, where its page lies: it knows no other address.
fn below_admin(api: &Api, mut call: Call) -> Call {
    let root = api.admin.as_ref().map_or("", |admin| admin.root.trim_end_matches('/'));
    let rest = call.uri().path_and_query().and_then(|path| path.as_str().strip_prefix(root));
    if let Some(rest) = rest.filter(|rest| !root.is_empty() && rest.starts_with("/probity/v1/"))
        && let Ok(uri) = rest.parse()
    {
        *call.uri_mut() = uri;
    }
    call
}

/// Paths that are ours whatever flows define.
const OWN: [&str; 3] = ["/probity", "/health", "/metrics"];

/// Whether a path is ours whatever flows define.
fn is_own(path: &str) -> bool {
    OWN.iter().any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Whether a path is answered whatever the roles of the process.
fn is_probe(path: &str) -> bool {
    is_own(path) && !path.starts_with("/probity")
}

/// Which of our own roots a route lies below, as far as routes go, which match in any case of letters.
pub fn own_root(route: &str) -> Option<&'static str> {
    let route = route.to_ascii_lowercase();
    OWN.into_iter().find(|own| route.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// An API of its own address: who may call, the body within its limits, the router.
async fn answer_apart(api: &Arc<Api>, router: Router, peer: Peer, call: Call) -> Response {
    let admitted = guard::admit_apart(api, &peer, &call).await;
    match received(api, admitted, call).await {
        Ok(call) => router.oneshot(call).await.unwrap_or_else(|never| match never {}),
        Err(refusal) => *refusal,
    }
}

/// The whole call of somebody who was let in, or the answer to one who was not.
async fn received(
    api: &Arc<Api>,
    admitted: Result<super::auth::Caller, Response>,
    call: Call,
) -> Result<Request<Body>, Box<Response>> {
    let (mut head, body) = call.into_parts();
    match admitted {
        Ok(caller) => head.extensions.insert(caller),
        Err(refusal) => {
            super::body::leave_unread(body, &head.headers, api).await;
            return Err(Box::new(refusal));
        }
    };
    match super::body::read(body, &head.headers, api).await {
        Ok(body) => Ok(Request::from_parts(head, Body::from(body))),
        Err(refused) => Err(Box::new(refused.into_response())),
    }
}

async fn answer_own(api: &Arc<Api>, router: Router, peer: Peer, call: Call) -> Response {
    let admitted = guard::admit(api, &peer, &call).await;
    let call = match received(api, admitted, call).await {
        Ok(call) => call,
        Err(refusal) => return *refusal,
    };
    let reads = call.method() == http::Method::GET && call.uri().path().starts_with("/probity");
    let data = call.uri().path().starts_with("/probity/v1");
    let call = router.oneshot(call);
    tokio::select! {
        biased;
        Ok(response) = call => response,
        () = store_lost(api), if reads => {
            let refusal = ApiError::store_unavailable();
            if data { refusal.into_response() } else { super::pages::error(refusal) }
        }
    }
}

/// Resolves when a reader has waited long enough and the store gives no sign of life; never while it does. The
/// store's own limits are made for evaluations, which had better wait than be lost.
async fn store_lost(api: &Api) {
    api.clock().sleep(Duration::from_millis(api.options.read_ms_max)).await;
    let alive = tokio::select! {
        pinged = api.store.ping() => pinged.is_ok(),
        () = api.clock().sleep(Duration::from_millis(api.options.ready_ms_max)) => false,
    };
    if alive {
        std::future::pending::<()>().await;
    }
    tracing::error!("the store does not answer");
}

/// The type that reads a body, whichever server it comes from.
pub(super) trait Incoming: hyper::body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin + Send {}
impl<T: hyper::body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin + Send> Incoming for T {}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn our_paths_are_whole_segments() {
        for own in ["/probity", "/probity/", "/probity/v1/runs", "/health/ready", "/metrics"] {
            assert!(is_own(own), "{own}");
        }
        for flow in ["/", "/probityx", "/healthy", "/metrics2", "/x/metrics"] {
            assert!(!is_own(flow), "{flow}");
        }
    }
}
