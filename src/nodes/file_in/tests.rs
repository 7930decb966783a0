//! Files read in every form.

use super::super::file::tests::rig;
use super::super::rig::msg;
use super::*;

async fn read(content: &[u8], config: &str) -> Vec<Msg> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), content).unwrap();
    let rig = rig(dir.path(), "file in", &format!(r#"{{"filename":"a","filenameType":"str",{config}}}"#));
    assert_eq!(rig.problems(), []);
    rig.inject(0, msg(r#"{"_msgid":"m","topic":"t","x":1,"payload":"old"}"#)).await;
    rig.out().into_iter().map(|(_, _, msg)| msg).collect()
}

fn json(msgs: &[Msg]) -> Vec<String> {
    msgs.iter().map(|msg| msg.to_value().to_json()).collect()
}

#[tokio::test]
async fn a_whole_file_is_the_payload() {
    let out = read("é".as_bytes(), r#""format":"utf8""#).await;
    assert_eq!(json(&out), [r#"{"topic":"t","x":1,"payload":"é","filename":"a"}"#]);
    let out = read(b"\xe9", r#""format":"utf8","encoding":"latin1""#).await;
    assert_eq!(out[0].payload(), &"é".into());
    let out = read(b"\xff\x00", r#""format":"""#).await;
    assert_eq!(out[0].payload(), &Value::Bytes(Arc::new(vec![255, 0])));
}

#[tokio::test]
async fn lines_come_one_by_one_and_the_last_says_how_many() {
    let out = read(b"a\nb\n", r#""format":"lines""#).await;
    assert_eq!(
        json(&out),
        [
            r#"{"topic":"t","filename":"a","parts":{"index":0,"ch":"\n","type":"string","id":"m"},"payload":"a"}"#,
            r#"{"topic":"t","filename":"a","parts":{"index":1,"ch":"\n","type":"string","id":"m"},"payload":"b"}"#,
            r#"{"topic":"t","filename":"a","parts":{"index":2,"ch":"\n","type":"string","id":"m","count":3},"payload":""}"#,
        ]
    );
    assert_eq!(read(b"", r#""format":"lines""#).await.len(), 1);
    let kept = read(b"a", r#""format":"lines","allProps":true"#).await;
    assert_eq!(kept[0].get("x"), Some(&1.into()));
}

/// A character at the border of two pieces is one character.
#[tokio::test]
async fn characters_are_whole_across_pieces() {
    let text = format!("{}é\nend", "x".repeat(PIECE - 1));
    let out = read(text.as_bytes(), r#""format":"lines""#).await;
    assert_eq!(out.len(), 2);
    assert!(out[0].payload().as_str().unwrap().ends_with("xé"));
}

#[tokio::test]
async fn pieces_have_parts_that_join_again() {
    for (bytes, sizes) in [(0, vec![]), (10, vec![10]), (PIECE, vec![PIECE, 0]), (PIECE + 1, vec![PIECE, 1])] {
        let out = read(&vec![7; bytes], r#""format":"stream""#).await;
        let found: Vec<usize> =
            out.iter().map(|m| m.payload().get("length").as_f64().unwrap_or(0.0) as usize).collect();
        assert_eq!(found, sizes, "{bytes}");
        let counts: Vec<Value> = out.iter().map(|m| m.get("parts").unwrap().get("count")).collect();
        assert!(counts.iter().rev().skip(1).all(Value::is_undefined));
        assert!(counts.last().is_none_or(|count| count.as_f64().is_some()));
    }
}

#[tokio::test]
async fn errors_go_to_catch_nodes_and_on() {
    let dir = tempfile::tempdir().unwrap();
    for (config, ids) in [("", vec!["c", "f"]), (r#","sendError":false"#, vec!["c"])] {
        let rig = rig(
            dir.path(),
            "file in",
            &format!(r#"{{"filename":"none","filenameType":"str","format":"utf8"{config}}}"#),
        );
        rig.inject(0, msg(r#"{"payload":"old"}"#)).await;
        let mut out = rig.out();
        out.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(out.iter().map(|o| o.0.as_str()).collect::<Vec<_>>(), ids);
        let caught = out[0].2.get("error").unwrap();
        assert_eq!(caught.get("message"), "Error: ENOENT: no such file or directory, open 'none'".into());
        if let Some((_, _, sent)) = out.get(1) {
            assert_eq!((sent.payload(), sent.get("error").unwrap().get("code")), (&Value::Undefined, "ENOENT".into()));
        }
    }
    let rig = rig(dir.path(), "file in", r#"{"filename":".","filenameType":"str","format":"utf8"}"#);
    rig.inject(0, msg("{}")).await;
    assert!(rig.out().iter().any(|o| o.2.get("error").unwrap().get("code") == "EISDIR".into()));
}
