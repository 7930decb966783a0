//! Callers who send too much, too deep or too slowly.

use probity::api::ApiOptions;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::server::{Server, Setup, read, tab};

async fn server(options: ApiOptions) -> Server {
    Server::start(Setup { flows: tab("e", "post", "/in", "echo"), options, ..Setup::default() }).await
}

async fn post(server: &Server, media: &str, body: impl Into<reqwest::Body>) -> (u16, serde_json::Value) {
    let call = server.client.post(server.url("/in")).header("content-type", media).body(body);
    read(call.send().await.unwrap()).await
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_announced_or_not() {
    let server = server(ApiOptions { body_bytes_max: 100_000, ..ApiOptions::default() }).await;
    assert_eq!(post(&server, "text/plain", vec![b'a'; 100_000]).await.0, 200);
    let (status, body) = post(&server, "text/plain", vec![b'a'; 100_001]).await;
    assert_eq!((status, &body["error"]), (413, &json!("body_too_large")));
    let pieces = futures_util::stream::iter((0..30).map(|_| Ok::<_, std::io::Error>(vec![b'a'; 10_000])));
    assert_eq!(post(&server, "text/plain", reqwest::Body::wrap_stream(pieces)).await.0, 413);
}

#[tokio::test]
async fn deep_or_broken_json_is_400() {
    let server = server(ApiOptions::default()).await;
    for body in ["[".repeat(200_000), "{\"a\":".repeat(10_000), "{".into(), "nope".into(), "7".into()] {
        let (status, answer) = post(&server, "application/json", body).await;
        assert_eq!((status, &answer["error"]), (400, &json!("malformed_body")));
    }
    let empty =
        server.client.post(server.url("/in")).header("content-type", "application/json").header("content-length", 0);
    assert_eq!(read(empty.send().await.unwrap()).await.1["payload"], json!({}));
}

/// Sends a piece of a call and gives what comes back until the server closes the connection.
async fn answer_to(server: &Server, piece: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(piece.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn who_sends_its_headers_too_slowly_is_cut_off() {
    let server = server(ApiOptions { header_ms_max: 50, ..ApiOptions::default() }).await;
    let answer = answer_to(&server, "POST /in HTTP/1.1\r\nHost: loc").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(answer_to(&server, "").await, "", "who sends nothing at all");
}

#[tokio::test]
async fn who_sends_its_body_too_slowly_is_cut_off() {
    let server = server(ApiOptions { body_ms_max: 50, ..ApiOptions::default() }).await;
    let answer = answer_to(&server, "POST /in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body_too_slow"), "{answer}");
    assert_eq!(server.engine.open_runs(), 0);
}

#[tokio::test]
async fn who_does_not_take_its_answer_is_cut_off() {
    let options = ApiOptions { connections_max: 1, body_ms_max: 50, ..ApiOptions::default() };
    let server = Server::start(Setup { flows: tab("b", "get", "/big", "big"), options, ..Setup::default() }).await;
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    deaf.write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    // Answered only after the deaf one was cut off.
    assert_eq!(server.get("/health/live").await.status(), 200);
    drop(deaf);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = server(ApiOptions { connections_max: 1, header_ms_max: 50, ..ApiOptions::default() }).await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    // Answered only after the idle one was cut off.
    assert_eq!(server.get("/health/live").await.status(), 200);
    drop(idle);
}

#[tokio::test]
async fn nonsense_is_refused_without_harm() {
    let server = server(ApiOptions::default()).await;
    for piece in ["\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET http:// HTTP/1.1\r\n\r\n"] {
        let answer = answer_to(&server, piece).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{piece:?}: {answer}");
    }
    assert_eq!(server.get("/health/live").await.status(), 200);
}

#[tokio::test]
async fn a_body_nobody_wants_does_not_break_the_connection() {
    let server = server(ApiOptions::default()).await;
    // More than the buffers of a connection hold: it must be taken before the caller can read the answer.
    let body = "x".repeat(4_000_000);
    for (path, host, status) in [("/nobody", "localhost", 404), ("/probity/v1/agreements/a/evaluate", "evil.test", 403)]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for last in [false, true] {
            let close = if last { "Connection: close\r\n" } else { "" };
            let length = body.len();
            let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{close}Content-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(answer.matches(&format!("HTTP/1.1 {status}")).count(), 2, "{answer}");
    }
}

#[tokio::test]
async fn more_connections_than_can_be_counted_may_be_allowed() {
    let server = server(ApiOptions { connections_max: usize::MAX, ..ApiOptions::default() }).await;
    assert_eq!(server.get("/health/live").await.status(), 200);
}
