//! Addresses of databases: opening them, and showing them without their passwords.

use std::sync::Arc;

use super::{Store, StoreError, StoreOptions, memory, postgres, sqlite};

/// Opens the store at `sqlite:<path>` (file and folder are created), `postgres://…` or `memory:` (gone with the
/// process; for tests). The schema is not touched: [`Store::migrate`] does that.
///
/// # Errors
/// [`StoreError::Unusable`] naming the address without its password, what is wrong and what to do.
pub async fn open(url: &str, options: &StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "memory" => Ok(open_memory(options, crate::clock::Clock::System)),
        "sqlite" => Ok(Arc::new(sqlite::SqliteStore::open(url, options).await?)),
        "postgres" | "postgresql" => Ok(Arc::new(postgres::PostgresStore::open(url, options).await?)),
        _ => Err(StoreError::Unusable {
            url: without_password(url),
            problem: if scheme.is_empty() {
                "it names no kind of database".into()
            } else {
                format!("{scheme:?} is no kind of database Probity knows")
            },
            hint: "give sqlite:<path> or postgres://user:password@host:5432/database".into(),
        }),
    }
}

/// An empty store in memory whose durable runs go by this clock, as those of a database go by the database's.
pub fn open_memory(options: &StoreOptions, clock: crate::clock::Clock) -> Arc<dyn Store> {
    Arc::new(memory::MemoryStore::new(options, clock))
}

/// Gives the user of a Postgres address another password.
///
/// # Errors
/// The address is of no Postgres, or that refuses; then the password is as it was.
pub async fn change_password(url: &str, options: &StoreOptions, new: &str) -> Result<(), StoreError> {
    if !url.starts_with("postgres") {
        return Err(StoreError::Unusable {
            url: without_password(url),
            problem: "it is no Postgres, and has no password".into(),
            hint: "only the password of a Postgres can be changed".into(),
        });
    }
    postgres::change_password(url, options, new).await
}

/// Parts of an address's query that may be printed.
const SHOWN_PARAMETERS: &[&str] = &["host", "port", "user", "dbname", "sslmode", "target_session_attrs"];

/// The address as it may be printed: no password, in whichever place it stands, nor in an address that is none because
/// its password was not percent-encoded.
pub(super) fn without_password(url: &str) -> String {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let scheme = address.split(':').next().unwrap_or_default();
    let rest = address.split_once("://").map(|(_, rest)| rest);
    let Some(rest) = rest.filter(|_| !query.contains('@')) else {
        return if url.contains('@') { format!("{scheme}:…") } else { address.to_owned() };
    };
    // The last `@`, since a password that was not percent-encoded may hold one.
    let shown = match rest.rsplit_once('@') {
        Some((login, host)) => format!("{scheme}://{}@{host}", login.split(':').next().unwrap_or_default()),
        None => match rest.split('/').next().unwrap_or_default().rsplit_once(':') {
            // What stands for the port is none: the host was forgotten, and this is the password.
            Some((host, port)) if !port.ends_with(']') && !port.bytes().all(|b| b.is_ascii_digit()) => {
                format!("{scheme}://{host}:…")
            }
            _ => address.to_owned(),
        },
    };
    let may_be_shown = |pair: &&str| SHOWN_PARAMETERS.contains(&pair.split('=').next().unwrap_or_default());
    let query: Vec<&str> = query.split('&').filter(may_be_shown).collect();
    if query.is_empty() { shown } else { format!("{shown}?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://ana:s3cret@db:5432/p",
            "postgres://ana:s3cr@et@db/p",
            "postgres://ana:s3cret/x@db/p?password=s3cret",
            "postgresql://db/p?user=ana&password=s3cret",
            "mysql://ana:s3cret@db/p",
            "postgres://ana:s3cr#et@db/p",
        ] {
            let shown = without_password(url);
            assert!(!shown.contains("s3cr") && shown.contains("db"), "{url} is shown as {shown}");
        }
        assert_eq!(
            without_password("postgres://ana@db:5432/p?sslmode=require"),
            "postgres://ana@db:5432/p?sslmode=require"
        );
        assert_eq!(without_password("postgres:///p?host=/run/pg&user=ana"), "postgres:///p?host=/run/pg&user=ana");
        assert_eq!(without_password("postgres://[::1]/p"), "postgres://[::1]/p");
    }

    /// A password that was not percent-encoded may end up anywhere; then less is shown.
    #[test]
    fn a_password_in_a_broken_address_is_not_shown_either() {
        for url in [
            "postgres:ana:s3cret@db/p",
            "postgres://ana:s3?cret@db/p",
            "postgres://ana:?s3cret@db/p",
            "postgres://ana:x@y?s3cret@db/p",
            "postgres://ana:x?s3cret=1&host=s3cret@db/p",
            "postgres://db/p?Password=s3cret&user=ana",
            "postgres://ana:s3cret/p",
            "sqlite:data/x?key=s3cret",
        ] {
            let shown = without_password(url);
            assert!(!shown.contains("s3") && !shown.contains("cret"), "{url} is shown as {shown}");
        }
    }

    #[tokio::test]
    async fn an_unknown_database_is_refused_with_what_to_give_instead() {
        for url in ["", "mysql://ana:s3cret@db/p", "data/probity.db"] {
            let error = open(url, &StoreOptions::default()).await.err().unwrap().to_string();
            assert!(error.contains("sqlite:<path>") && !error.contains("s3cret"), "{error}");
        }
    }
}
