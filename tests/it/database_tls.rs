//! Results in a Postgres that is reached by TLS, and in one of several.

use probity::store::{Store, StoreError, StoreOptions, open};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::postgres::Server;

fn tls(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/cases/tls/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A server on two loopback addresses, with the certificate of `tests/cases/tls` (localhost, 127.0.0.1).
fn server(options: &str) -> (Server, u16) {
    let (certificate, key) = (tls("server.pem"), tls("server.key"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = format!(
        "-c listen_addresses=127.0.0.1,127.0.0.2 -c port={port} -c ssl=on -c ssl_cert_file=$FOLDER/server.pem \
         -c ssl_key_file=$FOLDER/server.key {options}"
    );
    let server = Server::start_with(false, &options, &[("server.pem", &certificate), ("server.key", &key)]);
    (server, port)
}

async fn opened(url: &str) -> Result<std::sync::Arc<dyn Store>, String> {
    let options = StoreOptions { connect_timeout_ms: 20_000, ..StoreOptions::default() };
    open(url, &options).await.map_err(|error| match error {
        StoreError::Unusable { .. } => error.to_string(),
        other => panic!("{other}"),
    })
}

async fn superuser(server: &Server, port: u16) -> PgConnection {
    let url = format!("postgres://postgres@localhost/postgres?host={}&port={port}", server.folder().display());
    PgConnection::connect(&url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_certificate_is_held_to_its_authority_and_name() {
    crate::harness::server::with_crypto();
    let (server, port) = server("");
    let root = format!("sslrootcert={}/tests/cases/tls/ca.pem", env!("CARGO_MANIFEST_DIR"));
    let at = |host: &str, query: &str| format!("postgres://postgres@{host}:{port}/postgres?{query}");
    for (url, said) in [
        (at("localhost", &format!("sslmode=verify-full&{root}")), None),
        (at("127.0.0.1", &format!("sslmode=verify-full&{root}")), None),
        (at("127.0.0.2", &format!("sslmode=verify-full&{root}")), Some("check sslmode and the certificate")),
        (at("127.0.0.2", &format!("sslmode=verify-ca&{root}")), None),
        (at("localhost", "sslmode=verify-full"), Some("check sslmode and the certificate")),
        (at("localhost", "sslmode=verify-ca"), Some("check sslmode and the certificate")),
        (at("localhost", "sslmode=require"), None),
        (at("localhost", "sslmode=verify-full&sslrootcert=/no/such/file"), Some("/no/such/file")),
    ] {
        match (opened(&url).await, said) {
            (Ok(store), None) => store.ping().await.unwrap(),
            (Err(problem), Some(said)) => assert!(problem.contains(said), "{url}: {problem}"),
            (Ok(_), Some(_)) => panic!("{url} was trusted"),
            (Err(problem), None) => panic!("{url}: {problem}"),
        }
    }
    // What is trusted is really encrypted.
    let store = opened(&at("localhost", &format!("sslmode=verify-full&{root}"))).await.unwrap();
    store.ping().await.unwrap();
    let mut superuser = superuser(&server, port).await;
    let plain: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'probity' AND NOT ssl",
    )
    .fetch_one(&mut superuser)
    .await
    .unwrap();
    let encrypted: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'probity' AND ssl",
    )
    .fetch_one(&mut superuser)
    .await
    .unwrap();
    assert!(plain == 0 && encrypted > 0, "{plain} plain, {encrypted} encrypted");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_the_one_that_takes_writes_is_used_also_when_it_changes() {
    crate::harness::server::with_crypto();
    let (first, first_port) = server("-c default_transaction_read_only=on");
    let (second, second_port) = server("");
    let url = format!(
        "postgres://postgres@127.0.0.1:{first_port},127.0.0.1:{second_port}/postgres?target_session_attrs=read-write"
    );
    let store = opened(&url).await.unwrap();
    store.ping().await.unwrap();
    let used = async |connection: &mut PgConnection| -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'probity'")
            .fetch_one(connection)
            .await
            .unwrap()
    };
    let mut on_first = superuser(&first, first_port).await;
    assert!(used(&mut superuser(&second, second_port).await).await > 0);
    assert_eq!(used(&mut on_first).await, 0);
    // The other one is promoted, and this one is gone.
    // One after the other: together they are one transaction, which has begun to be read-only.
    for promote in
        ["SET default_transaction_read_only = off", "ALTER DATABASE postgres SET default_transaction_read_only = off"]
    {
        sqlx::raw_sql(AssertSqlSafe(promote)).execute(&mut on_first).await.unwrap();
    }
    second.kill_9();
    crate::serve::until("results are stored on the other server", async || store.ping().await.is_ok()).await;
    assert!(used(&mut on_first).await > 0);
    // With none of the wanted kind there is nothing to store in.
    let standby = format!("postgres://postgres@127.0.0.1:{first_port}/postgres?target_session_attrs=standby");
    assert!(opened(&standby).await.err().unwrap().contains("read-write or primary"));
    drop(first);
}
