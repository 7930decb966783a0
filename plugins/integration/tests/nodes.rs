//! The nodes through the SDK's host: where ours differ from the originals, formats, and services in trouble.

#![allow(clippy::unwrap_used)]

use integration::{CsvReader, GithubCollector, LogGetter, LogTrace, ProjectToUrl, TrelloCollector, UrlToDoc};
use probity_sdk::testing::{Host, Response};
use probity_sdk::{NodeType, Value, json};

fn error<N: NodeType>(host: &Host, config: Value) -> String {
    host.process::<N>(config, json!({})).unwrap_err().message().to_owned()
}

fn read_csv(text: &str) -> Result<Vec<Value>, String> {
    let host = Host::new();
    host.file("rows.csv", text);
    let sent = host.process::<CsvReader>(json!({ "path": "rows.csv" }), json!({}));
    sent.map(|sent| sent.into_iter().map(|sent| sent.msg).collect()).map_err(|error| error.message().to_owned())
}

#[test]
fn each_row_is_a_message_of_its_own() {
    let sent = read_csv("\u{feff}name,\"note, long\"\r\nAna,\"said \"\"hi\"\"\nand left\"\r\n\r\nBo,x").unwrap();
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[0], json!({ "payload": { "name": "Ana", "note, long": "said \"hi\"\nand left" }, "index": 0 }));
    assert_eq!(sent[2], json!({ "payload": { "name": "Bo", "note, long": "x" }, "index": 1, "complete": true }));
    assert_eq!(read_csv("").unwrap(), [json!({ "complete": true })]);
}

#[test]
fn broken_rows_are_named_and_nothing_is_sent() {
    let refused = read_csv("a,b\n1\n1,2\n1,2,3\n").unwrap_err();
    assert_eq!(refused, "rows.csv: line 2 has 1 fields, the header 2; line 4 has 3 fields, the header 2");
    assert!(read_csv("a\n\"open\nrow\n").unwrap_err().contains("never closed"));
    assert!(error::<CsvReader>(&Host::new(), json!({ "path": "/etc/passwd" })).contains("/etc/passwd"));
}

const LOG: &str = "http://files.test/log";

fn log(body: impl Into<Vec<u8>>, more: Value, name: &str) -> Result<Value, String> {
    let host = Host::new();
    let url = format!("{LOG}{name}");
    host.answer_with("GET", &url, Response { status: 200, headers: Vec::new(), body: body.into() });
    let mut config = json!({ "logUrl": url });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let sent = host.process::<LogGetter>(config, json!({})).map_err(|error| error.message().to_owned())?;
    Ok(sent[0].msg["log"].clone())
}

const XES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1.0" xmlns="http://www.xes-standard.org/">
  <extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
  <trace>
    <string key="concept:name" value="case 1"/>
    <event><string key="concept:name" value="A &amp; B"/><date key="time:timestamp" value="2024-03-01T10:00:00Z"/></event>
  </trace>
  <trace/>
</log>"#;

#[test]
fn xes_becomes_the_traces_that_other_nodes_read() {
    let found = log(XES, json!({}), ".xes").unwrap();
    let event = json!({ "string": [{ "$": { "key": "concept:name", "value": "A & B" } }],
        "date": [{ "$": { "key": "time:timestamp", "value": "2024-03-01T10:00:00Z" } }] });
    assert_eq!(found["log"]["trace"][0]["event"], json!([event]));
    assert_eq!(found["log"]["trace"][1], json!({ "event": [] }));
    assert_eq!(found["log"]["extension"][0]["$"]["prefix"], "concept");
    for (text, expected) in
        [("<html><body></body></html>", "<html>"), ("<log><trace>", "cut"), ("", "empty"), ("{", "parse JSON")]
    {
        assert!(log(text, json!({}), ".xes").unwrap_err().contains(expected), "{text}");
    }
}

#[test]
fn a_log_over_5_mb_is_read() {
    let mut text = String::from("<log>");
    for case in 0..2_000 {
        text.push_str(&format!("<trace><string key=\"concept:name\" value=\"{case}\"/>"));
        for event in 0..20 {
            text.push_str(&format!(
                "<event><string key=\"concept:name\" value=\"activity {event}\"/><string key=\"org:resource\" \
                 value=\"somebody\"/><date key=\"time:timestamp\" value=\"2024-03-01T10:00:{event:02}Z\"/></event>"
            ));
        }
        text.push_str("</trace>");
    }
    text.push_str("</log>");
    assert!(text.len() > 5 << 20, "{}", text.len());
    let found = log(text, json!({}), ".xes").unwrap();
    assert_eq!(found["log"]["trace"].as_array().unwrap().len(), 2_000);
    assert_eq!(found["log"]["trace"][1_999]["event"].as_array().unwrap().len(), 20);
    // The tests' host copies the whole message for each one sent, which the engine does not.
    let few = json!({ "log": { "trace": found["log"]["trace"].as_array().unwrap()[..8] } });
    let sent = Host::new().process::<LogTrace>(json!({}), json!({ "log": few })).unwrap();
    assert_eq!((&sent[7].msg["payload"]["index"], &sent[7].msg["logSize"]), (&json!(7), &json!(8)));
}

#[test]
fn ocel_is_seen_from_one_object_type() {
    let ocel = json!({
        "objectTypes": [], "eventTypes": [],
        "objects": [{ "id": "o1", "type": "order" }, { "id": "i1", "type": "item" }, { "id": "o2", "type": "order" }],
        "events": [
            { "id": "e2", "type": "pay", "time": "2024-03-02T00:00:00Z", "relationships": [{ "objectId": "o1" }] },
            { "id": "e1", "type": "create", "time": "2024-03-01T00:00:00Z",
              "attributes": [{ "name": "price", "value": 5 }],
              "relationships": [{ "objectId": "o1" }, { "objectId": "i1" }] }
        ]
    });
    let found = log(ocel.to_string(), json!({ "objectType": "order" }), ".json").unwrap();
    let traces = found["log"]["trace"].as_array().unwrap();
    assert_eq!(traces.len(), 2);
    let name = |event: usize| &traces[0]["event"][event]["string"][0]["$"]["value"];
    assert_eq!((name(0), name(1)), (&json!("create"), &json!("pay")));
    assert_eq!(traces[1]["event"], json!([]));
    assert_eq!(log(ocel.to_string(), json!({}), ".json").unwrap(), ocel);
    assert!(log(ocel.to_string(), json!({ "objectType": "cart" }), ".json").unwrap_err().contains("item, order"));
    let xml = r#"<log><objects><object id="o1" type="order"/></objects><events><event id="e1" type="create"
        time="2024-03-01T00:00:00Z"><objects><relationship object-id="o1" qualifier="x"/></objects></event></events></log>"#;
    let found = log(xml, json!({}), ".xml").unwrap();
    assert_eq!(found["log"]["trace"][0]["event"][0]["string"][0]["$"]["value"], "create");
}

#[test]
fn csv_logs_have_one_event_per_row() {
    let text =
        "case:concept:name,concept:name,time:timestamp,who\n1,A,2024-03-01,x\n2,A,2024-03-01,y\n1,B,2024-03-02,x\n";
    let found = log(text, json!({}), ".csv").unwrap();
    assert_eq!(found["log"]["trace"].as_array().unwrap().len(), 2);
    assert_eq!(found["log"]["trace"][0]["event"][1]["string"][0]["$"]["value"], "B");
    assert!(
        log("a,b\n1,2\n", json!({}), ".csv")
            .unwrap_err()
            .contains("row 1 has no case:concept:name; the columns are a, b")
    );
}

#[test]
fn a_log_without_traces_is_an_error_and_one_as_an_object_is_one() {
    let host = Host::new();
    for log in
        [json!(null), json!({ "log": {} }), json!({ "log": { "trace": [] } }), json!({ "log": { "trace": "x" } })]
    {
        let refused = host.process::<LogTrace>(json!({}), json!({ "log": log })).unwrap_err();
        assert!(refused.message().starts_with("No trace data found"), "{refused}");
    }
    let sent = host.process::<LogTrace>(json!({}), json!({ "log": { "log": { "trace": { "event": [] } } } })).unwrap();
    assert_eq!(sent.len(), 1);
}

#[test]
fn a_service_in_trouble_is_asked_once_more_and_only_if_it_is_worth_it() {
    let url = "http://api.test/repos/o/r/contents";
    let config = json!({ "username": "o", "repoName": "r", "token": "secret:GH", "apiUrl": "http://api.test/" });
    let answer = |status: u16, after: Option<&str>| {
        let headers = after.map(|after| ("retry-after".to_owned(), after.to_owned())).into_iter().collect();
        Response { status, headers, body: b"[]".to_vec() }
    };
    for (status, after, retried) in
        [(429, Some("2"), true), (503, None, true), (429, Some("60"), false), (401, None, false)]
    {
        let host = Host::new();
        host.secret("GH").answer_with("GET", url, answer(status, after)).answer("GET", url, 200, json!([]));
        let sent = host.process::<GithubCollector>(config.clone(), json!({}));
        assert_eq!(sent.is_ok(), retried, "{status} {after:?}");
        assert_eq!(host.requests().len(), if retried { 2 } else { 1 });
        if let Err(refused) = sent {
            assert_eq!(refused.code(), Some(format!("http-{status}").as_str()));
        }
    }
    let host = Host::new();
    host.secret("GH").answer("GET", url, 200, json!([]));
    let msg = json!({ "req": { "body": { "token": "secret:GH" } } });
    let mut other = config.clone();
    other["token"] = json!("");
    let refused = host.process::<GithubCollector>(other, msg).unwrap_err();
    assert!(refused.message().contains("names a secret"), "{refused}");
    assert!(host.requests().is_empty());
}

#[test]
fn a_token_that_stands_in_the_flow_is_used_and_warned_about_once() {
    let url = "http://api.test/repos/o/r/contents";
    let config = json!({ "username": "o", "repoName": "r", "token": "ghp_x", "apiUrl": "http://api.test" });
    let host = Host::new();
    host.answer("GET", url, 200, json!([]));
    for _ in 0..3 {
        host.process::<GithubCollector>(config.clone(), json!({})).unwrap();
    }
    assert!(host.requests()[0].headers.contains(&("authorization".to_owned(), "token ghp_x".to_owned())));
    assert_eq!(host.logs().len(), 1);
    assert!(host.logs()[0].starts_with("warn: the property token of this node holds the secret itself"));
    assert!(!host.logs()[0].contains("ghp_x"));
    // A caller's own token is the caller's affair.
    let host = Host::new();
    host.secret("GH").answer("GET", url, 200, json!([]));
    let mut named = config;
    named["token"] = json!("secret:GH");
    host.process::<GithubCollector>(named, json!({ "req": { "body": { "token": "ghp_y" } } })).unwrap();
    assert!(host.logs().is_empty(), "{:?}", host.logs());
}

#[test]
fn a_cut_answer_is_an_error() {
    let host = Host::new();
    host.answer("GET", "http://api.test/repos/o/r/contents", 200, json!("[{\"name\": \"a"));
    let config = json!({ "username": "o", "repoName": "r", "token": "t", "apiUrl": "http://api.test" });
    assert!(error::<GithubCollector>(&host, config).contains("EOF"));
}

#[test]
fn all_pages_of_a_board_are_read_and_only_github_counts() {
    let action = |n: usize, url: &str| json!({ "id": format!("a{n}"), "data": { "card": { "id": format!("c{}", n % 3) }, "attachment": { "url": url } } });
    let first: Vec<Value> = (0..50).map(|n| action(n, "https://example.org/x")).collect();
    let url = "http://api.test/1/boards/b/actions?key=k&token=t";
    let host = Host::new();
    host.answer("GET", url, 200, json!(first));
    host.answer("GET", &format!("{url}&before=a49"), 200, json!([action(51, "https://github.com/o/r")]));
    let config = json!({ "boardId": "b", "key": "k", "token": "t", "apiUrl": "http://api.test" });
    let sent = host.process::<TrelloCollector>(config, json!({})).unwrap();
    let urls: Vec<&Value> = sent.iter().map(|sent| &sent.msg["payload"]).collect();
    assert_eq!(urls, ["https://github.com/o/r", "UNKNOWN", "UNKNOWN"]);
}

#[test]
fn the_repository_of_a_card_is_on_github_or_there_is_none() {
    let url = "http://api.test/1/cards/a%2Fb/attachments?key=k&token=t";
    let config = json!({ "cardId": "a/b", "apiKey": "k", "trelloToken": "t", "apiUrl": "http://api.test" });
    let host = Host::new();
    host.answer("GET", url, 200, json!([{}, { "url": "https://github.io/x" }, { "url": "https://GitHub.com/o/r" }]));
    let sent = host.process::<ProjectToUrl>(config.clone(), json!({})).unwrap();
    assert_eq!(sent[0].msg["payload"], "https://GitHub.com/o/r");
    let host = Host::new();
    host.answer("GET", url, 200, json!([{ "url": "https://github.io/x" }]));
    assert!(error::<ProjectToUrl>(&host, config).starts_with("There is no URL to a GitHub repository"));
}

#[test]
fn documents_are_read_from_github_and_the_web() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../documents/tests/files/typst.pdf");
    let host = Host::new();
    let contents = "http://api.test/repos/o/r/contents/docs/a%20b.pdf";
    host.answer("GET", contents, 200, json!({ "download_url": "http://raw.test/a" }));
    host.answer_with(
        "GET",
        "http://raw.test/a",
        Response { status: 200, headers: Vec::new(), body: std::fs::read(path).unwrap() },
    );
    let config = json!({ "user": "o", "repo": "r", "path": "/docs", "docName": "a b", "githubToken": "t", "apiUrl": "http://api.test" });
    let sent = host.process::<UrlToDoc>(config, json!({})).unwrap();
    assert!(sent[0].msg["payload"].as_str().unwrap().contains("Security policy"));
    assert!(host.requests()[1].headers.is_empty(), "the token goes to the API only");
    let host = Host::new();
    let headers = vec![("content-type".to_owned(), "text/plain; charset=iso-8859-1".to_owned())];
    host.answer_with("GET", "http://w.test/a.txt", Response { status: 200, headers, body: b"Gr\xf6\xdfe".to_vec() });
    let sent =
        host.process::<UrlToDoc>(json!({ "valueType": "URL", "url": "http://w.test/a.txt" }), json!({})).unwrap();
    assert_eq!(sent[0].msg["payload"], "Größe");
    host.answer_with(
        "GET",
        "http://w.test/a.docx",
        Response { status: 200, headers: Vec::new(), body: b"PK".to_vec() },
    );
    let refused = error::<UrlToDoc>(&host, json!({ "valueType": "URL", "url": "http://w.test/a.docx" }));
    assert!(refused.starts_with("Unsupported file type"), "{refused}");
    assert_eq!(error::<UrlToDoc>(&host, json!({ "valueType": "URL" })), "URL not provided");
}
