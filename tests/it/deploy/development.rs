//! Development as `compose.dev.yml` sets it: flows, agreements and plugins are files of the developer, and what changes in
//! them is live without a restart. How plugins are swapped is in `plugins/reload.rs`.

use std::path::{Path, PathBuf};
use std::process::Child;

use serde_json::{Value, json};

use crate::serve::{Folder, get, probity, until};

/// A server that writes its log into a file; killed with the test.
struct Development {
    child: Child,
    log: PathBuf,
    base: String,
}

impl Drop for Development {
    fn drop(&mut self) {
        // It may have gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Development {
    /// With the variables that `compose.dev.yml` gives it; only folders are others.
    async fn start(folder: &Folder, flows: &Path) -> Development {
        let config = super::compose::resolved("dev", &[]);
        let given = &super::compose::services(&config)["nodered"]["environment"];
        let watch = given["PROBITY_WATCH_FLOWS_MS"].as_str().expect("development watches flows");
        assert_eq!(given["PROBITY_AGREEMENTS"], "/agreements");
        let log = folder.0.join("log");
        let mut command = probity();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--data-dir"])
            .arg(folder.0.join("data"))
            .arg("--flows")
            .arg(flows)
            .arg("--agreements")
            .arg(folder.0.join("agreements"))
            .env("PROBITY_WATCH_FLOWS_MS", watch)
            .stderr(std::fs::File::create(&log).unwrap());
        let mut server = Development { child: command.spawn().unwrap(), log, base: String::new() };
        until("the server listens", async || server.says("http://127.0.0.1:")).await;
        let said = server.said();
        let at = said.find("http://127.0.0.1:").unwrap();
        server.base = said[at..].split("/probity").next().unwrap().to_owned();
        server
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn says(&self, words: &str) -> bool {
        // A line is there when its end is.
        self.said().split_inclusive('\n').any(|line| line.contains(words) && line.ends_with('\n'))
    }

    async fn status(&self, path: &str) -> u16 {
        get(&format!("{}{path}", self.base)).await.0
    }
}

/// As editors write: whole or not at all.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// A tab that answers at one address.
fn tab(name: &str) -> Value {
    json!([
        {"id": format!("tab-{name}"), "type": "tab", "label": name},
        {"id": format!("in-{name}"), "z": format!("tab-{name}"), "type": "http in", "url": format!("/{name}"), "method": "get",
         "x": 100, "y": 100, "wires": [[format!("out-{name}")]]},
        {"id": format!("out-{name}"), "z": format!("tab-{name}"), "type": "http response", "x": 300, "y": 100, "wires": []},
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_flow_file_is_live_and_a_broken_one_changes_nothing() {
    let folder = Folder::new();
    std::fs::create_dir(folder.0.join("agreements")).unwrap();
    let flows = folder.write("flows.json", &tab("one"));
    let server = Development::start(&folder, &flows).await;
    assert_eq!(server.status("/one").await, 200);
    write(&flows, &tab("two").to_string());
    until("the changed flow answers", async || server.status("/two").await == 200).await;
    assert_eq!(server.status("/one").await, 404);
    write(&flows, "[{\"id\": ");
    until("it says what is wrong", async || server.says("the flow file cannot be deployed")).await;
    assert_eq!(server.status("/two").await, 200);
    std::fs::remove_file(&flows).unwrap();
    write(&flows, &tab("three").to_string());
    until("the mended flow answers", async || server.status("/three").await == 200).await;
    // Each is a revision of its own, and the broken one is none.
    let revisions = get(&format!("{}/probity/v1/flow-revisions", server.base)).await.1;
    assert_eq!(revisions.matches("\"watch\"").count(), 2, "{revisions}");
    // A deploy by the editor writes the file, and is not taken for somebody's change.
    let client = crate::harness::server::client();
    let deploy = client
        .post(format!("{}/flows", server.base))
        .header("content-type", "application/json")
        .body(tab("four").to_string());
    assert_eq!(deploy.send().await.unwrap().status(), 204);
    write(&flows, &tab("five").to_string());
    until("the file counts after a deploy, too", async || server.status("/five").await == 200).await;
    let revisions = get(&format!("{}/probity/v1/flow-revisions", server.base)).await.1;
    assert_eq!(revisions.matches("\"watch\"").count(), 3, "{revisions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_folder_of_flows_and_of_agreements_come_and_go() {
    let folder = Folder::new();
    let (flows, agreements) = (folder.0.join("flows"), folder.0.join("agreements"));
    std::fs::create_dir(&flows).unwrap();
    std::fs::create_dir(&agreements).unwrap();
    write(&flows.join("one.json"), &tab("one").to_string());
    let server = Development::start(&folder, &flows).await;
    assert_eq!(server.status("/one").await, 200);
    write(&flows.join("two.json"), &tab("two").to_string());
    until("a file that came answers", async || server.status("/two").await == 200).await;
    assert_eq!(server.status("/one").await, 200);
    std::fs::remove_file(flows.join("one.json")).unwrap();
    until("a file that went answers no more", async || server.status("/one").await == 404).await;
    assert_eq!(server.status("/two").await, 200);
    let agreement = crate::evaluation::agreement("dev", crate::evaluation::in_process(), json!({}));
    write(&agreements.join("dev.json"), &agreement.document.to_string());
    until("the agreement is there", async || server.status("/probity/v1/agreements/dev").await == 200).await;
}
