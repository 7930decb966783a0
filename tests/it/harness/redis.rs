//! A real Redis for tests: Debian's `redis-server` on a free port, with or without a password, gone with the test process.
//!
//! `tests/all` installs it. Where there is none, tests are skipped and say so, unless `PROBITY_TEST_REQUIRE_REDIS` is set.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

const BINARY: &str = "/usr/bin/redis-server";

/// Runs what it is given until its standard input closes.
const KEEPER: &str = r#"
trap '' PIPE
cd "$1"
shift
"$@" >log 2>&1 &
pid=$!
cat >/dev/null
kill -9 "$pid"
wait "$pid" 2>/dev/null
rm -rf "$PWD"
"#;

/// A running Redis.
pub struct Redis {
    keeper: Child,
    pub port: u16,
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn is_required() -> bool {
    std::env::var("PROBITY_TEST_REQUIRE_REDIS").is_ok()
}

impl Redis {
    /// A Redis of one's own, on this port or a free one; `None` where there is no binary.
    pub async fn start(port: Option<u16>, password: Option<&str>) -> Option<Redis> {
        if !std::path::Path::new(BINARY).exists() {
            assert!(!is_required(), "there is no {BINARY}: apt-get install redis-server");
            eprintln!("SKIPPED: no redis-server; apt-get install redis-server");
            return None;
        }
        // A port that was free may be taken when the server comes to it.
        for _ in 0..5 {
            let port = port
                .unwrap_or_else(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
            let redis = Redis::spawn(port, password);
            for _ in 0..2_000 {
                if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                    return Some(redis);
                }
                tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
            }
        }
        panic!("redis-server did not start on any of five ports");
    }

    fn spawn(port: u16, password: Option<&str>) -> Redis {
        let folder = std::env::temp_dir().join(format!("probity-redis-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("a folder for Redis in the temporary folder");
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(&folder).arg(BINARY);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        // In a group of its own, so that Ctrl-C at the tests leaves it alive to clean up.
        let keeper = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sh runs");
        Redis { keeper, port }
    }
}
