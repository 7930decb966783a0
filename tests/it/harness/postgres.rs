//! A private Postgres for tests: made with Debian's `initdb`, reached by a Unix socket, gone with the test process.
//!
//! `PROBITY_TEST_POSTGRES_URL` names a server to use instead (its user must be allowed to create databases and
//! roles). Every test gets a database of its own.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use sqlx::{Connection, PgConnection};

/// Runs the server until its standard input closes, which it does when the test process ends, however it ends.
/// `$1` programs, `$2` folder, `$3` fsync, `$4` more options of the server.
const KEEPER: &str = r#"
set -e
# Saying `ready` to a test process that is gone must end in the clean-up below, not in death by signal.
trap '' PIPE
cd "$2"
trap '"$1/pg_ctl" -D "$2/data" -m immediate -w stop >/dev/null 2>&1; rm -rf "$2"' EXIT
"$1/initdb" -D data -U postgres -A trust -E UTF8 --locale=C --no-sync >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
"$1/pg_ctl" -D data -w -l server.log -o "-c listen_addresses='' -k '$2' -c fsync=$3 -c full_page_writes=$3 -c max_connections=200 $4" start >start.log 2>&1 || { cat start.log server.log >&2; exit 1; }
echo ready
cat >/dev/null
"#;

/// A running server. Stops when dropped, or when the process that holds it is gone.
pub struct Server {
    url: String,
    /// None for a server that is not ours. Its standard input is held open: the end of it is the sign to stop.
    keeper: Option<(Child, ChildStdin)>,
    /// Of a server that is ours: its programs, its folder, and whether it syncs.
    home: Option<(PathBuf, PathBuf, bool)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((mut keeper, stdin)) = self.keeper.take() {
            drop(stdin);
            keeper.wait().ok();
        }
    }
}

impl Server {
    /// Starts a server of one's own. `durable`: with fsync, for tests that kill things.
    pub fn start(durable: bool) -> Server {
        Server::start_with(durable, "", &[])
    }

    /// The same with further options, and files in its folder that only its user may read.
    pub fn start_with(durable: bool, options: &str, files: &[(&str, &[u8])]) -> Server {
        Server::start_of(programs(), durable, options, files)
    }

    /// The same with the programs of another version: the folder with `initdb`.
    pub fn start_of(programs: PathBuf, durable: bool, options: &str, files: &[(&str, &[u8])]) -> Server {
        let user = unprivileged_user();
        let folder = std::env::temp_dir().join(format!("probity-pg-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).expect("a folder for Postgres in the temporary folder");
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(&programs).arg(&folder).arg(if durable { "on" } else { "off" });
        command.arg(options.replace("$FOLDER", &folder.display().to_string()));
        for (name, content) in files {
            let path = folder.join(name);
            std::fs::write(&path, content).expect("a file in the folder of Postgres");
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .expect("its mode is set");
            if let Some((uid, gid)) = user {
                std::os::unix::fs::chown(&path, Some(uid), Some(gid)).expect("give the file to the user of Postgres");
            }
        }
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).expect("give the folder to the user of Postgres");
            command.uid(uid).gid(gid);
        }
        // In a group of its own, so that Ctrl-C at the tests leaves it alive to clean up.
        let mut keeper = command
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("stdout is piped")).read_line(&mut line).expect("text from sh");
        assert_eq!(line, "ready\n", "Postgres did not start; its messages stand above");
        let url = format!("postgres://postgres@localhost/postgres?host={}", folder.display());
        let stdin = keeper.stdin.take().expect("stdin is piped");
        Server { url, keeper: Some((keeper, stdin)), home: Some((programs, folder, durable)) }
    }

    /// Where its files are; a server of one's own.
    pub fn folder(&self) -> &Path {
        &self.home.as_ref().expect("a server of one's own").1
    }

    /// The superuser's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills the server and every process of it, as a machine that stops would.
    pub fn kill_9(&self) {
        let (_, folder, _) = self.home.as_ref().expect("a server of one's own");
        let pid = std::fs::read_to_string(folder.join("data/postmaster.pid")).expect("the server runs");
        let pid = pid.lines().next().expect("its process id stands first").to_owned();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let all = std::iter::once(pid.as_str()).chain(children.split_whitespace());
        Command::new("kill").arg("-9").args(all).stderr(Stdio::null()).status().expect("kill runs");
    }

    /// Starts the server again on what [`Server::kill_9`] left, and waits until it answers.
    pub fn start_again(&self) {
        let (programs, folder, durable) = self.home.as_ref().expect("a server of one's own");
        let switch = if *durable { "on" } else { "off" };
        let options = format!(
            "-c listen_addresses='' -k '{}' -c fsync={switch} -c full_page_writes={switch} -c max_connections=200",
            folder.display()
        );
        let mut command = Command::new(programs.join("pg_ctl"));
        command.arg("-D").arg(folder.join("data")).args(["-w", "-o", &options, "start"]);
        command.arg("-l").arg(folder.join("server.log")).current_dir("/").process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = unprivileged_user() {
            command.uid(uid).gid(gid);
        }
        // A process that was killed may still hold the shared memory for a moment.
        let started = std::time::Instant::now();
        while !command.status().expect("pg_ctl runs").success() {
            let log = || std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
            assert!(started.elapsed().as_secs() < 30, "Postgres did not start again: {}", log());
        }
    }

    /// Creates an empty database; answers its address.
    pub async fn database(&self) -> String {
        let name = format!("probity_test_{}", uuid::Uuid::new_v4().simple());
        let mut connection = PgConnection::connect(&self.url).await.expect("the test server answers");
        let create = format!("CREATE DATABASE {name}");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(&mut connection).await.expect("a database is created");
        connection.close().await.expect("goodbye");
        with_database(&self.url, &name)
    }
}

/// An empty database on the server that all tests of this process share.
pub async fn database() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(shared_server).database().await
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn shared_server() -> Server {
    match std::env::var("PROBITY_TEST_POSTGRES_URL") {
        Ok(url) => Server { url, keeper: None, home: None },
        Err(_) => Server::start(false),
    }
}

/// The address with another database in its path.
pub fn with_database(url: &str, name: &str) -> String {
    let mut url = url::Url::parse(url).expect("PROBITY_TEST_POSTGRES_URL is postgres://user:password@host/database");
    url.set_path(name);
    url.into()
}

/// The folder with `initdb`; the newest of several.
pub fn programs() -> PathBuf {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    installed
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| version(path))
        .map(|path| path.join("bin"))
        .expect(
            "no Postgres programs under /usr/lib/postgresql: `apt-get install postgresql` (Debian), or name a server \
             in PROBITY_TEST_POSTGRES_URL",
        )
}

/// `initdb` refuses root: then the user that Debian's package made, or nobody.
pub fn unprivileged_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").expect("/proc is mounted").uid() != 0 {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let ids = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a user postgres or nobody in /etc/passwd"))
}
