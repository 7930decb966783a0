//! Files in a folder of the test's own.

use std::sync::Arc;

use super::super::rig::{Rig, msg, node};
use super::*;
use crate::files::Files;
use crate::model::flow::CatchTarget;
use crate::runtime::Limits;

/// A `file` node (index 0) with a catch node behind it.
pub(in crate::nodes) fn rig(dir: &Path, node_type: &str, config: &str) -> Rig {
    let mut first = node("f", node_type, config, &[]);
    first.catch = vec![CatchTarget { node: 1, uncaught_only: false }];
    let nodes = vec![first, node("c", "catch", "{}", &[])];
    Rig::with(nodes, Limits::default(), |services| services.files = Arc::new(Files::new(dir.into())))
}

#[tokio::test]
async fn payloads_are_written_as_node_red_writes_them() {
    for (config, messages, content) in [
        (r#""overwriteFile":"true""#, &[r#"{"payload":"a"}"#, r#"{"payload":"b"}"#][..], "b"),
        (
            r#""overwriteFile":"false""#,
            &[r#"{"payload":"a"}"#, r#"{"payload":1.5}"#, r#"{"payload":true}"#],
            "a1.5true",
        ),
        (
            r#""overwriteFile":"false","appendNewline":true"#,
            &[r#"{"payload":{"a":[1]}}"#, r#"{"payload":null}"#],
            "{\"a\":[1]}\nnull\n",
        ),
        (
            r#""overwriteFile":"false","appendNewline":true"#,
            &[
                r#"{"payload":"x","parts":{"type":"string","index":0,"count":2}}"#,
                r#"{"payload":"y","parts":{"type":"string","index":1,"count":2}}"#,
            ],
            "x\ny",
        ),
        (
            r#""overwriteFile":"true","appendNewline":true"#,
            &[r#"{"payload":{"type":"Buffer"}}"#, "{}"],
            "{\"type\":\"Buffer\"}\n",
        ),
        (r#""overwriteFile":"true","encoding":"latin1""#, &[r#"{"payload":"e"}"#], "e"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let rig = rig(dir.path(), "file", &format!(r#"{{"filename":"a.txt","filenameType":"str",{config}}}"#));
        assert_eq!(rig.problems(), []);
        for message in messages {
            rig.inject(0, msg(message)).await;
        }
        assert_eq!(std::fs::read_to_string(dir.path().join("a.txt")).unwrap(), content, "{config}");
        assert_eq!(rig.out()[0].2.get("filename"), Some(&"a.txt".into()));
    }
}

#[tokio::test]
async fn names_come_from_the_message_and_folders_are_made_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let make = rig(dir.path(), "file", r#"{"filename":"","overwriteFile":"true","createDir":true}"#);
    make.inject(0, msg(r#"{"payload":"x","filename":"deep/er/a"}"#)).await;
    assert_eq!(std::fs::read(dir.path().join("deep/er/a")).unwrap(), b"x");
    let not = rig(dir.path(), "file", r#"{"filename":"to","filenameType":"msg","overwriteFile":"true"}"#);
    not.inject(0, msg(r#"{"payload":"x","to":"none/a"}"#)).await;
    let error = not.out()[0].2.get("error").unwrap().clone();
    assert_eq!(error.get("code"), "ENOENT".into());
    assert_eq!(
        error.get("message"),
        "failed to write to file: Error: ENOENT: no such file or directory, open 'none/a'".into()
    );
    not.inject(0, msg(r#"{"payload":"x"}"#)).await;
    assert!(not.complaints().contains(&"No filename specified".to_string()));
}

#[tokio::test]
async fn deleting_goes_on_with_the_message() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "x").unwrap();
    let rig = rig(dir.path(), "file", r#"{"filename":"a","filenameType":"str","overwriteFile":"delete"}"#);
    rig.inject(0, msg(r#"{"payload":1}"#)).await;
    assert!(!dir.path().join("a").exists());
    assert_eq!(rig.take(), [r#"{"payload":1,"filename":"a"}"#]);
    rig.inject(0, msg(r#"{"payload":1}"#)).await;
    assert_eq!(rig.out()[0].2.get("error").unwrap().get("code"), "ENOENT".into());
}

#[tokio::test]
async fn nothing_is_written_outside_the_folder() {
    let around = tempfile::tempdir().unwrap();
    let dir = around.path().join("in");
    std::fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink(around.path(), dir.join("out")).unwrap();
    let rig =
        rig(&dir, "file", r#"{"filename":"filename","filenameType":"msg","overwriteFile":"true","createDir":true}"#);
    for name in ["../a", "out/a", "/tmp/a-file-of-a-test", "x/../../a"] {
        rig.inject(0, msg(&format!(r#"{{"payload":"x","filename":"{name}"}}"#))).await;
    }
    assert_eq!(rig.out().len(), 4);
    assert!(rig.out().iter().all(|(_, _, msg)| msg.get("error").unwrap().get("code") == "EACCES".into()));
    assert!(!around.path().join("a").exists());
}

#[tokio::test]
async fn messages_are_written_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let append = r#"{"filename":"a","filenameType":"str","overwriteFile":"false","appendNewline":true}"#;
    let nodes = vec![
        node("s", "split", r#"{"splt":",","spltType":"str"}"#, &[&[1, 2]]),
        node("f", "file", append, &[]),
        node("g", "file", append, &[]),
    ];
    let rig = Rig::with(nodes, Limits::default(), |services| services.files = Arc::new(Files::new(dir.path().into())));
    let all: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    rig.inject(0, msg(&format!(r#"{{"payload":"{}"}}"#, all.join(",")))).await;
    let text = std::fs::read_to_string(dir.path().join("a")).unwrap();
    // Both nodes write each part; the last one of a sequence gets no newline.
    let lines: Vec<&str> = text.lines().collect();
    let expected: Vec<&str> = all[..199].iter().flat_map(|n| [n.as_str(), n.as_str()]).collect();
    assert_eq!(lines[..398], expected);
}

#[tokio::test]
async fn without_a_folder_the_node_says_how_to_allow_it() {
    let rig = Rig::new(vec![node("f", "file", r#"{"filename":"a"}"#, &[])]);
    assert_eq!(rig.problems(), []);
    let ended = rig.inject(0, msg(r#"{"payload":"x"}"#)).await;
    assert!(ended.error.as_ref().unwrap().message.contains("files.dir = "), "{:?}", ended.error);
}
