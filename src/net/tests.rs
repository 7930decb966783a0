//! Calls against a real server on a free port.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get};

use super::*;

/// Serves until the test ends; gives its base URL.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn get_url(url: &str) -> NetRequest {
    NetRequest::new(Method::GET, Url::parse(url).unwrap())
}

async fn echo(request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name: &str| text(parts.headers.get(name));
    format!(
        "{} {} auth={} cookie={} body={}",
        parts.method,
        parts.uri,
        header("authorization"),
        header("cookie"),
        String::from_utf8_lossy(&body)
    )
}

fn site() -> Router {
    Router::new()
        .route("/echo", any(echo))
        .route(
            "/to/{status}",
            any(|axum::extract::Path(status): axum::extract::Path<u16>| async move {
                let status = StatusCode::from_u16(status).unwrap();
                (status, [("location", "/echo"), ("set-cookie", "seen=1; Path=/")])
            }),
        )
        .route("/loop", get(|| async { (StatusCode::FOUND, [("location", "/loop")]) }))
        .route("/metadata", get(|| async { (StatusCode::FOUND, [("location", "http://169.254.169.254/latest")]) }))
        .route("/silent", get(std::future::pending::<()>))
        .route("/big", get(|| async { "x".repeat(1000) }))
}

fn body(answer: &NetResponse) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[tokio::test]
async fn redirects_are_followed_with_cookies_and_the_right_method() {
    let (site, net) = (serve(site()).await, Net::default());
    for (status, line) in [
        (302, "GET /echo auth=t cookie=seen=1 body="),
        (303, "GET /echo auth=t cookie=seen=1 body="),
        (307, "POST /echo auth=t cookie=seen=1 body=x"),
        (308, "POST /echo auth=t cookie=seen=1 body=x"),
    ] {
        let mut request = get_url(&format!("{site}/to/{status}"));
        request.method = Method::POST;
        request.body = "x".into();
        request.headers.insert(AUTHORIZATION, HeaderValue::from_static("t"));
        let answer = net.request(request).await.unwrap();
        assert_eq!(body(&answer), line);
        assert_eq!(answer.url.path(), "/echo");
        assert_eq!(
            answer.redirects,
            [Redirect { location: "/echo".into(), set_cookies: vec!["seen=1; Path=/".into()] }]
        );
    }
}

#[tokio::test]
async fn a_redirect_may_be_the_answer() {
    let site = serve(site()).await;
    let mut request = get_url(&format!("{site}/to/301"));
    request.redirects_max = Some(0);
    assert_eq!(Net::default().request(request).await.unwrap().status, 301);
}

#[tokio::test]
async fn another_host_is_not_told_the_credentials() {
    let there = serve(site()).await;
    let target = format!("{there}/echo");
    let here =
        serve(Router::new().route("/", get(|| async move { (StatusCode::FOUND, [("location", target)]) }))).await;
    let mut request = get_url(&here);
    request.headers.insert(AUTHORIZATION, HeaderValue::from_static("t"));
    assert_eq!(body(&Net::default().request(request).await.unwrap()), "GET /echo auth= cookie= body=");
}

#[tokio::test]
async fn each_hop_is_held_to_the_rules() {
    let (site, net) = (serve(site()).await, Net::default());
    let error = net.request(get_url(&format!("{site}/metadata"))).await.unwrap_err();
    assert_eq!(error.code, "EACCES");
    assert!(error.message.contains(r#"net.allow = ["*", "169.254.169.254"]"#), "{error}");
    let narrow = Net::new(NetOptions { allow: vec!["a.example".into()], ..NetOptions::default() }).unwrap();
    let error = narrow.request(get_url(&site.replace("127.0.0.1", "localhost"))).await.unwrap_err();
    assert!(error.message.contains(r#"net.allow = ["a.example", "localhost"]"#), "{error}");
}

#[tokio::test]
async fn a_name_is_connected_to_by_an_admitted_address_only() {
    let (site, name) = (serve(site()).await, |url: &str| url.replace("127.0.0.1", "localhost") + "/echo");
    let loopback = ["127.0.0.0/8".to_string(), "::1".to_string()];
    let allowed = Net::new(NetOptions { allow: loopback.to_vec(), ..NetOptions::default() }).unwrap();
    assert_eq!(allowed.request(get_url(&name(&site))).await.unwrap().status, 200);
    let rules = Rules::parse("net.allow", &["localhost".to_string()]).unwrap();
    let guarded = rules.admitted("localhost", vec!["169.254.0.1:0".parse().unwrap()]).unwrap_err();
    assert!(guarded.to_string().contains("link-local"), "{guarded}");
}

#[tokio::test]
async fn endless_redirects_end() {
    let site = serve(site()).await;
    let error = Net::default().request(get_url(&format!("{site}/loop"))).await.unwrap_err();
    assert_eq!(error.code, "ERR_TOO_MANY_REDIRECTS");
}

#[tokio::test]
async fn silence_large_answers_and_closed_ports_are_errors_with_codes() {
    let (site, net) = (serve(site()).await, Net::default());
    let mut request = get_url(&format!("{site}/silent"));
    request.timeout = Some(Duration::from_millis(20));
    assert_eq!(net.request(request).await.unwrap_err().code, "ETIMEDOUT");
    let mut request = get_url(&format!("{site}/big"));
    request.response_bytes_max = Some(999);
    assert_eq!(net.request(request).await.unwrap_err().code, "EMSGSIZE");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let error = net.request(get_url(&format!("http://user:secret@{closed}/"))).await.unwrap_err();
    assert_eq!((error.code, error.message), ("ECONNREFUSED", format!("connect ECONNREFUSED {closed}")));
    let error = net.request(get_url("http://no-such-host.invalid/")).await.unwrap_err();
    assert_eq!(error.code, "ENOTFOUND", "{error}");
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_no_connection() {
    // A plain server is no TLS server: the handshake must fail with a code, not hang.
    let site = serve(site()).await;
    let error = Net::default().request(get_url(&site.replace("http:", "https:"))).await.unwrap_err();
    assert!(["EPROTO", "ERR_TLS_SETUP"].contains(&error.code), "{error}");
}

/// A net whose names have these addresses, one list after the other and the last for ever.
fn answering_names(lists: &[&[&str]], granted: &[&str]) -> Net {
    let lists: Vec<Vec<SocketAddr>> =
        lists.iter().map(|l| l.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect()).collect();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let lookup = resolve::Lookup::new(move |_| {
        let at = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed).min(lists.len() - 1);
        Box::pin(std::future::ready(Ok(lists[at].clone())))
    });
    let options = NetOptions { connect_ms_max: 50, ..NetOptions::default() };
    let mut rules = Rules::parse("net.allow", &[]).unwrap();
    rules.lookup = lookup;
    let net = Net { rules: Arc::new(rules), ..Net::new(options).unwrap() };
    net.granting(&granted.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

/// Counts its callers.
async fn counted() -> (u16, Arc<std::sync::atomic::AtomicU32>) {
    let calls = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = calls.clone();
    let url = serve(Router::new().fallback(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::ready("inside")
    }));
    (Url::parse(&url.await).unwrap().port().unwrap(), calls)
}

/// A name that first leads outside and then to this machine (DNS rebinding) never leads to this machine: what was
/// checked is what is connected to, for every connection anew.
#[tokio::test]
async fn a_name_that_changes_its_mind_leads_nowhere() {
    let (port, calls) = counted().await;
    // 192.0.2.0/24 is for documentation: nobody answers there.
    for lists in
        [&[&["192.0.2.1"][..], &["127.0.0.1"]][..], &[&["192.0.2.1", "127.0.0.1"]], &[&["127.0.0.1"]], &[&["::1"]]]
    {
        for granted in [&["*"][..], &["rebind.example"], &["*.example"]] {
            let net = answering_names(lists, granted);
            for _ in 0..3 {
                let answer = net.request(get_url(&format!("http://rebind.example:{port}/"))).await;
                assert!(answer.is_err(), "{lists:?} {granted:?}: {answer:?}");
            }
        }
    }
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_granted_host_cannot_redirect_to_another() {
    let (port, calls) = counted().await;
    let elsewhere = format!("http://127.0.0.1:{port}/");
    let to = elsewhere.clone();
    let site = Router::new()
        .route("/inside", get(move || std::future::ready((StatusCode::FOUND, [("location", to)]))))
        .route("/metadata", get(|| async { (StatusCode::FOUND, [("location", "http://169.254.169.254/latest")]) }))
        .route("/file", get(|| async { (StatusCode::FOUND, [("location", "file:///etc/passwd")]) }));
    let site = serve(site).await;
    let own = site.strip_prefix("http://").unwrap().to_string();
    let net = Net::default().granting(&[own]).unwrap();
    for path in ["/inside", "/metadata"] {
        let answer = net.request(get_url(&format!("{site}{path}"))).await;
        assert!(answer.is_err(), "{path}: {answer:?}");
    }
    // What is no HTTP is not followed: the redirect is the answer.
    let file = net.request(get_url(&format!("{site}/file"))).await.unwrap();
    assert_eq!((file.status, body(&file).as_str()), (302, ""));
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 0);
    // The same address, when it is granted, is there.
    let both = Net::default().granting(&[format!("127.0.0.1:{port}")]).unwrap();
    assert_eq!(body(&both.request(get_url(&elsewhere)).await.unwrap()), "inside");
}
