//! Answers as Node-RED with Express gives them.

use super::super::rig::{Rig, msg, node};
use super::*;

async fn reply(config: &str, message: &str) -> Reply {
    let rig = Rig::new(vec![node("out", "http response", config, &[])]);
    rig.call(0, msg(message)).await.unwrap()
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

#[tokio::test]
async fn the_body_and_its_type_follow_the_payload() {
    for (payload, content_type, body) in [
        (r#"{"a":1}"#, "application/json; charset=utf-8", r#"{"a":1}"#),
        ("[1,2]", "application/json; charset=utf-8", "[1,2]"),
        ("null", "application/json; charset=utf-8", "null"),
        ("true", "application/json; charset=utf-8", "true"),
        ("\"hi\"", "text/html; charset=utf-8", "hi"),
        ("42.5", "text/html; charset=utf-8", "42.5"),
    ] {
        let reply = reply("{}", &format!(r#"{{"payload":{payload}}}"#)).await;
        assert_eq!((reply.status, reply.body.as_ref()), (200, body.as_bytes()));
        assert_eq!(header(&reply, "content-type"), Some(content_type), "{payload}");
    }
    let empty = reply("{}", "{}").await;
    assert_eq!((empty.body.len(), header(&empty, "content-type")), (0, None));
}

#[tokio::test]
async fn bytes_stay_bytes() {
    let rig = Rig::new(vec![node("out", "http response", "{}", &[])]);
    let reply = rig.call(0, Msg::with_payload(Value::Bytes(Arc::new(vec![0, 255])))).await.unwrap();
    assert_eq!(reply.body.as_ref(), &[0, 255]);
    assert_eq!(header(&reply, "content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn the_nodes_status_comes_before_the_messages() {
    for (config, message, status) in [
        (r#"{"statusCode":"201"}"#, r#"{"statusCode":404}"#, 201),
        (r#"{"statusCode":""}"#, r#"{"statusCode":"404 not here"}"#, 404),
        (r#"{"statusCode":""}"#, r#"{"statusCode":"no number"}"#, 200),
        ("{}", "{}", 200),
    ] {
        assert_eq!(reply(config, message).await.status, status, "{config} {message}");
    }
}

#[tokio::test]
async fn an_impossible_status_fails_the_message() {
    let rig = Rig::new(vec![node("out", "http response", "{}", &[])]);
    let reply = rig.call(0, msg(r#"{"statusCode":99}"#)).await.unwrap();
    assert_eq!(reply.status, 500);
    assert!(rig.complaints()[0].contains("99 is no final HTTP status"), "{:?}", rig.complaints());
    let rig = Rig::new(vec![node("out", "http response", r#"{"statusCode":"1000"}"#, &[])]);
    assert_eq!(rig.problems()[0].code, "invalid-status");
}

#[tokio::test]
async fn the_nodes_headers_come_before_the_messages() {
    let reply = reply(
        r#"{"headers":{"content-type":"text/csv","X-A":"1"}}"#,
        r#"{"payload":"a,b","headers":{"X-A":"2","x-b":3,"x-c":["4","5"]}}"#,
    )
    .await;
    assert_eq!(header(&reply, "content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!((header(&reply, "x-a"), header(&reply, "x-b")), (Some("1"), Some("3")));
    assert_eq!(reply.headers.iter().filter(|(n, _)| n == "x-c").count(), 2);
}

#[tokio::test]
async fn headers_of_an_earlier_answer_are_not_sent_back() {
    let mut answer: Object = [("server", "elsewhere")].into_iter().collect();
    super::super::http_headers::mark(&mut answer);
    let mut message = msg("{}");
    message.set("headers", answer);
    let rig = Rig::new(vec![node("out", "http response", "{}", &[])]);
    assert_eq!(rig.call(0, message).await.unwrap().headers, []);
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_fails_the_message() {
    let rig = Rig::new(vec![node("out", "http response", "{}", &[])]);
    rig.call(0, msg(r#"{"headers":{"x":"a\nb"}}"#)).await.unwrap();
    assert!(rig.complaints()[0].contains("header \"x\""), "{:?}", rig.complaints());
}

#[tokio::test]
async fn cookies_are_set_and_cleared() {
    let reply = reply(
        "{}",
        r#"{"cookies":{"a":"x y","b":null,"c":{"value":"v","path":"/p","maxAge":60000,"httpOnly":true,"sameSite":"lax"},
            "d":{"value":null,"path":"/q"},"e":{"value":"a=b","encode":false}}}"#,
    )
    .await;
    let cookies: Vec<&str> = reply.headers.iter().filter(|(n, _)| n == "set-cookie").map(|(_, v)| v.as_str()).collect();
    assert_eq!(
        cookies,
        [
            "a=x%20y; Path=/",
            "b=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "c=v; Max-Age=60; Path=/p; Expires=Thu, 01 Jan 2026 00:01:00 GMT; HttpOnly; SameSite=Lax",
            "d=; Path=/q; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "e=a=b; Path=/",
        ]
    );
}

#[tokio::test]
async fn jsonp_is_answered_to_those_who_ask_for_it() {
    let rig = Rig::new(vec![node("out", "http response", "{}", &[])]);
    let request = Request::new("GET", "/?callback=f.g()", Default::default(), vec![], Value::Undefined, "::1");
    let mut message = msg(r#"{"payload":{"a":1}}"#);
    message.set("req", Value::handle(request));
    let reply = rig.call(0, message).await.unwrap();
    assert_eq!(reply.body, r#"/**/ typeof f.g === 'function' && f.g({"a":1});"#);
    assert_eq!(header(&reply, "content-type"), Some("text/javascript; charset=utf-8"));
}

#[tokio::test]
async fn without_a_caller_and_for_a_second_answer_there_is_a_warning() {
    let rig = Rig::new(vec![node("out", "http response", "{}", &[])]);
    rig.run(0, msg("{}")).await;
    assert!(rig.complaints()[0].starts_with("No response object"));
    let rig = Rig::new(vec![
        node("j", "junction", "{}", &[&[1, 1]]),
        node("out", "http response", r#"{"statusCode":"201"}"#, &[]),
    ]);
    assert_eq!(rig.call(0, msg("{}")).await.unwrap().status, 201);
    rig.settle().await;
    assert!(rig.complaints()[0].contains("answered before"), "{:?}", rig.complaints());
}

#[tokio::test]
async fn statuses_without_a_body_have_none() {
    let reply = reply(r#"{"statusCode":204}"#, r#"{"payload":{"a":1}}"#).await;
    assert_eq!((reply.status, reply.body.len(), header(&reply, "content-type")), (204, 0, None));
}
