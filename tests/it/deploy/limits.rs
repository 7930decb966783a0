//! Probity within what compose gives its container: no more memory and threads than the limits, the image's user, no
//! capabilities, no new privileges.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::serve::{Folder, Server, get, until};

/// `400m` of the compose file, as Docker Compose resolves it: bytes.
fn bytes(limit: &Value) -> u64 {
    limit.as_str().and_then(|text| text.parse().ok()).or_else(|| limit.as_u64()).expect("bytes")
}

/// Of /proc/PID/status: the first number behind a name.
fn status(id: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

/// A control group of its own that limits memory, as a container has: what was touched counts. (`prlimit --data` counts
/// what is reserved, stacks and arenas, four times as much: at its border the program ended by chance.)
struct Group(PathBuf);

impl Group {
    /// None where control groups cannot be made: then only the peak is compared.
    fn new(memory: u64) -> Option<Self> {
        let name = format!("probity-test-{}", std::process::id());
        for (parent, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let folder = Path::new(parent).join(&name);
            if std::fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self(folder);
            let limit = group.0.join(limit);
            if limit.exists() && std::fs::write(limit, memory.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_and_evaluates_with_the_memory_the_threads_and_the_rights_of_its_container() {
    let config = super::compose::resolved("prod", &[]);
    let service = &super::compose::services(&config)["nodered"];
    let (memory, threads) = (bytes(&service["mem_limit"]), service["pids_limit"].as_u64().expect("a number"));
    let folder = Folder::new();
    let root = status(std::process::id(), "Uid:") == 0;
    let program = folder.0.join("probity");
    // Where the tests lie another user may not look.
    std::fs::copy(env!("CARGO_BIN_EXE_probity"), &program).unwrap();
    std::fs::create_dir(folder.0.join("data")).unwrap();
    // Made before the server, so that it goes after it.
    let group = Group::new(memory);
    let mut command = Command::new(if group.is_some() { "/bin/sh" } else { "/usr/bin/env" });
    match &group {
        Some(group) => _ = command.args(["-c", r#"echo $$ >"$0" && exec "$@""#]).arg(group.0.join("cgroup.procs")),
        None => eprintln!("memory is not limited here, only compared: no control group can be made"),
    }
    if root {
        let user: u32 = service["user"].as_str().and_then(|user| user.split(':').next()?.parse().ok()).expect("a user");
        std::os::unix::fs::chown(folder.0.join("data"), Some(user), Some(user)).unwrap();
        command.arg("/usr/bin/setpriv").args([format!("--reuid={user}"), format!("--regid={user}")]);
        command.args(["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]);
    }
    command
        .arg(&program)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.0.join("data"))
        .env_remove("PROBITY_DATABASE_URL");
    let server = Server::start(&mut command);
    let id = server.id();
    if let Some(group) = &group {
        let within = std::fs::read_to_string(group.0.join("cgroup.procs")).unwrap();
        assert!(within.lines().any(|line| line == id.to_string()), "{id} is not limited: {within}");
    }
    until("it is ready", async || get(&format!("{}/health/ready", server.base)).await.0 == 200).await;
    // The shipped agreements, for a week; and the shipped flows.
    let client = crate::harness::server::client();
    let evaluate = client.post(format!("{}/probity/v1/agreements/service-level/evaluate", server.base));
    let body = r#"{"from": "2026-01-01T00:00:00Z", "to": "2026-01-08T00:00:00Z"}"#;
    let answer = evaluate.body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    for _ in 0..200 {
        for path in ["/health/ready", "/metrics", "/probity/v1/agreements", "/flows"] {
            assert_eq!(get(&format!("{}{path}", server.base)).await.0, 200, "{path}");
        }
    }
    let (peak, now) = (status(id, "VmHWM:") * 1024, status(id, "Threads:"));
    assert!(peak < memory, "{peak} bytes of {memory}");
    assert!(now < threads, "{now} threads of {threads}");
    if root {
        assert_eq!((status(id, "Uid:"), status(id, "NoNewPrivs:")), (1000, 1));
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(set)).unwrap();
            assert_eq!(line.trim().trim_start_matches('0'), "", "{set}");
        }
    }
}
