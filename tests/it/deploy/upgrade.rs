//! An upgrade over a migration, and the way back: what a dry run says, what the migration keeps, and that the backup of
//! before is the schema of before with its data.

use std::path::Path;
use std::process::Command;

use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

use crate::harness::postgres;

const MIGRATIONS: &str = "src/store/migrations/postgres";

/// Brings a database to the schema before the last migration; answers the last one's number.
async fn without_the_last_migration(connection: &mut PgConnection) -> i64 {
    let mut names: Vec<_> = std::fs::read_dir(super::file(MIGRATIONS))
        .expect("a folder")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    names.sort();
    let last = names.pop().expect("migrations");
    let folder = tempfile::tempdir().expect("a folder");
    for name in &names {
        std::fs::copy(super::file(MIGRATIONS).join(name), folder.path().join(name)).expect("copied");
    }
    let mut earlier = Migrator::new(folder.path()).await.expect("migrations");
    earlier.dangerous_set_table_name("probity.migration");
    sqlx::raw_sql("CREATE SCHEMA probity").execute(&mut *connection).await.expect("a schema");
    earlier.run_direct(None, connection, false).await.expect("migrated");
    last.to_str().and_then(|name| name[..4].parse().ok()).expect("a number of four digits stands first")
}

fn migrate(url: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut command = crate::serve::probity();
    let output = command.args(["migrate", "--database-url", url]).args(more).output().expect("probity runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

fn script(name: &str, url: &str, backups: &Path, arguments: &[&str]) -> String {
    let url = url::Url::parse(url).expect("an address");
    let host = url.query_pairs().find(|(key, _)| key == "host").expect("the socket's folder").1.into_owned();
    let output = Command::new("bash")
        .arg(super::file("deploy/bin").join(name))
        .args(arguments)
        .env("PGHOST", host)
        .env("PGUSER", "postgres")
        .env("PGDATABASE", url.path().trim_start_matches('/'))
        .env("BACKUP_DIR", backups)
        .env("BACKUP_UNENCRYPTED", "yes")
        .output()
        .expect("bash runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn audit(url: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.expect("the server answers");
    sqlx::query_scalar("SELECT a::text FROM probity.audit AS a").fetch_all(&mut connection).await.expect("an audit log")
}

#[tokio::test]
async fn over_a_migration_and_back_with_data() {
    let url = postgres::database().await;
    let mut connection = PgConnection::connect(&url).await.expect("the server answers");
    let last = without_the_last_migration(&mut connection).await;
    let entry =
        "INSERT INTO probity.audit (at, actor, action, subject, detail) VALUES (now(), 'ana', 'deploy', 'x', '{}')";
    sqlx::raw_sql(entry).execute(&mut connection).await.expect("written");
    let before = audit(&url).await;

    let (code, said) = migrate(&url, &["--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 migrations would run") && said.contains(&format!("\n  {last:04} ")), "{said}");
    let applied: i64 =
        sqlx::query_scalar("SELECT max(version) FROM probity.migration").fetch_one(&mut connection).await.expect("one");
    assert!(applied < last, "a dry run changes nothing");

    let backups = tempfile::tempdir().expect("a folder");
    let said = script("backup_db.sh", &url, backups.path(), &[]);
    let backup = said.split(": ").next().expect("the file stands first");
    let (code, said) = migrate(&url, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(audit(&url).await, before);
    assert!(migrate(&url, &["--dry-run"]).1.contains("is up to date"));

    // Back: the schema of before, with its data.
    let name = format!("back_{}", uuid::Uuid::new_v4().simple());
    script("restore_db.sh", &url, backups.path(), &[backup, "--into", &name]);
    let back = postgres::with_database(&url, &name);
    let (code, said) = migrate(&back, &["--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("\n  {last:04} ")), "{said}");
    assert_eq!(audit(&back).await, before);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_named_as_such() {
    let url = postgres::database().await;
    assert_eq!(migrate(&url, &[]).0, Some(0));
    let mut connection = PgConnection::connect(&url).await.expect("the server answers");
    let newer = "INSERT INTO probity.migration (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'of tomorrow', true, '\\x00', 0)";
    sqlx::raw_sql(newer).execute(&mut connection).await.expect("written");
    let (code, said) = migrate(&url, &["--dry-run"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("by a newer version of Probity (9999)"), "{said}");
}

#[test]
fn a_dry_run_makes_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    let output =
        crate::serve::probity().args(["migrate", "--dry-run", "--data-dir"]).arg(&path).output().expect("probity runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("there is no database"));
    assert!(!path.exists());
}
