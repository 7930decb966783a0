//! A process log of any known format, as `{"log": {"trace": [...]}}`.

use serde_json::{Map, Value};

use crate::csv_log::{self, Columns};
use crate::ocel::{self, Ocel};
use crate::traces::{List, written};
use crate::{Unreadable, charset, gzip, xes, xml};

/// What is needed to read logs that do not say it themselves.
pub struct Options<'o> {
    /// The object type whose objects are the traces of an OCEL log; empty for the only one.
    pub object_type: &'o str,
    pub columns: Columns<'o>,
    /// Size of the log, unpacked, bytes.
    pub bytes_max: u64,
}

/// Reads XES, OCEL 2.0 (XML or JSON), JSON as it is, or CSV (if `name` ends in `.csv` or `.csv.gz`); all of them in gzip,
/// too. JSON that is an OCEL log is one of traces only if an object type is named.
///
/// What is read is given as JSON text: no more than one trace is held as values beside it, of JSON nothing.
pub fn read_text(bytes: &[u8], name: &str, options: &Options<'_>) -> Result<String, Unreadable> {
    let bytes = gzip::inflate(bytes, options.bytes_max)?;
    let label = charset::of_xml(&bytes);
    let text = charset::decode(&bytes, label.as_deref())?;
    let start = text.trim_start();
    if start.is_empty() {
        return Err(Unreadable::new("the log is empty"));
    }
    if start.starts_with('<') {
        return text_of_xml(start, options);
    }
    if is_csv(name) {
        return csv_log::log(&csv_log::table(&text, b',')?, &options.columns);
    }
    let broken = |error: String| Unreadable::new(format!("Failed to parse JSON: {error}"));
    if !options.object_type.is_empty()
        && let Some(ocel) = Ocel::of_json(start).map_err(broken)?
    {
        return ocel.traces_of(options.object_type);
    }
    serde_json::from_str::<serde_core::de::IgnoredAny>(start).map_err(|error| broken(error.to_string()))?;
    Ok(start.to_owned())
}

fn text_of_xml(text: &str, options: &Options<'_>) -> Result<String, Unreadable> {
    if text.contains("<objects") && text.contains("<events") {
        let mut ocel = Ocel::default();
        // Traces, if it is no object-centric log, are read below.
        let apart: &[&[&str]] = &[&["objects", "object"], &["events", "event"], &["trace"]];
        let mut take = |name: &str, found: Value| match name {
            "object" => {
                ocel.object_of_xml(&found);
                Ok(())
            }
            "event" => ocel.event_of_xml(&found),
            _ => Ok(()),
        };
        let (name, root) = xml::parse_apart(text, apart, &mut take)?;
        check_root(&name)?;
        if ocel::is_ocel_xml(&root) {
            return ocel.traces_of(options.object_type);
        }
    }
    // Its JSON is about as long as the log.
    let mut traces = List::with_capacity(text.len() + text.len() / 4);
    let mut take = |_: &str, found: Value| {
        traces.push(&written(&xes::trace(found))?);
        Ok(())
    };
    let (name, root) = xml::parse_apart(text, &[&["trace"]], &mut take)?;
    check_root(&name)?;
    traces.in_log(match root {
        Value::Object(log) => log,
        _ => Map::new(),
    })
}

fn is_csv(name: &str) -> bool {
    let path = name.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    path.trim_end_matches(".gz").ends_with(".csv")
}

fn check_root(name: &str) -> Result<(), Unreadable> {
    if name == "log" {
        return Ok(());
    }
    Err(Unreadable::new(format!("its root element is <{name}>: <log> was expected, of XES or OCEL 2.0")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(name: &str, text: &str, object_type: &str) -> Result<String, String> {
        let columns = Columns { case: "c", activity: "a", timestamp: "t" };
        let options = Options { object_type, columns, bytes_max: 1 << 20 };
        read_text(text.as_bytes(), name, &options).map_err(|wrong| wrong.0)
    }

    const TRACE: &str = "<trace><string key='concept:name' value='&lt;1&gt;'/><event/></trace>";

    fn trace(name: &str, events: &str) -> String {
        format!(r#"{{"string":[{{"$":{{"key":"concept:name","value":"{name}"}}}}],"event":[{events}]}}"#)
    }

    #[test]
    fn xes_is_given_trace_by_trace() {
        let one = trace("<1>", "{}");
        for (text, wanted) in [
            ("<log/>".to_owned(), r#"{"log":{"trace":[]}}"#.to_owned()),
            (
                "<?xml version=\"1.0\"?>\n<log a='b'><extension name='x'/></log>".to_owned(),
                r#"{"log":{"$":{"a":"b"},"extension":[{"$":{"name":"x"}}],"trace":[]}}"#.to_owned(),
            ),
            (
                format!("<log>{TRACE}<trace/><global><trace/></global>{TRACE}</log>"),
                format!(r#"{{"log":{{"global":[{{"trace":[""]}}],"trace":[{one},{{"event":[]}},{one}]}}}}"#),
            ),
            // It has the words of an object-centric log, and is none.
            (
                format!("<log><x><objects><object/></objects></x><events><event/></events>{TRACE}</log>"),
                format!(
                    r#"{{"log":{{"x":[{{"objects":[{{"object":[""]}}]}}],"events":[{{"event":[""]}}],"trace":[{one}]}}}}"#
                ),
            ),
        ] {
            assert_eq!(read("l.xes", &text, "").unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn csv_is_given_case_by_case() {
        let event = |more: &str, day: &str| {
            let time = format!(r#""date":[{{"$":{{"key":"time:timestamp","value":"{day}"}}}}]"#);
            format!(r#"{{"string":[{{"$":{{"key":"concept:name","value":"x"}}}}{more}],{time}}}"#)
        };
        let (more, none) = (r#",{"$":{"key":"n","value":"\"2\""}}"#, r#",{"$":{"key":"n","value":""}}"#);
        let one = trace("1", &format!("{},{}", event(more, "d1"), event(none, "d3")));
        let wanted = format!(r#"{{"log":{{"trace":[{one},{}]}}}}"#, trace("2", &event(none, "d2")));
        let text = "c,a,t,n\n1,x,d1,\"\"\"2\"\"\"\n2,x,d2,\n1 , x,d3,\n";
        assert_eq!(read("l.csv?x", text, "").unwrap(), wanted);
        assert_eq!(read("l.csv", "c,a,t\n", "").unwrap(), r#"{"log":{"trace":[]}}"#);
        let wrong = read("l.csv", "c,a,t\n1,x,d\n2,,d\n", "").unwrap_err();
        assert_eq!(wrong, "row 2 has no a; the columns are c, a, t");
    }

    #[test]
    fn an_object_centric_log_is_the_same_in_json_and_xml() {
        let json = r#"{"more": 1, "objects": [{"id": "o1", "type": "order"}, {"id": "i", "type": "item"},
            {"id": "o2", "type": "order"}, {"id": "o1", "type": "order"}],
            "events": [
            {"id": "e2", "type": "pay", "time": "2", "relationships": [{"objectId": "o1"}, {"objectId": "o1", "qualifier": "q"}]},
            {"id": "e1", "type": "place", "time": "1", "attributes": [{"name": "by", "value": "<Ana>"}],
             "relationships": [{"objectId": "i"}, {"objectId": "o1"}]}]}"#;
        let xml = "<log><object-types/><objects><object id='o1' type='order'/><object id='i' type='item'/></objects><objects>\
            <object id='o2' type='order'/><object id='o1' type='order'/></objects><events>\
            <event id='e2' type='pay' time='2'><objects><relationship object-id='o1'/><object object-id='o1'/></objects></event>\
            <event id='e1' type='place' time='1'><attributes><attribute name='by'>&lt;Ana&gt;</attribute></attributes>\
            <objects><relationship object-id='i'/><relationship object-id='o1'/></objects></event></events></log>";
        let event = |name: &str, id: &str, more: &str, time: &str| {
            format!(
                r#"{{"string":[{{"$":{{"key":"concept:name","value":"{name}"}}}},{{"$":{{"key":"ocel:event-id","value":"{id}"}}}}{more}],"date":[{{"$":{{"key":"time:timestamp","value":"{time}"}}}}]}}"#
            )
        };
        let by = r#",{"$":{"key":"by","value":"<Ana>"}}"#;
        let events = format!("{},{}", event("place", "e1", by, "1"), event("pay", "e2", "", "2"));
        let wanted = format!(
            r#"{{"log":{{"string":[{{"$":{{"key":"ocel:object-type","value":"order"}}}}],"trace":[{},{},{}]}}}}"#,
            trace("o1", &events),
            trace("o2", ""),
            trace("o1", "")
        );
        for (name, text) in [("l.json", json), ("l.xml", xml)] {
            assert_eq!(read(name, text, "order").unwrap(), wanted, "{name}");
            let wrong = read(name, text, "cart").unwrap_err();
            assert_eq!(wrong, "the log has no objects of type cart; it has item, order", "{name}");
        }
        assert_eq!(read("l.json", json, "").unwrap(), json);
        assert!(read("l.xml", xml, "").unwrap_err().ends_with("choose an object type of item, order"));
    }

    #[test]
    fn what_is_wrong_in_an_object_centric_log_is_named() {
        let text = r#"{"objects": [], "events": [{"id": "e"}, {"id": 1e999}]}"#;
        assert!(
            read("l.json", text, "order").unwrap_err().starts_with("Failed to parse JSON: events[1]: number out of")
        );
    }

    #[test]
    fn what_is_no_log_is_refused_and_other_json_is_as_it_came() {
        let same = " {\"b\": [1.0, null], \"a\": {}} ";
        for object_type in ["", "order"] {
            assert_eq!(read("l.json", same, object_type).unwrap(), same.trim_start());
            for text in ["", " ", "<logs/>", "<log><trace></log>", "{]", "{\"objects\":[],\"events\":[}"] {
                assert!(read("l", text, object_type).is_err(), "{text}");
            }
        }
    }
}
