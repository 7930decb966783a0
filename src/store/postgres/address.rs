//! Where Postgres is: one server or several of which one is wanted, and the password for them, both of which may change
//! while connections are open.

use std::str::FromStr;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Which of the servers is wanted (libpq's `target_session_attrs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The first that answers.
    #[default]
    Any,
    /// The first that lets us write.
    ReadWrite,
    /// The first that is no standby.
    Primary,
}

/// Servers in the order they are tried.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub candidates: Vec<PgConnectOptions>,
    pub wanted: Wanted,
}

impl Address {
    /// Reads `postgres://user:password@host:port,host:port/database?…`; a password given apart wins.
    ///
    /// # Errors
    /// What is wrong. It may quote the address' query, but not its password.
    pub(super) fn parse(url: &str, password: &str) -> Result<Address, String> {
        let (before, query) = url.split_once('?').unwrap_or((url, ""));
        let mut wanted = Wanted::Any;
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("target_session_attrs", "any")) => wanted = Wanted::Any,
                Some(("target_session_attrs", "read-write")) => wanted = Wanted::ReadWrite,
                Some(("target_session_attrs", "primary")) => wanted = Wanted::Primary,
                Some(("target_session_attrs", _)) => {
                    return Err(
                        "target_session_attrs: expected any, read-write or primary: results are written there".into()
                    );
                }
                _ => kept.push(pair),
            }
        }
        let query = kept.join("&");
        let candidates: Result<Vec<PgConnectOptions>, String> =
            hosts(before).iter().map(|one| options(one, &query, password)).collect();
        Ok(Address { candidates: candidates?, wanted })
    }
}

/// The address once for each of its hosts.
fn hosts(url: &str) -> Vec<String> {
    let whole = || vec![url.to_string()];
    let Some((scheme, rest)) = url.split_once("://") else { return whole() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
    if !hosts.contains(',') {
        return whole();
    }
    let at = if login.is_empty() { "" } else { "@" };
    hosts.split(',').map(|host| format!("{scheme}://{login}{at}{host}{path}")).collect()
}

fn options(url: &str, query: &str, password: &str) -> Result<PgConnectOptions, String> {
    let url = if query.is_empty() { url.to_string() } else { format!("{url}?{query}") };
    let options = PgConnectOptions::from_str(&url).map_err(|error| error.to_string())?.application_name("probity");
    Ok(if password.is_empty() { options } else { options.password(password) })
}

/// The servers of a pool.
#[derive(Debug)]
pub(super) struct Servers {
    address: RwLock<Address>,
    limit: Duration,
    /// Held while somebody looks for another server.
    looking: tokio::sync::Mutex<()>,
}

impl Servers {
    pub(super) fn new(address: Address, limit: Duration) -> Servers {
        Servers { address: RwLock::new(address), limit, looking: tokio::sync::Mutex::new(()) }
    }

    fn address(&self) -> Address {
        self.address.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first server that is as wanted.
    pub(super) async fn fitting(&self, address: &Address) -> Result<PgConnectOptions, sqlx::Error> {
        let mut last = sqlx::Error::Configuration("no server is named".into());
        for candidate in &address.candidates {
            match tokio::time::timeout(self.limit, probe(candidate, address.wanted)).await {
                Ok(Ok(())) => return Ok(candidate.clone()),
                Ok(Err(error)) => last = error,
                Err(_) => {
                    let problem =
                        format!("no answer from {} within {} ms", candidate.get_host(), self.limit.as_millis());
                    last = sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, problem));
                }
            }
        }
        Err(last)
    }

    /// Another server that is as wanted, when there are several and the one that answered last does no more.
    pub(super) async fn elsewhere(&self, now: &PgConnectOptions) -> Option<PgConnectOptions> {
        let address = self.address();
        if address.candidates.len() < 2 {
            return None;
        }
        // Whoever comes while somebody looks need not look as well.
        let _looking = self.looking.try_lock().ok()?;
        let found = self.fitting(&address).await.ok()?;
        let (host, port) = (found.get_host(), found.get_port());
        if (host, port) == (now.get_host(), now.get_port()) {
            return None;
        }
        tracing::warn!(host, port, "results are stored on another server now");
        Some(found)
    }

    /// Another address or password, once a server takes it.
    pub(super) async fn renewed(&self, address: Address) -> Result<PgConnectOptions, sqlx::Error> {
        let found = self.fitting(&address).await?;
        *self.address.write().unwrap_or_else(PoisonError::into_inner) = address;
        Ok(found)
    }
}

async fn probe(options: &PgConnectOptions, wanted: Wanted) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let fits = check(&mut connection, wanted).await;
    // Saying goodbye is a courtesy; the connection is gone in any case.
    connection.close().await.ok();
    fits
}

/// Whether a connection is to the kind of server that is wanted.
pub(super) async fn check(connection: &mut PgConnection, wanted: Wanted) -> Result<(), sqlx::Error> {
    let (unfit, problem): (bool, &str) = match wanted {
        Wanted::Any => return Ok(()),
        Wanted::ReadWrite => {
            let read_only: String =
                sqlx::query_scalar("SHOW transaction_read_only").fetch_one(&mut *connection).await?;
            (read_only == "on", "the server is read-only (target_session_attrs=read-write)")
        }
        Wanted::Primary => {
            let standby = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut *connection).await?;
            (standby, "the server is a standby (target_session_attrs=primary)")
        }
    };
    if unfit { Err(sqlx::Error::Io(std::io::Error::other(problem))) } else { Ok(()) }
}

/// Changes the password of the address' own user. The server is sent what it would keep of it, so that no log of its has
/// the password.
pub(super) async fn change_password(address: &Address, limit: Duration, new: &str) -> Result<(), sqlx::Error> {
    let servers = Servers::new(address.clone(), limit);
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| sqlx::Error::Io(std::io::Error::other(error.to_string())))?;
    let mut connection = PgConnection::connect_with(&servers.fitting(address).await?).await?;
    let statement = format!("ALTER ROLE CURRENT_USER PASSWORD '{}'", verifier(new, &salt));
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

/// Rounds of PBKDF2, as Postgres has them.
const ROUNDS: u32 = 4096;

/// What Postgres keeps of a password (RFC 5803). The password must be ASCII, which needs no preparation.
fn verifier(password: &str, salt: &[u8]) -> String {
    let mac = |key: &[u8], parts: &[&[u8]]| -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut round = mac(password.as_bytes(), &[salt, &1_u32.to_be_bytes()]);
    let mut salted = round;
    for _ in 1..ROUNDS {
        round = mac(password.as_bytes(), &[&round]);
        salted.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
    }
    let stored = Sha256::digest(mac(&salted, &[b"Client Key"]));
    let server = mac(&salted, &[b"Server Key"]);
    let (salt, stored, server) = (STANDARD.encode(salt), STANDARD.encode(stored), STANDARD.encode(server));
    format!("SCRAM-SHA-256${ROUNDS}:{salt}${stored}:{server}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_are_several_candidates() {
        let read = |url| Address::parse(url, "");
        let two =
            read("postgres://ana:s3cret@one:5433,two/db?sslmode=require&target_session_attrs=read-write").unwrap();
        let shown: Vec<_> = two.candidates.iter().map(|c| (c.get_host(), c.get_port(), c.get_database())).collect();
        assert_eq!(shown, [("one", 5433, Some("db")), ("two", 5432, Some("db"))]);
        assert_eq!(two.wanted, Wanted::ReadWrite);
        let one = read("postgres://ana@[::1]:5433/db?target_session_attrs=primary").unwrap();
        assert_eq!((one.candidates.len(), one.wanted), (1, Wanted::Primary));
        assert!(read("postgres://h/db?target_session_attrs=standby").unwrap_err().contains("read-write or primary"));
        assert!(read("postgres://one,two:x/db").is_err());
    }

    /// RFC 7677's example user, in the form of RFC 5803.
    #[test]
    fn a_verifier_is_what_postgres_keeps() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        assert_eq!(
            verifier("pencil", &salt),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }
}
