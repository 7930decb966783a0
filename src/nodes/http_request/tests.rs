//! Calls to a real server on a free port.

mod digest;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get};

use super::super::rig::{Rig, msg, node};
use super::*;

/// Answers with what it was sent, as JSON.
async fn echo(request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap().to_string());
    let sent = serde_json::json!({
        "method": parts.method.as_str(), "url": parts.uri.to_string(), "type": header("content-type"),
        "auth": header("authorization"), "cookie": header("cookie"), "x": header("x-a"),
        "length": header("content-length"), "body": String::from_utf8_lossy(&body),
    });
    axum::Json(sent)
}

async fn site() -> String {
    let router = Router::new()
        .route("/echo", any(echo))
        .route("/text", get(|| async { "no json" }))
        .route("/none", get(|| async { StatusCode::NO_CONTENT }))
        .route("/teapot", get(|| async { (StatusCode::IM_A_TEAPOT, [("set-cookie", "a=b%20c; Path=/")], "short") }))
        .route("/redirect", get(|| async { (StatusCode::FOUND, [("location", "/echo")]) }))
        .route("/silent", get(std::future::pending::<()>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address.to_string()
}

/// Calls with this configuration (`HOST` is the server); gives the message that came out.
async fn call(config: &str, message: &str) -> Msg {
    let host = site().await;
    let fill = |text: &str| text.replace("HOST", &host);
    let rig = Rig::new(vec![node("r", "http request", &fill(config), &[])]);
    assert_eq!(rig.problems(), []);
    rig.run(0, msg(&fill(message))).await;
    rig.out().pop().unwrap().2
}

#[tokio::test]
async fn the_message_says_what_is_sent() {
    for (config, message, sent) in [
        (r#""url":"http://HOST/echo""#, "{}", r#"{"method":"GET","url":"/echo","body":""}"#),
        (r#""url":"HOST/echo?q=20%&r=%20""#, "{}", r#"{"url":"/echo?q=20%25&r=%20"}"#),
        (r#""url":"""#, r#"{"url":"http://HOST/echo"}"#, r#"{"url":"/echo"}"#),
        (
            r#""url":"http://HOST/echo?a={{{payload.a}}}""#,
            r#"{"payload":{"a":"x/y"}}"#,
            r#"{"url":"/echo?a=x/y","body":""}"#,
        ),
        (r#""url":"http://HOST/echo","method":"use""#, r#"{"method":"delete"}"#, r#"{"method":"DELETE"}"#),
        (
            r#""url":"http://HOST/echo?z=1","paytoqs":"query""#,
            r#"{"payload":{"a":[1,"b c"],"d":null}}"#,
            r#"{"url":"/echo?z=1&a=1&a=b%20c&d="}"#,
        ),
        (r#""url":"http://HOST/echo","paytoqs":"body""#, r#"{"payload":{"a":1}}"#, r#"{"body":"{\"a\":1}"}"#),
        (
            r#""url":"http://HOST/echo","method":"POST""#,
            r#"{"payload":{"a":1}}"#,
            r#"{"method":"POST","type":"application/json","body":"{\"a\":1}"}"#,
        ),
        (
            r#""url":"http://HOST/echo","method":"PUT""#,
            r#"{"payload":"text"}"#,
            r#"{"method":"PUT","type":null,"body":"text"}"#,
        ),
        (
            r#""url":"http://HOST/echo","method":"POST""#,
            r#"{"payload":{"a":"b c"},"headers":{"Content-Type":"application/x-www-form-urlencoded"}}"#,
            r#"{"type":"application/x-www-form-urlencoded","body":"a=b%20c"}"#,
        ),
        (
            r#""url":"http://HOST/echo","headers":[{"keyType":"other","keyValue":"X-A","valueType":"msg","valueValue":"v"}]"#,
            r#"{"v":7,"headers":{"x-a":"other"}}"#,
            r#"{"x":"7"}"#,
        ),
        (
            r#""url":"http://HOST/echo","authType":"basic","credentials":{"user":"u","password":"p"}"#,
            "{}",
            r#"{"auth":"Basic dTpw"}"#,
        ),
        (r#""url":"http://u:p@HOST/echo""#, "{}", r#"{"auth":"Basic dTpw"}"#),
        (
            r#""url":"http://HOST/echo","authType":"bearer","credentials":{"password":"t"}"#,
            "{}",
            r#"{"auth":"Bearer t"}"#,
        ),
        (r#""url":"http://HOST/echo""#, r#"{"cookies":{"a":"x y","b":null}}"#, r#"{"cookie":"a=x%20y"}"#),
        (
            r#""url":"http://HOST/echo""#,
            r#"{"headers":{"cookie":"a=\"1\"; a=2; b=x=y; none"},"cookies":{"c":{"value":"%20","encode":false}}}"#,
            r#"{"cookie":"a=1; b=x=y; c=%20"}"#,
        ),
        (r#""url":"http://HOST/echo""#, r#"{"payload":""}"#, r#"{"length":null}"#),
        (r#""url":"http://HOST/echo","method":"POST""#, "{}", r#"{"length":"0","type":null,"body":""}"#),
        (r#""url":"http://HOST/echo","method":"PATCH""#, r#"{"payload":""}"#, r#"{"length":"0"}"#),
        (r#""url":"http://HOST/echo","method":"DELETE""#, "{}", r#"{"length":null}"#),
        (r#""url":"http://HOST/echo","method":"DELETE""#, r#"{"payload":""}"#, r#"{"length":"0"}"#),
    ] {
        let answer = call(&format!(r#"{{"ret":"obj",{config}}}"#), message).await;
        for (key, value) in serde_json::from_str::<Object>(sent).unwrap() {
            assert_eq!(answer.payload().get(&key), value, "{config} {key}");
        }
    }
}

#[tokio::test]
async fn forms_with_files() {
    let config = r#"{"url":"http://HOST/echo","method":"POST","ret":"obj"}"#;
    let message = r#"{"headers":{"content-type":"multipart/form-data"},
        "payload":{"a":"1","f":{"value":"x","options":{"filename":"f.txt","contentType":"text/plain"}}}}"#;
    let sent = call(config, message).await.payload().clone();
    let content_type = sent.get("type").to_js_string();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let expected = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--{boundary}\r\ncontent-disposition: \
         form-data; name=\"f\"; filename=\"f.txt\"\r\ncontent-type: text/plain\r\n\r\nx\r\n--{boundary}--\r\n"
    );
    assert_eq!(sent.get("body").to_js_string(), expected);
}

#[tokio::test]
async fn the_answer_comes_in_the_message() {
    let answer = call(r#"{"url":"http://HOST/teapot"}"#, "{}").await;
    assert_eq!((answer.payload(), answer.get("statusCode")), (&"short".into(), Some(&418.into())));
    assert_eq!(answer.get("responseCookies").unwrap().to_json(), r#"{"a":{"Path":"/","value":"b c"}}"#);
    assert!(answer.get("headers").unwrap().get("set-cookie").as_array().is_some());
    let bytes = call(r#"{"url":"http://HOST/text","ret":"bin"}"#, "{}").await;
    assert_eq!(bytes.payload(), &Value::Bytes(Arc::new(b"no json".to_vec())));
    assert_eq!(call(r#"{"url":"http://HOST/text","ret":"obj"}"#, "{}").await.payload(), &"no json".into());
    assert_eq!(call(r#"{"url":"http://HOST/none","ret":"obj"}"#, "{}").await.payload().to_json(), "{}");
    let followed = call(r#"{"url":"http://HOST/redirect"}"#, "{}").await;
    assert!(followed.get("responseUrl").unwrap().to_js_string().ends_with("/echo"));
    assert_eq!(followed.get("redirectList").unwrap().to_json(), r#"[{"location":"/echo"}]"#);
    let not = call(r#"{"url":"http://HOST/redirect"}"#, r#"{"followRedirects":false}"#).await;
    assert_eq!(not.get("statusCode"), Some(&302.into()));
}

#[tokio::test]
async fn headers_of_an_answer_are_not_sent_with_the_next_request() {
    let first = call(r#"{"url":"http://HOST/teapot"}"#, "{}").await;
    let host = site().await;
    let rig = Rig::new(vec![node("r", "http request", &format!(r#"{{"url":"http://{host}/echo","ret":"obj"}}"#), &[])]);
    rig.run(0, first).await;
    assert_eq!(rig.out()[0].2.payload().get("type"), Value::Null);
}

#[tokio::test]
async fn errors_go_to_catch_nodes_and_on_unless_only_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    for (senderr, ids) in [("false", vec!["c", "r"]), ("true", vec!["c"])] {
        let config = format!(r#"{{"url":"http://u:secret@{closed}/x","senderr":{senderr}}}"#);
        let mut request = node("r", "http request", &config, &[]);
        request.catch = vec![crate::model::flow::CatchTarget { node: 1, uncaught_only: false }];
        let rig = Rig::new(vec![request, node("c", "catch", "{}", &[])]);
        rig.run(0, msg("{}")).await;
        let mut out = rig.out();
        out.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(out.iter().map(|o| o.0.as_str()).collect::<Vec<_>>(), ids);
        let error = out[0].2.get("error").unwrap();
        assert_eq!(error.get("code"), "ECONNREFUSED".into());
        assert_eq!(error.get("message"), format!("RequestError: connect ECONNREFUSED {closed}").into());
        assert!(out.iter().all(|o| !o.2.to_value().to_json().contains("secret")));
        if let Some((_, _, sent)) = out.get(1) {
            let text = format!("RequestError: connect ECONNREFUSED {closed} : http://{closed}/x");
            assert_eq!((sent.payload(), sent.get("statusCode")), (&text.into(), Some(&"ECONNREFUSED".into())));
        }
    }
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    let answer = call(r#"{"url":"http://HOST/silent"}"#, r#"{"requestTimeout":20}"#);
    let answer = tokio::time::timeout(Duration::from_secs(20), answer).await.unwrap();
    assert_eq!(answer.get("statusCode"), Some(&"ETIMEDOUT".into()));
}

#[tokio::test]
async fn what_cannot_be_called_is_an_error() {
    for (config, message, problem) in [
        ("{}", "{}", "No url specified"),
        (r#"{"url":"ftp://x"}"#, "{}", "non-http transport"),
        (r#"{"url":"http://"}"#, "{}", "Invalid URL"),
        (r#"{"url":"http://x","paytoqs":"query"}"#, r#"{"payload":"text"}"#, "Invalid payload"),
        (r#"{"url":"https://x"}"#, r#"{"rejectUnauthorized":false}"#, "net.unverified = [\"x\"]"),
        (r#"{"url":"http://169.254.169.254/latest"}"#, "{}", "net.allow"),
        (r#"{"url":"http://x"}"#, r#"{"cookies":{"a b":"1"}}"#, "no name of a cookie"),
        (
            r#"{"url":"http://x"}"#,
            r#"{"cookies":{"a":{"value":"1; Domain=y","encode":false}}}"#,
            "cookies cannot carry",
        ),
    ] {
        let rig = Rig::new(vec![node("r", "http request", config, &[])]);
        let ended = rig.run(0, msg(message)).await;
        assert!(ended.error.as_ref().unwrap().message.contains(problem), "{config}: {:?}", ended.error);
    }
}

#[test]
fn all_problems_are_told() {
    let config = r#"{"url":"{{#a}}","tls":"t","proxy":"p","authType":"digets","method":"G T"}"#;
    let problems = Rig::new(vec![node("r", "http request", config, &[])]).problems();
    let paths: Vec<&str> = problems.iter().map(|d| d.path.as_str()).collect();
    assert_eq!(paths, ["$[0].tls", "$[0].proxy", "$[0].authType", "$[0].method", "$[0].url"]);
}
