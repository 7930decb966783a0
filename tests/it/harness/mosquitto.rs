//! A real MQTT broker for tests: Debian's `mosquitto` on a free port, plain and encrypted, gone with the test process.
//!
//! `tests/all` installs it; `PROBITY_TEST_MOSQUITTO` names another binary. Where there is none, tests are skipped and say
//! so, unless `PROBITY_TEST_REQUIRE_MOSQUITTO` is set.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Starts and kills the broker as told on standard input, whose end is the sign to clean up. `$1` the binary, `$2` the
/// folder with its configuration.
const KEEPER: &str = r#"
trap '' PIPE
pid=
while read -r command; do
    case $command in
    start)
        "$1" -c "$2/mosquitto.conf" >>"$2/log" 2>&1 &
        pid=$!
        ;;
    kill)
        kill -9 "$pid"
        wait "$pid" 2>/dev/null
        ;;
    esac
    echo done
done
kill "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
rm -rf "$2"
"#;

/// A running broker.
pub struct Mosquitto {
    keeper: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub port: u16,
    /// Encrypted, with the certificate of `tests/cases/tls`.
    pub tls_port: u16,
    pub ws_port: u16,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.keeper.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn binary() -> Option<PathBuf> {
    let installed = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"].map(PathBuf::from);
    let named = variable("PROBITY_TEST_MOSQUITTO").map(PathBuf::from);
    let found = named.or_else(|| installed.into_iter().find(|path| path.exists()));
    assert!(
        found.is_some() || variable("PROBITY_TEST_REQUIRE_MOSQUITTO").is_none(),
        "PROBITY_TEST_REQUIRE_MOSQUITTO is set, and there is no mosquitto: apt-get install mosquitto"
    );
    if found.is_none() {
        eprintln!("SKIPPED: no mosquitto; apt-get install mosquitto, or name one in PROBITY_TEST_MOSQUITTO");
    }
    found
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Mosquitto {
    /// A broker of one's own; `None` where there is no binary.
    pub async fn start() -> Option<Mosquitto> {
        let binary = binary()?;
        // A port that was free may be taken when the broker comes to it.
        for _ in 0..5 {
            let mut broker = Mosquitto::spawn(&binary);
            broker.tell("start");
            if broker.answers().await {
                return Some(broker);
            }
        }
        panic!("mosquitto did not start on any of five ports");
    }

    fn spawn(binary: &PathBuf) -> Mosquitto {
        let folder = std::env::temp_dir().join(format!("probity-mosquitto-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("a folder for mosquitto in the temporary folder");
        let (port, tls_port, ws_port) = (free_port(), free_port(), free_port());
        let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/tls");
        // As root it would become another user, who may not read what is ours.
        let configuration = format!(
            "user root\nallow_anonymous true\nlog_type all\npersistence false\nlistener {port} 127.0.0.1\nlistener {ws_port} 127.0.0.1\n\
             protocol websockets\nlistener {tls_port} 127.0.0.1\ncertfile {tls}/server.pem\nkeyfile {tls}/server.key\n"
        );
        std::fs::write(folder.join("mosquitto.conf"), configuration).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(binary).arg(&folder);
        // In a group of its own, so that Ctrl-C at the tests leaves it alive to clean up.
        let mut keeper =
            command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
        let stdin = keeper.stdin.take();
        let stdout = BufReader::new(keeper.stdout.take().expect("stdout is piped"));
        Mosquitto { keeper, stdin, stdout, port, tls_port, ws_port }
    }

    fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        writeln!(stdin, "{command}").expect("the keeper reads");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text from the keeper");
        assert_eq!(line, "done\n");
    }

    async fn answers(&self) -> bool {
        let connect = async || tokio::net::TcpStream::connect(("127.0.0.1", self.tls_port)).await.is_ok();
        for _ in 0..2_000 {
            if connect().await {
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

    /// Starts it again on its ports.
    pub async fn restart(&mut self) {
        self.tell("start");
        assert!(self.answers().await);
    }
}
