//! The csv node: both ways of reading and writing, and sequences of lines.

use crate::nodes::testbed::Bed;

use super::TYPE;

/// `payload` and `columns` of what comes out.
fn out(config: &str, msgs: &[&str]) -> Vec<String> {
    let shown = |m: &crate::model::Msg| {
        format!("{} {}", m.payload().to_json(), m.get("columns").map_or("-".into(), |c| c.to_js_string()))
    };
    Bed::new(TYPE, config).send(msgs).iter().map(|(_, m)| shown(m)).collect()
}

#[test]
fn both_ways_read_what_is_alike() {
    for spec in ["", "rfc"] {
        let config = |more: &str| format!(r#"{{"spec":"{spec}","multi":"mult"{more}}}"#);
        for (more, text, expected) in [
            (r#","temp":"a,b""#, r#"1,x\n2,\"y, z\""#, r#"[{"a":1,"b":"x"},{"a":2,"b":"y, z"}] a,b"#),
            (r#","hdrin":true"#, r"a,b\r\n1,2\r\n", r#"[{"a":1,"b":2}] a,b"#),
            ("", r##"1,\"\"\"q\"\"\""##, r#"[{"col1":1,"col2":"\"q\""}] col1,col2"#),
            (r#","temp":"a,,c""#, "1,2,3", r#"[{"a":1,"c":3}] a,c"#),
            (r#","temp":"a,b","strings":false"#, "1,2", r#"[{"a":"1","b":"2"}] a,b"#),
            (r#","temp":"a,b","skip":"1","hdrin":true"#, r"# x\r\nc,d\r\n1,2", r#"[{"c":1,"d":2}] c,d"#),
            (r#","temp":"a,b,c","include_null_values":true"#, "1,,3", r#"[{"a":1,"b":null,"c":3}] a,b,c"#),
            (r#","temp":"a,b","sep":"\\t""#, r"1\t2", r#"[{"a":1,"b":2}] a,b"#),
            (r#","temp":"a,b","sep":"ä""#, r"1ä2", r#"[{"a":1,"b":2}] a,b"#),
        ] {
            assert_eq!(
                out(&config(more), &[&format!(r#"{{"payload":"{text}"}}"#)]),
                [expected],
                "{spec} {more} {text}"
            );
        }
    }
}

#[test]
fn both_ways_write_what_is_alike() {
    for spec in ["", "rfc"] {
        let config = |more: &str| format!(r#"{{"spec":"{spec}","ret":"\\n"{more}}}"#);
        for (more, payload, expected) in [
            (r#","temp":"a,b""#, r#"{"a":1,"b":"x,y"}"#, r#""1,\"x,y\"\n" a,b"#),
            (r#","temp":"a,b","hdrout":"all""#, r#"[{"a":1},{"b":"q\"q"}]"#, r#""a,b\n1,\n,\"q\"\"q\"\n" a,b"#),
            ("", "[[1,2],[3,4]]", r#""1,2\n3,4\n" "#),
            ("", r#"[1,"a\nb"]"#, r#""1,\"a\nb\"\n" "#),
            (r#","hdrout":"all""#, r#"[{"x":1,"y":2}]"#, r#""x,y\n1,2\n" x,y"#),
        ] {
            assert_eq!(
                out(&config(more), &[&format!(r#"{{"payload":{payload}}}"#)]),
                [expected],
                "{spec} {more} {payload}"
            );
        }
    }
}

#[test]
fn a_message_per_row_is_a_sequence() {
    let bed = Bed::new(TYPE, r#"{"temp":"a","multi":"one"}"#);
    let parts: Vec<String> = bed
        .send(&[r#"{"payload":"1\n2","_msgid":"m"}"#])
        .iter()
        .map(|(_, m)| m.get("parts").unwrap().to_json())
        .collect();
    assert_eq!(parts, [r#"{"id":"m","index":0,"count":2}"#, r#"{"id":"m","index":1,"count":2}"#]);
}

#[test]
fn lines_of_a_sequence_become_one_message_whether_or_not_they_end() {
    for spec in ["", "rfc"] {
        for end in ["", r"\n"] {
            let line = |i: usize, text: &str| {
                format!(r#"{{"payload":"{text}{end}","parts":{{"id":"s","index":{i},"count":3}}}}"#)
            };
            let msgs = [line(0, "a,b"), line(1, "1,2"), line(2, "3,4")];
            let config = format!(r#"{{"spec":"{spec}","hdrin":true,"multi":"mult"}}"#);
            let expected = [r#"[{"a":1,"b":2},{"a":3,"b":4}] a,b"#];
            assert_eq!(out(&config, &msgs.each_ref().map(String::as_str)), expected, "{spec:?} {end:?}");
        }
    }
}

#[test]
fn the_header_is_written_once_until_reset() {
    let config = r#"{"temp":"a","hdrout":"once"}"#;
    let msgs = [r#"{"payload":{"a":1}}"#, r#"{"payload":{"a":2}}"#, r#"{"reset":true}"#, r#"{"payload":{"a":3}}"#];
    assert_eq!(out(config, &msgs), [r#""a\n1\n" a"#, r#""2\n" a"#, r#""a\n3\n" a"#]);
}

#[test]
fn what_is_no_csv_is_said() {
    let bed = Bed::new(TYPE, r#"{"temp":"a"}"#);
    assert!(bed.send(&[r#"{"payload":1}"#]).is_empty());
    assert_eq!(*bed.warnings.lock().unwrap(), ["This node only handles CSV strings or js objects."]);
    let bed = Bed::new(TYPE, r#"{"spec":"rfc","hdrin":true}"#);
    assert!(bed.error(r#"{"payload":"a\"b,c\n1,2"}"#).starts_with("Quote found"));
    let problems = crate::nodes::testbed::problems(&TYPE, r#"{"spec":"rfc","temp":"a\"b"}"#);
    assert_eq!(problems[0].code, "invalid-columns");
    let texts = ["\"", "\"\"\"", ",", "\r", "a\"\"b,\"", "\u{1F600},\"x", ",,\n,\"\"\n\""];
    for text in texts {
        for config in ["{}", r#"{"spec":"rfc"}"#, r#"{"hdrin":true}"#, r#"{"spec":"rfc","multi":"mult"}"#] {
            let mut msg = crate::model::Msg::new();
            msg.set("payload", text);
            Bed::new(TYPE, config).send_msgs(vec![msg]);
        }
    }
}
