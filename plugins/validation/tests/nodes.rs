//! The nodes through the SDK's host: what they find, what they take for unknown, what they ask whom.

#![allow(clippy::unwrap_used)]

use probity_sdk::testing::{Host, Response};
use probity_sdk::{Error, NodeType, Value, json};
use validation::{CheckProperty, ExistsPipe, ExistsSectionInDoc, ExistsUrl, HasActivity, IsValidUrl};

fn one<N: NodeType>(config: Value, msg: Value) -> Value {
    Host::new().process::<N>(config, msg).unwrap()[0].msg["payload"].clone()
}

fn error<N: NodeType>(config: Value, msg: Value) -> Error {
    Host::new().process::<N>(config, msg).unwrap_err()
}

#[test]
fn a_text_from_the_editor_equals_what_it_spells() {
    let check = |expected: Value, value: Value| {
        let config = json!({ "propertyToCheck": "p", "expectedValue": expected });
        one::<CheckProperty>(config, json!({ "payload": { "p": value } }))["result"] == true
    };
    for (expected, value) in [
        (json!("1"), json!(1)),
        (json!("1.0"), json!(1)),
        (json!("true"), json!(true)),
        (json!("null"), json!(null)),
        (json!([1, { "a": null }]), json!([1.0, { "a": null }])),
    ] {
        assert!(check(expected.clone(), value.clone()), "{expected} {value}");
    }
    for (expected, value) in [
        (json!("1"), json!(2)),
        (json!("True"), json!(true)),
        (json!(1), json!("1")),
        (json!(false), json!(0)),
        (json!(["1"]), json!([1])),
        (json!("[1]"), json!([1])),
    ] {
        assert!(!check(expected.clone(), value.clone()), "{expected} {value}");
    }
}

#[test]
fn a_property_that_is_not_there_is_unknown() {
    let config = json!({ "propertyToCheck": "status", "expectedValue": "active" });
    let missing = error::<CheckProperty>(config.clone(), json!({ "payload": { "a": 1, "b": 2 } }));
    let expected = "\"status\" is not there, so whether it is \"active\" is unknown; what there is: a, b";
    assert_eq!(missing.message(), expected);
    let list = json!({ "payload": [{ "status": "active" }, {}], "parts": { "index": 0 } });
    let found = one::<CheckProperty>(config.clone(), list);
    assert_eq!(found, json!({ "event": [{ "status": "active" }, {}], "result": true }));
    let beyond =
        json!({ "payload": {}, "array": [], "parts": { "index": 3 }, "expectedValue": 1, "propertyToCheck": "x" });
    assert_eq!(error::<CheckProperty>(config, beyond).message(), "msg.parts.index is 3, which msg.array does not have");
}

#[test]
fn the_evidence_counts_what_came_in() {
    let host = Host::new();
    let config = json!({ "count": 2, "storeEvidences": true });
    let sent = host.process::<ExistsPipe>(config, json!({ "payload": { "a": 1, "b": 2 } })).unwrap();
    assert_eq!(sent[0].msg["payload"]["evidences"][0]["value"], json!({ "expected": 2, "actual": 2 }));
    assert_eq!(
        error::<ExistsPipe>(json!({ "count": "" }), json!({ "payload": [] })).message(),
        "count is \"\": a number was expected"
    );
    assert!(error::<ExistsPipe>(json!({}), json!({ "payload": 5 })).message().starts_with("a number was found"));
}

#[test]
fn an_activity_is_found_by_its_whole_name() {
    let has = |how: &str, name: &str| {
        let config = json!({ "conceptName": "Approve", "attribute": "activity", "match": how });
        one::<HasActivity>(config, json!({ "payload": { "events": [{ "activity": name }] } }))["result"] == true
    };
    for (how, name, found) in [
        ("exact", "Approve", true),
        ("exact", "Aprove", false),
        ("exact", "approve", false),
        ("exact", "Approve order", false),
        ("ignore-case", "APPROVE", true),
        ("ignore-case", "Approve order", false),
        ("contains", "Dis-approve it", true),
        ("contains", "Aprove", false),
    ] {
        assert_eq!(has(how, name), found, "{how} {name}");
    }
    assert!(
        error::<HasActivity>(json!({ "conceptName": "A", "attribute": "x" }), json!({ "payload": { "foo": 1 } }))
            .message()
            .contains("a list of events was expected")
    );
}

#[test]
fn local_addresses_are_valid_and_nothing_is_asked() {
    let host = Host::new();
    let sent = host
        .process::<IsValidUrl>(json!({ "property": "u" }), json!({ "payload": { "u": "http://localhost:1880/x" } }))
        .unwrap();
    assert_eq!(sent[0].msg["payload"]["result"], true);
    assert!(host.requests().is_empty());
}

fn answered(status: u16, headers: &[(&str, &str)]) -> Response {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Response { status, headers, body: Vec::new() }
}

#[test]
fn an_address_exists_if_it_answers() {
    let url = "https://example.org/a";
    let ask = |answer: Response| {
        let host = Host::new();
        host.answer_with("GET", url, answer);
        host.process::<ExistsUrl>(json!({ "storeEvidences": true }), json!({ "payload": url }))
    };
    for (status, result) in [(200, true), (204, true), (404, false), (410, false)] {
        let payload = ask(answered(status, &[])).unwrap()[0].msg["payload"].clone();
        assert_eq!((&payload["url"], &payload["result"]), (&json!(url), &json!(result)), "{status}");
        assert_eq!(payload["evidences"][0]["key"], "URL");
    }
    let busy = ask(answered(429, &[("Retry-After", "30")])).unwrap_err();
    let expected = "the address could not be read (status 429): too many requests; Retry-After says 30 s";
    assert_eq!((busy.code(), busy.message()), (Some("http-429"), expected));
    for status in [302, 401, 403, 500, 503] {
        assert!(ask(answered(status, &[])).is_err(), "{status}");
    }
}

#[test]
fn an_address_that_is_none_or_is_not_known_is_told_apart() {
    assert_eq!(one::<ExistsUrl>(json!({}), json!({ "payload": "not a url" }))["result"], false);
    let host = Host::new();
    host.fail("GET", "https://example.org", Error::new("connection refused"));
    let refused =
        host.process::<ExistsUrl>(json!({ "urlType": "Payload" }), json!({ "payload": { "url": "example.org" } }));
    assert_eq!(refused.unwrap_err().message(), "whether the address exists is unknown: connection refused");
    assert!(
        error::<ExistsUrl>(json!({}), json!({ "payload": {} }))
            .message()
            .starts_with("msg.payload has no property url")
    );
    assert!(error::<ExistsUrl>(json!({ "urlType": "x" }), json!({})).message().starts_with("urlType is \"x\""));
}

fn card(more: Value) -> Value {
    let mut config = json!({ "urlType": "config", "cardId": "c1", "apiKey": "secret:KEY", "trelloToken": "secret:TOKEN",
        "githubToken": "secret:HUB", "trelloApiUrl": "http://trello.test/", "githubApiUrl": "http://hub.test" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

const ATTACHMENTS: &str = "http://trello.test/1/cards/c1/attachments?key=secret%3AKEY&token=secret%3ATOKEN";

fn with_secrets() -> Host {
    let host = Host::new();
    host.secret("KEY").secret("TOKEN").secret("HUB");
    host
}

#[test]
fn a_card_leads_to_its_repository() {
    for (status, result) in [(200, true), (404, false)] {
        let host = with_secrets();
        let list = json!([{ "url": "https://x.test" }, {}, { "url": "https://github.com/octo/repo/tree/main" }]);
        host.answer("GET", ATTACHMENTS, 200, list);
        host.answer("GET", "http://hub.test/repos/octo/repo", status, json!({}));
        let payload =
            host.process::<ExistsUrl>(card(json!({ "storeEvidences": true })), json!({ "payload": { "a": 1 } }));
        let payload = payload.unwrap()[0].msg["payload"].clone();
        assert_eq!((&payload["a"], &payload["result"]), (&json!(1), &json!(result)));
        assert_eq!(payload["evidences"][0]["value"], "https://github.com/octo/repo/tree/main");
        let asked = host.requests();
        assert!(asked[1].headers.contains(&("authorization".to_owned(), "Bearer secret:HUB".to_owned())));
        assert!(!payload.to_string().contains("secret:"));
    }
}

#[test]
fn a_card_without_repository_has_none() {
    for list in
        [json!([]), json!([{ "url": "https://gitlab.com/a/b" }]), json!([{ "url": "https://gist.github.com/a" }])]
    {
        let host = with_secrets();
        host.answer("GET", ATTACHMENTS, 200, list);
        let sent = host.process::<ExistsUrl>(card(json!({})), json!({ "payload": {} })).unwrap();
        assert_eq!(sent[0].msg["payload"]["result"], false);
    }
}

#[test]
fn services_in_trouble_say_nothing_about_a_card() {
    for (status, words) in [
        (401, "was not accepted"),
        (403, "not allowed"),
        (404, "no such thing"),
        (429, "too many requests"),
        (500, "in trouble"),
    ] {
        let host = with_secrets();
        host.answer("GET", ATTACHMENTS, status, json!("x"));
        let error = host.process::<ExistsUrl>(card(json!({})), json!({ "payload": {} })).unwrap_err();
        assert!(error.message().contains(words) && !error.message().contains("secret"), "{error}");
    }
    let host = with_secrets();
    host.answer("GET", ATTACHMENTS, 200, json!("[{\"url\": \"https://git"));
    assert!(host.process::<ExistsUrl>(card(json!({})), json!({ "payload": {} })).is_err());
}

#[test]
fn a_caller_sends_tokens_and_names_no_secrets() {
    let host = with_secrets();
    let body = json!({ "apiKey": "k", "trelloToken": "t", "cardId": "../c2" });
    host.answer("GET", "http://trello.test/1/cards/..%2Fc2/attachments?key=k&token=t", 200, json!([]));
    let msg = json!({ "req": { "body": body }, "payload": {} });
    assert_eq!(host.process::<ExistsUrl>(card(json!({})), msg).unwrap()[0].msg["payload"]["result"], false);
    let named = json!({ "req": { "body": { "apiKey": "secret:OTHER" } }, "payload": {} });
    let refused = host.process::<ExistsUrl>(card(json!({})), named).unwrap_err();
    assert!(refused.message().starts_with("msg.req.body.apiKey names a secret"), "{refused}");
    let elsewhere = json!({ "req": { "body": { "trelloApiUrl": "http://evil.test" } }, "payload": {} });
    _ = host.process::<ExistsUrl>(card(json!({})), elsewhere);
    assert!(host.requests().iter().all(|request| !request.url.contains("evil")));
}

fn section(more: Value) -> Value {
    let mut config = json!({ "section": "2 Access  control", "valueType": "URL", "url": "http://files.test/a" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn pdf(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../documents/tests/files").join(name);
    std::fs::read(path).unwrap()
}

fn served(body: Vec<u8>) -> Host {
    let host = Host::new();
    host.answer_with("GET", "http://files.test/a", Response { status: 200, headers: Vec::new(), body });
    host
}

#[test]
fn sections_are_found_in_texts_and_pdfs() {
    for (body, result) in [
        (b"# Policy\n\n## 2 Access\ncontrol\n".to_vec(), true),
        (b"# Policy\n## 2 access control\n".to_vec(), false),
        (b"{\"title\": \"2 Access control\"}".to_vec(), true),
        (pdf("chromium.pdf"), true),
        (pdf("reportlab.pdf"), true),
    ] {
        let sent = served(body).process::<ExistsSectionInDoc>(section(json!({})), json!({ "payload": "x" })).unwrap();
        assert_eq!(sent[0].msg["payload"], json!({ "result": result, "evidences": [] }));
    }
}

#[test]
fn the_evidence_holds_section_and_text() {
    let long = format!("2 Access control {}", "é".repeat(30_000));
    let host = served(long.into_bytes());
    let sent = host
        .process::<ExistsSectionInDoc>(section(json!({ "storeEvidences": true })), json!({ "payload": {} }))
        .unwrap();
    let evidence = &sent[0].msg["payload"]["evidences"][0];
    assert_eq!((&evidence["key"], &evidence["value"]["section"]), (&json!("Section"), &json!("2 Access  control")));
    assert_eq!(evidence["value"]["data"].as_str().unwrap().chars().count(), 20_001);
}

#[test]
fn a_document_that_cannot_be_read_is_unknown() {
    for (body, words) in [
        (pdf("encrypted.pdf"), "the PDF is encrypted"),
        (pdf("scanned.pdf"), "no text on its 1 pages"),
        (b"%PDF-1.4".to_vec(), "the PDF is broken"),
        (b"\x89PNG\x0d\x0a\x1a\x0a\0".to_vec(), "neither a PDF nor text"),
    ] {
        let error =
            served(body).process::<ExistsSectionInDoc>(section(json!({})), json!({ "payload": {} })).unwrap_err();
        assert!(error.message().contains(words), "{error}");
    }
    let partly = |text: &str| {
        served(pdf("partly-scanned.pdf"))
            .process::<ExistsSectionInDoc>(section(json!({ "section": text })), json!({ "payload": {} }))
    };
    assert_eq!(partly("2 Access control").unwrap()[0].msg["payload"]["result"], true);
    assert!(partly("9 Nowhere").unwrap_err().message().contains("(without text: page 3)"));
    assert_eq!(
        error::<ExistsSectionInDoc>(section(json!({ "section": " " })), json!({})).message(),
        "section is empty: the text to look for was expected"
    );
    let no_url = error::<ExistsSectionInDoc>(section(json!({ "url": "" })), json!({}));
    assert!(no_url.message().starts_with("URL not provided"), "{no_url}");
    let host = Host::new();
    host.answer("GET", "http://files.test/a", 404, json!("no"));
    assert_eq!(host.process::<ExistsSectionInDoc>(section(json!({})), json!({})).unwrap_err().code(), Some("http-404"));
}

fn hub(more: Value) -> Value {
    let mut config = json!({ "section": "2 Access control", "user": "octo", "repo": "repo", "path": "/docs/a b/", "docName":
        "My policy", "githubToken": "secret:HUB", "githubApiUrl": "http://hub.test" });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn documents_of_github_come_with_their_entry_or_from_where_it_says() {
    let entry = "http://hub.test/repos/octo/repo/contents/docs/a%20b/My%20policy.pdf";
    let host = with_secrets();
    // "2 Access control", as GitHub writes it.
    host.answer("GET", entry, 200, json!({ "encoding": "base64", "content": "MiBBY2Nlc3Mg\nY29udHJvbA==\n" }));
    let sent = host.process::<ExistsSectionInDoc>(hub(json!({})), json!({ "payload": {} })).unwrap();
    assert_eq!(sent[0].msg["payload"]["result"], true);

    let host = with_secrets();
    host.answer(
        "GET",
        entry,
        200,
        json!({ "encoding": "none", "content": "", "download_url": "http://raw.test/x?token=1" }),
    );
    let body = pdf("typst.pdf");
    host.answer_with("GET", "http://raw.test/x?token=1", Response { status: 200, headers: Vec::new(), body });
    let sent = host.process::<ExistsSectionInDoc>(hub(json!({})), json!({ "payload": {} })).unwrap();
    assert_eq!(sent[0].msg["payload"]["result"], true);
    let asked = host.requests();
    assert!(asked[0].headers.iter().any(|(_, value)| value == "Bearer secret:HUB"));
    assert!(asked[1].headers.iter().all(|(_, value)| !value.contains("secret")), "the token goes to GitHub's API only");
}

#[test]
fn what_github_does_not_give_is_an_error() {
    let markdown = "http://hub.test/repos/octo/repo/contents/docs/a%20b/README.md";
    let host = with_secrets();
    host.answer("GET", markdown, 200, json!([{ "name": "a folder" }]));
    let folder = host.process::<ExistsSectionInDoc>(hub(json!({ "docName": "README.md" })), json!({})).unwrap_err();
    assert!(folder.message().contains("is not a file"), "{folder}");
    let missing = error::<ExistsSectionInDoc>(hub(json!({ "user": "", "docName": "" })), json!({}));
    assert_eq!(missing.message(), "Missing required parameters: user, docName is empty");
    let host = with_secrets();
    let limited = Response {
        status: 403,
        headers: vec![("X-RateLimit-Remaining".into(), "0".into()), ("X-RateLimit-Reset".into(), "1700000000".into())],
        body: Vec::new(),
    };
    host.answer_with("GET", markdown, limited);
    let error = host.process::<ExistsSectionInDoc>(hub(json!({ "docName": "README.md" })), json!({})).unwrap_err();
    assert!(error.message().contains("none are left before 1700000000"), "{error}");
}
