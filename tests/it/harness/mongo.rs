//! A real `mongod` for tests: with or without a replica set and authentication, killed and started again when a test
//! says so, gone with the test process.
//!
//! `tests/all` installs it into `target/tools`; `PROBITY_TEST_MONGOD` names another binary. Where there is none, tests
//! are skipped and say so, unless `PROBITY_TEST_REQUIRE_MONGOD` is set.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use mongodb::bson::doc;
use mongodb::options::{ClientOptions, WriteConcern};
use mongodb::{Client, Database};

/// Starts and kills the server as told on standard input, whose end is the sign to clean up. `$1` the binary, `$2`
/// folder, `$3` port, then further arguments.
const KEEPER: &str = r#"
trap '' PIPE
mongod=$1 folder=$2 port=$3
shift 3
pid=
while read -r command; do
    case $command in
    start)
        "$mongod" --dbpath "$folder/data" --bind_ip 127.0.0.1 --port "$port" --wiredTigerCacheSizeGB 0.25 \
            --nounixsocket --logpath "$folder/log" --logappend "$@" >/dev/null 2>&1 &
        pid=$!
        ;;
    kill) kill -9 "$pid"; wait "$pid" 2>/dev/null ;;
    esac
    echo done
done
kill -9 "$pid" 2>/dev/null
wait
rm -rf "$folder"
"#;

/// Key of the members of a replica set with authentication.
const KEY: &str = "cHJvYml0eS10ZXN0cy1vbmx5LW5vLXNlY3JldA";
pub const USER: &str = "ana";
pub const PASSWORD: &str = "s3cret-p@ss";

/// How a server is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub replica_set: bool,
    pub authentication: bool,
}

/// A running server.
pub struct Mongo {
    keeper: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    port: u16,
    mode: Mode,
}

impl Drop for Mongo {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.keeper.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The binary; `None` says that the test is skipped.
fn binary() -> Option<PathBuf> {
    let named = variable("PROBITY_TEST_MONGOD").map(PathBuf::from);
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/lib");
    let installed = std::fs::read_dir(tools).into_iter().flatten().flatten();
    let mut installed = installed.map(|python| python.path().join("site-packages/fiftyone/db/bin/mongod"));
    let found = named.or_else(|| installed.find(|path| path.exists()));
    assert!(
        found.is_some() || variable("PROBITY_TEST_REQUIRE_MONGOD").is_none(),
        "PROBITY_TEST_REQUIRE_MONGOD is set, and there is no mongod: tests/all installs it into target/tools"
    );
    if found.is_none() {
        eprintln!("SKIPPED: no mongod; tests/all installs it into target/tools, or name one in PROBITY_TEST_MONGOD");
    }
    found
}

impl Mongo {
    /// A server of one's own, ready to be written to; `None` where there is no binary.
    pub async fn start(mode: Mode) -> Option<Mongo> {
        let binary = binary()?;
        // A port that was free may be taken when the server comes to it.
        for _ in 0..5 {
            let mut mongo = Mongo::spawn(&binary, mode);
            mongo.tell("start");
            if mongo.set_up().await.is_ok() {
                return Some(mongo);
            }
        }
        panic!("mongod did not start on any of five ports");
    }

    fn spawn(binary: &PathBuf, mode: Mode) -> Mongo {
        let folder = std::env::temp_dir().join(format!("probity-mongo-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(folder.join("data")).expect("a folder for mongod in the temporary folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(binary).arg(&folder).arg(port.to_string());
        if mode.replica_set {
            command.args(["--replSet", "rs0"]);
        }
        if mode.authentication {
            command.arg("--auth");
        }
        if mode.replica_set && mode.authentication {
            use std::os::unix::fs::PermissionsExt;
            let key = folder.join("key");
            std::fs::write(&key, KEY).unwrap();
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
            command.arg("--keyFile").arg(key);
        }
        // In a group of its own, so that Ctrl-C at the tests leaves it alive to clean up.
        let mut keeper =
            command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
        let stdin = keeper.stdin.take();
        let stdout = BufReader::new(keeper.stdout.take().expect("stdout is piped"));
        Mongo { keeper, stdin, stdout, port, mode }
    }

    fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        writeln!(stdin, "{command}").expect("the keeper reads");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text from the keeper");
        assert_eq!(line, "done\n");
    }

    /// Dies as a process does that is out of luck.
    pub fn kill(&mut self) {
        self.tell("kill");
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        self.tell("start");
    }

    /// Makes the replica set and the user.
    async fn set_up(&mut self) -> mongodb::error::Result<()> {
        // Straight to this server: a replica set that is not made yet has no primary to look for.
        let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port);
        let admin = client(&url).await?.database("admin");
        admin.run_command(doc! {"ping": 1}).await?;
        if self.mode.replica_set {
            let member = doc! {"_id": 0, "host": format!("127.0.0.1:{}", self.port)};
            admin.run_command(doc! {"replSetInitiate": {"_id": "rs0", "members": [member]}}).await?;
            crate::evaluation::until("the server is primary", async || {
                let hello = admin.run_command(doc! {"hello": 1}).await;
                hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or_default())
            })
            .await;
        }
        if self.mode.authentication {
            let create = doc! {"createUser": USER, "pwd": PASSWORD, "roles": [{"role": "root", "db": "admin"}]};
            admin.run_command(create).await?;
        }
        Ok(())
    }

    /// Its address, with the login if it asks for one.
    pub fn url(&self) -> String {
        self.url_with(PASSWORD)
    }

    pub fn url_with(&self, password: &str) -> String {
        let login = match self.mode.authentication {
            true => format!("{USER}:{}@", password.replace('@', "%40")),
            false => String::new(),
        };
        let source = if self.mode.authentication { "authSource=admin" } else { "" };
        let set = if self.mode.replica_set { "replicaSet=rs0" } else { "" };
        let options = [source, set].iter().filter(|o| !o.is_empty()).copied().collect::<Vec<_>>().join("&");
        format!("mongodb://{login}127.0.0.1:{}/registry?{options}", self.port)
    }

    /// The Registry's database, as its other users see it.
    pub async fn database(&self) -> Database {
        client(&self.url()).await.unwrap().database("registry")
    }
}

async fn client(url: &str) -> mongodb::error::Result<Client> {
    let mut options = ClientOptions::parse(url).await?;
    options.server_selection_timeout = Some(Duration::from_secs(20));
    // What a test has written is there after the server was killed.
    options.write_concern = Some(WriteConcern::builder().journal(true).build());
    Client::with_options(options)
}
