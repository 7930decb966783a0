//! The proxy of `deploy/nginx`, run by a real nginx. It listens on a socket in a folder, so that no port is taken by
//! chance; browsers reach it by a port of the test's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use tokio::net::{TcpListener, UnixStream};

/// `tests/all` sets it: then a missing nginx is a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_NGINX";

/// A proxy under way; ends with the test.
pub struct Nginx {
    process: Child,
    folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Told to stop, not killed: its workers would outlive it. It may have gone already.
        drop(Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status());
        drop(self.process.wait());
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
/// Where nginx is, or a word about it that it is not there.
pub fn binary() -> Option<&'static str> {
    let found = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        assert!(std::env::var_os(REQUIRED).is_none(), "nginx is missing: apt-get install nginx-light");
        eprintln!("skipped: there is no nginx");
    }
    found
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The shipped files with other addresses; `servers` says which (`unix:/…`, `127.0.0.1:…`) stand behind a name, if any.
///
/// The parameter `resolve` and the `resolver` are left out: Debian's nginx is older than the image's, and there is no
/// Docker DNS to ask.
pub fn start(binary: &str, servers: &BTreeMap<&str, Vec<String>>) -> Nginx {
    run(binary, &read("deploy/nginx/nginx.conf"), &[("upstreams.conf", table(servers))])
}

/// The shipped table of upstreams with these servers.
fn table(servers: &BTreeMap<&str, Vec<String>>) -> String {
    let upstreams = read("deploy/nginx/upstreams.conf");
    let mut own = String::new();
    for line in upstreams.lines().filter(|line| !line.starts_with("resolver ")) {
        let named = line.trim().strip_prefix("server ").and_then(|rest| rest.split_once(" resolve "));
        match named {
            None => own.push_str(line),
            Some((address, rules)) => {
                let name = address.split_once(':').expect("a port").0;
                for address in servers.get(name).into_iter().flatten() {
                    own.push_str(&format!("server {address} {rules}\n"));
                }
            }
        }
        own.push('\n');
    }
    own
}

/// A configuration that listens on 3000 and writes below /tmp, here on a socket and below a folder of its own, with these
/// files beside it.
pub fn run(binary: &str, main: &str, files: &[(&str, String)]) -> Nginx {
    let folder = tempfile::tempdir().expect("a folder");
    let temporary = folder.path().display().to_string();
    assert!(main.contains("listen 3000;"));
    let main = main.replace("/tmp/", &format!("{temporary}/"));
    // Sockets of services that lie in the temporary folder stay where they are.
    let main = main.replace(&format!("unix:{temporary}/"), "unix:/tmp/");
    let main = main.replace("listen 3000;", &format!("listen unix:{temporary}/socket;"));
    let main = main.replace("/dev/stdout", &format!("{temporary}/access"));
    std::fs::write(folder.path().join("nginx.conf"), main).expect("written");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let config = folder.path().join("nginx.conf");
    let mut command = Command::new(binary);
    command.arg("-c").arg(&config).args(["-p", &temporary, "-e", "stderr", "-g", "daemon off; user root;"]);
    let tried = Command::new(binary).arg("-t").arg("-c").arg(&config).args(["-p", &temporary, "-e", "stderr"]).output();
    let tried = tried.expect("nginx runs");
    assert!(tried.status.success(), "{}", String::from_utf8_lossy(&tried.stderr));
    Nginx { process: command.spawn().expect("nginx starts"), folder }
}

impl Nginx {
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leads to other servers: the table is written anew and nginx reads it (`nginx -s reload`). Returns when those who had
    /// read the old one are gone, with all that they were at.
    pub async fn lead(&self, servers: &BTreeMap<&str, Vec<String>>) {
        std::fs::write(self.folder().join("upstreams.conf"), table(servers)).expect("written");
        let id = self.process.id();
        let workers = || -> Vec<String> {
            let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("nginx runs");
            children.split_whitespace().map(str::to_owned).collect()
        };
        let before = workers();
        assert!(Command::new("kill").arg("-HUP").arg(id.to_string()).status().expect("kill runs").success());
        crate::serve::until("the old workers are gone", async || {
            let now = workers();
            !now.is_empty() && !now.iter().any(|worker| before.contains(worker))
        })
        .await;
    }

    /// A port that leads to the proxy for as long as the test runs, for those who know no sockets.
    pub async fn port(&self) -> SocketAddr {
        self.client().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, socket) = (listener.local_addr().expect("it has one"), self.socket());
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let socket = socket.clone();
                tokio::spawn(async move {
                    let mut proxy = UnixStream::connect(socket).await?;
                    tokio::io::copy_bidirectional(&mut caller, &mut proxy).await
                });
            }
        });
        address
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// A client, as soon as the proxy answers.
    #[expect(clippy::disallowed_methods, reason = "a client of a socket, and a server of others that takes its time")]
    pub async fn client(&self) -> reqwest::Client {
        super::server::with_crypto();
        let client = reqwest::Client::builder().unix_socket(self.socket()).build().expect("a client");
        for _ in 0..500 {
            if client.get("http://proxy/proxy-health").send().await.is_ok() {
                return client;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("nginx does not answer");
    }
}
