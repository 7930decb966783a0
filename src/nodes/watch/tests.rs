//! Real folders; time is moved by hand.

use std::fs;

use super::super::rig::{Rig, node};
use super::*;
use crate::runtime::{Event, Limits};

fn rig(folder: &Path, config: &str) -> Rig {
    let files = Arc::new(Files::new(folder.to_path_buf()));
    Rig::with(vec![node("w", "watch", config, &[])], Limits::default(), |services| {
        services.nodes_allowed = vec!["watch".into()];
        services.files = files;
    })
}

/// Looks go on while others compute; real time is only how long it may take.
async fn until(rig: &Rig, what: &str, mut there: impl FnMut() -> bool) {
    let patience = tokio::time::timeout(Duration::from_secs(30), async {
        while !there() {
            rig.clock.advance(LOOK_EVERY);
            tokio::task::yield_now().await;
        }
    });
    assert!(patience.await.is_ok(), "{what}: {:?}", rig.out());
}

async fn watching(rig: &Rig) {
    let told = |event: &Event| matches!(event, Event::Status { status, .. } if status.text.starts_with("watching"));
    until(rig, "it watches", || rig.events().iter().any(told)).await;
}

fn seen(rig: &Rig) -> Vec<(String, String, String)> {
    let text = |msg: &Msg, name: &str| msg.get(name).unwrap().to_js_string().to_string();
    let of = |msg: &Msg| (text(msg, "file"), text(msg, "event"), text(msg, "type"));
    rig.out().iter().map(|(_, _, msg)| of(msg)).collect()
}

fn owned(file: &str, event: &str, kind: &str) -> (String, String, String) {
    (file.into(), event.into(), kind.into())
}

#[tokio::test]
async fn files_that_come_change_and_go_are_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("in/deep")).unwrap();
    fs::write(folder.path().join("in/old.txt"), "old").unwrap();
    let rig = rig(folder.path(), r#"{"files":"in","recursive":true}"#);
    watching(&rig).await;
    let real = folder.path().canonicalize().unwrap();
    fs::write(real.join("in/deep/new.txt"), "12345").unwrap();
    until(&rig, "a new file", || seen(&rig).contains(&owned("new.txt", "update", "file"))).await;
    let (_, _, msg) = rig.out().pop().unwrap();
    let path = real.join("in/deep/new.txt").display().to_string();
    for (name, value) in [("payload", path.as_str()), ("filename", &path), ("topic", "in")] {
        assert_eq!(msg.get(name).unwrap().as_str(), Some(value));
    }
    // Written longer: the same instant would do.
    fs::write(real.join("in/old.txt"), "older than before").unwrap();
    until(&rig, "a changed file", || seen(&rig).contains(&owned("old.txt", "update", "file"))).await;
    fs::remove_file(real.join("in/old.txt")).unwrap();
    until(&rig, "a file that went", || seen(&rig).contains(&owned("old.txt", "remove", "none"))).await;
    fs::create_dir(real.join("in/more")).unwrap();
    until(&rig, "a new folder", || seen(&rig).contains(&owned("more", "update", "directory"))).await;
}

#[tokio::test]
async fn single_files_are_watched_before_they_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let rig = rig(folder.path(), r#"{"files":"a.txt, b.txt"}"#);
    watching(&rig).await;
    fs::write(folder.path().join("b.txt"), "x").unwrap();
    fs::write(folder.path().join("c.txt"), "x").unwrap();
    until(&rig, "b", || !seen(&rig).is_empty()).await;
    assert!(seen(&rig).iter().all(|(file, ..)| file == "b.txt"), "{:?}", seen(&rig));
    assert_eq!(rig.out()[0].2.get("topic").unwrap().as_str(), Some(r#"["a.txt","b.txt"]"#));
}

#[tokio::test]
async fn it_is_refused_without_the_operators_word_and_outside_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let problems = rig(folder.path(), r#"{"files":"../other"}"#).problems();
    assert!(problems[0].message.contains("outside the folder"), "{problems:?}");
    let problems = rig(Path::new(""), r#"{"files":"a"}"#).problems();
    assert!(problems[0].message.contains("files.dir"), "{problems:?}");
    let refused = Rig::new(vec![node("w", "watch", r#"{"files":"a"}"#, &[])]);
    refused.settle().await;
    assert!(refused.complaints()[0].contains("nodes.allow = [\"watch\"]"), "{:?}", refused.complaints());
}
