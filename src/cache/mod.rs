//! Floor 4: a cache that replicas share (Redis, Dragonfly, Valkey), for what each of them could also know for itself.
//!
//! Nothing is kept there that a verdict rests on: it may be empty, away, slow or locked by a password at any time. A call
//! that it does not answer soon is given up, and it is left alone for a while.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use tokio::task::JoinHandle;
use url::Url;

use crate::clock::Clock;
use crate::net::{Encryption, Net};

/// How often something may be taken out of a bucket that refills evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Between two, microseconds; at least 1.
    pub interval_us: u64,
    /// How far ahead of that a burst may be, microseconds.
    pub tolerance_us: u64,
}

/// Where the cache is.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    encrypted: bool,
    user: Option<String>,
    password: Option<String>,
    database: i64,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Address {
    /// Reads `redis://[user:password@]host[:port][/database]`, or `rediss://` with TLS; a password given apart wins.
    ///
    /// # Errors
    /// What is wrong, without the text, which may hold a password.
    pub fn parse(text: &str, password: &str) -> Result<Address, String> {
        let expected = "expected an address such as redis://dragonfly:6379, or rediss:// with TLS";
        let url = Url::parse(text).map_err(|_| expected.to_string())?;
        let encrypted = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(expected.into()),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let database = match url.path().trim_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| format!("the path is no number of a database; {expected}"))?,
        };
        Ok(Address {
            host: url.host_str().filter(|host| !host.is_empty()).ok_or(expected)?.to_string(),
            port: url.port().unwrap_or(6379),
            encrypted,
            user: given(decoded(url.username())),
            password: given(password.to_string()).or_else(|| given(decoded(url.password().unwrap_or_default()))),
            database,
        })
    }
}

/// How it is used; defaults are those of `config.default.toml`.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    pub address: Address,
    /// An answer that is not there by then is not waited for.
    pub call: Duration,
    /// After a failure it is left alone for so long.
    pub pause: Duration,
}

/// A cache, connected to when it is first needed.
pub struct Cache {
    address: ArcSwap<Address>,
    call: Duration,
    pause: SignedDuration,
    net: Arc<Net>,
    clock: Clock,
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    connection: Option<(MultiplexedConnection, Driver)>,
    /// Somebody is connecting.
    connecting: bool,
    /// Left alone until then.
    paused_until: Option<Timestamp>,
    /// It was said that it is away.
    away: bool,
}

/// What moves a connection's bytes; ends with it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// GCRA: answers how long to wait, microseconds; 0: taken. The key is forgotten when it says nothing any more.
const TAKE: &str = "\
local interval, tolerance, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
due = math.min(due, now + tolerance + interval)
if due - now > tolerance then return due - now - tolerance end
redis.call('SET', KEYS[1], string.format('%.0f', due + interval), 'PX', math.ceil((due + interval - now) / 1000) + 1)
return 0";

impl Cache {
    pub fn new(options: CacheOptions, net: Arc<Net>, clock: Clock) -> Arc<Cache> {
        Arc::new(Cache {
            address: ArcSwap::from_pointee(options.address),
            call: options.call,
            pause: SignedDuration::try_from(options.pause).unwrap_or(SignedDuration::MAX),
            net,
            clock,
            link: Mutex::default(),
        })
    }

    /// Takes one out of a bucket that all replicas share; `Err`: how long until there is one. `None`: the cache does not
    /// say.
    pub async fn take(&self, name: &str, bucket: Bucket) -> Option<Result<(), Duration>> {
        let mut connection = self.connection().await?;
        let mut call = redis::cmd("EVAL");
        call.arg(TAKE).arg(1).arg(format!("probity:rate:{name}"));
        call.arg(bucket.interval_us).arg(bucket.tolerance_us).arg(self.clock.now().as_microsecond());
        let asked = async { call.query_async::<i64>(&mut connection).await.map_err(|error| said(&error)) };
        match tokio::time::timeout(self.call, asked).await {
            Ok(Ok(wait)) => Some(if wait <= 0 { Ok(()) } else { Err(Duration::from_micros(wait.unsigned_abs())) }),
            Ok(Err(problem)) => self.failed(&problem),
            Err(_) => self.failed(&format!("no answer within {} ms", self.call.as_millis())),
        }
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn ping(&self) -> Result<(), String> {
        let (mut connection, _driver) = self.connect().await?;
        let asked = async { redis::cmd("PING").query_async::<String>(&mut connection).await };
        let answer = tokio::time::timeout(self.call.max(Duration::from_secs(1)), asked).await;
        answer.map_err(|_| "it does not answer".to_string())?.map(drop).map_err(|error| said(&error))
    }

    /// Goes on at another address or with another password.
    pub fn renew(&self, address: Address) {
        self.address.store(Arc::new(address));
        let mut link = self.link();
        link.connection = None;
        link.paused_until = None;
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, made if there is none and nobody else is at it.
    async fn connection(&self) -> Option<MultiplexedConnection> {
        {
            let mut link = self.link();
            if let Some((connection, _)) = &link.connection {
                return Some(connection.clone());
            }
            let now = self.clock.now();
            if link.connecting || link.paused_until.is_some_and(|until| now < until) {
                return None;
            }
            link.connecting = true;
        }
        // Also when the caller goes away meanwhile.
        let connecting = Connecting(self);
        let connected = self.connect().await;
        drop(connecting);
        match connected {
            Ok((connection, driver)) => {
                let mut link = self.link();
                link.paused_until = None;
                if std::mem::take(&mut link.away) {
                    tracing::info!(cache = ?self.address.load(), "the cache is back");
                }
                link.connection = Some((connection.clone(), driver));
                Some(connection)
            }
            Err(problem) => self.failed(&problem),
        }
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, Driver), String> {
        let address = self.address.load_full();
        let how = if address.encrypted { Encryption::System } else { Encryption::None };
        let stream = self.net.connect(&address.host, address.port, how).await.map_err(|error| error.message)?;
        let mut info = RedisConnectionInfo::default().set_db(address.database).set_skip_set_lib_name();
        if let Some(user) = &address.user {
            info = info.set_username(user);
        }
        if let Some(password) = &address.password {
            info = info.set_password(password);
        }
        let greeting = MultiplexedConnection::new_with_config(&info, stream, AsyncConnectionConfig::new());
        let greeted = tokio::time::timeout(Duration::from_secs(2), greeting).await;
        let greeted = greeted.map_err(|_| "it does not answer".to_string())?;
        let (connection, driving) = greeted.map_err(|error| said(&error))?;
        Ok((connection, Driver(tokio::spawn(driving))))
    }

    /// Leaves it alone for a while.
    fn failed<T>(&self, problem: &str) -> Option<T> {
        let mut link = self.link();
        link.connection = None;
        link.paused_until = self.clock.now().saturating_add(self.pause).ok();
        if !std::mem::replace(&mut link.away, true) {
            let pause_s = self.pause.as_secs();
            tracing::warn!(cache = ?self.address.load(), pause_s, "the cache is away, and is done without: {problem}");
        }
        None
    }
}

struct Connecting<'a>(&'a Cache);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.link().connecting = false;
    }
}

/// What went wrong, in the server's words; a password is in none of them.
fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Whether a host is this machine, so that no password is fine.
pub fn is_local(address: &Address) -> bool {
    address.host == "localhost" || address.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Address {
    /// Whether it has a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_their_passwords_never_shown() {
        let read = |text, password| Address::parse(text, password);
        let plain = read("redis://dragonfly", "").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.database), ("dragonfly", 6379, 0));
        assert!(!plain.encrypted && !plain.has_password());
        let full = read("rediss://ana:s3%40cret@cache:6380/2", "").unwrap();
        assert_eq!((full.user.as_deref(), full.password.as_deref()), (Some("ana"), Some("s3@cret")));
        assert!(full.encrypted && full.port == 6380 && full.database == 2 && !format!("{full:?}").contains("cret"));
        assert_eq!(read("redis://:a@cache", "b").unwrap().password.as_deref(), Some("b"));
        for wrong in ["", "cache:6379", "http://s3cret@cache", "redis://", "redis://s3cret@cache/x"] {
            let problem = read(wrong, "").unwrap_err();
            assert!(problem.contains("redis://dragonfly") && !problem.contains("s3cret"), "{problem}");
        }
    }
}
