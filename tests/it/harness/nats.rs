//! A real NATS server with JetStream for tests: Debian's `nats-server` on a free port, gone with the test process, and a
//! way to it that can be cut.
//!
//! `tests/all` installs it. Where there is none, tests are skipped and say so, unless `PROBITY_TEST_REQUIRE_NATS` is set.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const BINARY: &str = "/usr/sbin/nats-server";
const LOGIN: [&str; 4] = ["--user", "probity", "--pass", "for-tests"];

/// Starts and kills the server as told on standard input, whose end is the sign to clean up. `$1` the binary, `$2` its
/// folder, `$3` its port, and what follows are more arguments of it.
const KEEPER: &str = r#"
trap '' PIPE
binary=$1 folder=$2 port=$3
shift 3
pid=
while read -r command; do
    case $command in
    start)
        "$binary" -a 127.0.0.1 -p "$port" -js -sd "$folder/data" "$@" >>"$folder/log" 2>&1 &
        pid=$!
        ;;
    kill)
        kill -9 "$pid"
        wait "$pid" 2>/dev/null
        ;;
    forget)
        rm -rf "$folder/data"
        ;;
    esac
    echo done
done
kill -9 "$pid"
wait "$pid" 2>/dev/null
rm -rf "$folder"
"#;

/// A running server; its user is `probity`, the password `for-tests`.
pub struct Nats {
    keeper: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub port: u16,
}

impl Drop for Nats {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.keeper.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn is_required() -> bool {
    std::env::var("PROBITY_TEST_REQUIRE_NATS").is_ok()
}

impl Nats {
    /// It takes nobody without TLS and shows the certificate of `tests/cases/tls`.
    pub const TLS: [&str; 5] = [
        "--tls",
        "--tlscert",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/tls/server.pem"),
        "--tlskey",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/tls/server.key"),
    ];

    /// A server of one's own; `None` where there is no binary.
    pub async fn start() -> Option<Nats> {
        Nats::start_with(&LOGIN).await
    }

    /// The same with [`Nats::TLS`].
    pub async fn start_tls() -> Option<Nats> {
        Nats::start_with(&[&LOGIN[..], &Nats::TLS].concat()).await
    }

    /// The same with these arguments, which say who may come in.
    pub async fn start_with(arguments: &[&str]) -> Option<Nats> {
        if !std::path::Path::new(BINARY).exists() {
            assert!(!is_required(), "there is no {BINARY}: apt-get install nats-server");
            eprintln!("SKIPPED: no nats-server; apt-get install nats-server");
            return None;
        }
        // A port that was free may be taken when the server comes to it.
        for _ in 0..5 {
            let mut nats = Nats::spawn(arguments);
            nats.tell("start");
            if nats.answers().await {
                return Some(nats);
            }
        }
        panic!("nats-server did not start on any of five ports");
    }

    fn spawn(arguments: &[&str]) -> Nats {
        let folder: PathBuf = std::env::temp_dir().join(format!("probity-nats-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("a folder for NATS in the temporary folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh", BINARY]).arg(&folder).arg(port.to_string()).args(arguments);
        // In a group of its own, so that Ctrl-C at the tests leaves it alive to clean up.
        let mut keeper =
            command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
        let stdin = keeper.stdin.take();
        let stdout = BufReader::new(keeper.stdout.take().expect("stdout is piped"));
        Nats { keeper, stdin, stdout, port }
    }

    fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        writeln!(stdin, "{command}").expect("the keeper reads");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text from the keeper");
        assert_eq!(line, "done\n");
    }

    /// Until it greets: it listens before JetStream has read its files.
    async fn answers(&self) -> bool {
        let greeted = async || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
            let mut greeting = [0; 5];
            stream.read_exact(&mut greeting).await.ok()?;
            Some(greeting == *b"INFO ")
        };
        for _ in 0..20_000 {
            if greeted().await == Some(true) {
                return true;
            }
            tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
        }
        false
    }

    /// Dies as a process does that is out of luck.
    pub fn kill(&mut self) {
        self.tell("kill");
    }

    /// Its disk is gone. Only while it is dead.
    pub fn forget(&mut self) {
        self.tell("forget");
    }

    /// Starts it again on its port.
    pub async fn restart(&mut self) {
        self.tell("start");
        assert!(self.answers().await);
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

/// A way to a server; cut, its connections stay open and nothing goes through, as when a cable is pulled.
pub struct Way {
    pub port: u16,
    open: watch::Sender<bool>,
}

impl Way {
    pub async fn to(port: u16) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (own, open) = (listener.local_addr().unwrap().port(), watch::Sender::new(true));
        let gate = open.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let gate = gate.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::select! {
                        () = carry(near_in, far_out, gate.clone()) => {}
                        () = carry(far_in, near_out, gate) => {}
                    }
                });
            }
        });
        Way { port: own, open }
    }

    pub fn cut(&self, cut: bool) {
        self.open.send_replace(!cut);
    }
}

async fn carry(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    mut open: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 16_384];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}
