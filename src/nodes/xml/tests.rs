//! The xml node: the options of xml2js, and what is refused.

use crate::nodes::testbed::{Bed, json};

use super::TYPE;

/// What comes of `payload` with `msg.options`.
fn converted(config: &str, payload: &str, options: &str) -> String {
    let mut msg = crate::model::Msg::new();
    msg.set("payload", json(payload));
    if !options.is_empty() {
        msg.set("options", json(options));
    }
    let out = Bed::new(TYPE, config).send_msgs(vec![msg]);
    let (port, msg) = &out[0];
    assert_eq!(*port, 0, "{out:?}");
    msg.payload().to_json()
}

#[test]
fn reads_as_xml2js_does() {
    const DOC: &str = r#""<a x='1' y='&lt;'>t<b>1</b><b> </b><C/><d><![CDATA[<&]]></d>&amp;&#65;</a>""#;
    for (options, expected) in [
        ("", r#"{"a":{"_":"t&A","$":{"x":"1","y":"<"},"b":["1"," "],"C":[""],"d":["<&"]}}"#),
        (r#"{"explicitArray":false}"#, r#"{"a":{"_":"t&A","$":{"x":"1","y":"<"},"b":["1"," "],"C":"","d":"<&"}}"#),
        (r#"{"explicitRoot":false,"ignoreAttrs":true}"#, r#"{"_":"t&A","b":["1"," "],"C":[""],"d":["<&"]}"#),
        (
            r#"{"mergeAttrs":true,"normalizeTags":true,"emptyTag":null}"#,
            r#"{"a":{"_":"t&A","x":["1"],"y":["<"],"b":["1",null],"c":[null],"d":["<&"]}}"#,
        ),
        (
            r#"{"explicitCharkey":true,"attrkey":"@"}"#,
            r##"{"a":{"_":"t&A","@":{"x":"1","y":"<"},"b":[{"_":"1"}," "],"C":[""],"d":[{"_":"<&"}]}}"##,
        ),
        (
            r#"{"explicitChildren":true}"#,
            r#"{"a":{"$":{"x":"1","y":"<"},"_":"t&A","$$":{"b":["1"," "],"C":[""],"d":["<&"]}}}"#,
        ),
    ] {
        assert_eq!(converted("{}", DOC, options), expected, "{options}");
    }
    let config = r##"{"attr":"at","chr":"#"}"##;
    assert_eq!(
        converted(config, r#""<a x='1'> t  u </a>""#, r#"{"trim":true,"normalize":true}"#),
        r##"{"a":{"#":"t u","at":{"x":"1"}}}"##
    );
    assert_eq!(converted("{}", "\"  \"", ""), "null");
}

#[test]
fn namespaces_are_told_apart_on_request() {
    let doc = r#""<p:a xmlns:p='urn:x' p:k='1'/>""#;
    let expected = r#"{"p:a":{"$":{"xmlns:p":{"name":"xmlns:p","value":"urn:x","prefix":"xmlns","local":"p","uri":"http://www.w3.org/2000/xmlns/"},"p:k":{"name":"p:k","value":"1","prefix":"p","local":"k","uri":"urn:x"}},"$ns":{"uri":"urn:x","local":"a"}}}"#;
    assert_eq!(converted("{}", doc, r#"{"xmlns":true}"#), expected);
}

#[test]
fn writes_as_xml2js_does() {
    const HEAD: &str = r#"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>"#;
    for (payload, options, expected) in [
        (
            r#"{"a":{"$":{"x":"<\"&"},"b":["1",2,{"c":null}],"_":"t>"}}"#,
            "",
            "{HEAD}<a x=\\\"&lt;&quot;&amp;\\\"><b>1</b><b>2</b><b><c/></b>t&gt;</a>",
        ),
        (r#"{"a":1,"b":""}"#, "", "{HEAD}<root><a>1</a><b/></root>"),
        (r#"{"a":{"b":"1"}}"#, "{}", "{HEAD}\\n<a>\\n  <b>1</b>\\n</a>"),
        (
            r#"{"a":{"b":"<"}}"#,
            r#"{"headless":true,"cdata":true,"renderOpts":{"pretty":false}}"#,
            "<a><b><![CDATA[<]]></b></a>",
        ),
        (r#"{"a":""}"#, r#"{"headless":true,"rootName":"r","renderOpts":{"allowEmpty":true}}"#, "<r><a></a></r>"),
        (r#"[{"a":1},{"b":2}]"#, r#"{"headless":true,"renderOpts":{}}"#, "<root><a>1</a><b>2</b></root>"),
    ] {
        let expected = format!("\"{}\"", expected.replace("{HEAD}", HEAD));
        assert_eq!(converted("{}", payload, options), expected, "{payload} {options}");
    }
}

#[test]
fn what_is_no_xml_is_an_error_with_its_place() {
    let bed = Bed::new(TYPE, "{}");
    for (text, what) in [
        ("<a><b></a>", "column"),
        ("<a>", "Unclosed root tag"),
        ("x<a/>", "Non-whitespace before first tag"),
        ("<a b=c/>", "column"),
        ("<a>&nope;</a>", "nope"),
        ("<1/>", "Invalid tag name"),
        ("<!-- -->", "no root"),
    ] {
        let error = bed.error(&serde_json::json!({ "payload": text }).to_string());
        assert!(error.contains(what) && error.contains("line 1"), "{text}: {error}");
    }
    let deep = "<a>".repeat(100_000);
    assert!(bed.error(&serde_json::json!({ "payload": deep }).to_string()).contains("nested deeper"));
    assert!(bed.error(r#"{"payload":{"a b":1}}"#).contains("Invalid character in name"));
    assert!(bed.error(r#"{"payload":{"a":"\u0001"}}"#).contains("U+0001"));
    assert!(bed.send(&[r#"{"payload":1}"#]).is_empty());
}
