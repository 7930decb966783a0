//! The html node: contents as cheerio writes them, and selectors.

use crate::nodes::testbed::Bed;

use super::TYPE;

const PAGE: &str = "<div id=a class='x y' data-q='a&quot;b<c>&amp;d'>  <p>café &amp; $5 'q' &nbsp;😀<br><img src=x \
                    alt=''></p><!--c--><script>var a='<b>'&&1</script><table><tr><td>1<td>2</table>\
                    <ul><li>one<li>two<li>three</ul></div>";

fn out(config: &str) -> Vec<String> {
    let mut msg = crate::model::Msg::new();
    msg.set("payload", PAGE);
    Bed::new(TYPE, config).send_msgs(vec![msg]).iter().map(|(_, m)| m.payload().to_json()).collect()
}

fn selected(tag: &str, ret: &str) -> String {
    out(&serde_json::json!({ "tag": tag, "ret": ret }).to_string()).concat()
}

#[test]
fn contents_are_as_cheerio_writes_them() {
    for (tag, ret, expected) in [
        ("p", "html", r#"["caf&#xE9; &amp; $5 &apos;q&apos; &#xA0;&#x1F600;<br/><img src=\"x\" alt=\"\"/>"]"#),
        ("p", "compl", r#"[{"_":"café &amp; $5 'q' &nbsp;😀<br><img src=\"x\" alt=\"\">"}]"#),
        ("tr", "html", r#"["<td>1</td><td>2</td>"]"#),
        ("script", "html", r#"["var a=&apos;<b>&apos;&amp;&amp;1</b>"]"#),
        ("div", "text", r#"["  café & $5 'q'  😀12onetwothree"]"#),
        ("script", "text", r#"[""]"#),
        ("[data-q]", "attr", r#"[{"id":"a","class":"x y","data-q":"a\"b<c>&d"}]"#),
        ("LI, #a > p", "text", r#"["café & $5 'q'  😀","one","two","three"]"#),
        ("li:first", "text", r#"["one"]"#),
        ("li:eq(-1)", "text", r#"["three"]"#),
        ("li:gt(0):lt(1)", "text", r#"["two"]"#),
        ("li:odd, li:contains(\"th\")", "text", r#"["two","three"]"#),
        ("p:has(br)", "attr", "[{}]"),
        ("h1", "html", "[]"),
    ] {
        assert_eq!(selected(tag, ret).replace('\u{a0}', " "), expected, "{tag} {ret}");
    }
}

#[test]
fn each_element_may_be_a_message_of_a_sequence() {
    assert_eq!(out(r#"{"tag":"li","ret":"text","as":"multi"}"#), ["\"one\"", "\"two\"", "\"three\""]);
    // What is empty goes in no message.
    assert!(out(r#"{"tag":"script","ret":"text","as":"multi"}"#).is_empty());
}

#[test]
fn a_selector_that_is_none_is_a_problem() {
    let problems = crate::nodes::testbed::problems(&TYPE, r#"{"tag":"li["}"#);
    assert_eq!(problems[0].code, "invalid-selector");
    let bed = Bed::new(TYPE, "{}");
    assert!(bed.error(r#"{"payload":"<p>","select":"::"}"#).contains("invalid selector"));
    assert!(bed.error(r#"{"payload":5,"select":"p"}"#).contains("expected HTML"));
    assert_eq!(bed.payload(r#"{"payload":"<p>"}"#).to_json(), "[]");
}

#[test]
fn a_deep_document_is_no_danger() {
    let mut msg = crate::model::Msg::new();
    msg.set("payload", "<b>".repeat(50_000));
    let out = Bed::new(TYPE, r#"{"tag":"b:first"}"#).send_msgs(vec![msg]);
    assert_eq!(out.len(), 1);
}
