//! Who may call: users with bcrypt hashes (Basic) and API tokens (Bearer). Hashing runs off the event loop, what was
//! verified is remembered for a while, and guessing is slowed down.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::password;
use super::permissions::Permissions;
use super::status_token::{self, FlowToken};

/// Users and tokens.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// Name → bcrypt hash (`$2a`, `$2b` or `$2y`).
    pub users: BTreeMap<String, String>,
    /// Name → SHA-256 of the token, hex.
    pub tokens: BTreeMap<String, String>,
    /// What a user may do with the Admin API and with ours; everything for who is not named.
    pub permissions: BTreeMap<String, Permissions>,
    /// What anybody may do who is not logged in, beside what needs no login; `None`: nothing.
    pub default_permissions: Option<Permissions>,
    /// Users who may call flow endpoints, `*` for all. Empty, and no `flow_logins`: flow endpoints need no login.
    pub flow_users: Vec<String>,
    /// Those who may call flow endpoints and nothing else: name → bcrypt hash.
    pub flow_logins: BTreeMap<String, String>,
    /// A user of everything whose password the environment gave: name and [`password::given`].
    pub environment_user: Option<(String, String)>,
    /// A login to the Admin API lasts this long, seconds.
    pub session_s_max: u32,
    /// Whether who has a shipped password ([`password::SHIPPED`]) is let in.
    pub allow_default_passwords: bool,
    /// Secret that STATUS signs its tokens with (its `JWT_SECRET`, HS256): who shows such a token in `x-access-token`, or
    /// as a Bearer, may do what [`AuthOptions::status_roles`] says, and write on the addresses of the Registry and
    /// Director APIs. Empty: such tokens mean nothing.
    pub status_secret: String,
    /// How far STATUS' clock may be from ours, seconds.
    pub status_leeway_s: u32,
    /// What the authorities in STATUS' tokens may do; nothing who is not named.
    pub status_roles: BTreeMap<String, Permissions>,
    /// Whether calls of flows are held to such tokens.
    pub flow_status_token: FlowToken,
    /// What counted before secrets were changed, for a while.
    pub former: Vec<Former>,
    /// Host names this server answers to besides loopback ones, when nobody needs to log in.
    pub hosts: Vec<String>,
}

impl Default for AuthOptions {
    /// Nobody.
    fn default() -> Self {
        AuthOptions {
            users: BTreeMap::new(),
            tokens: BTreeMap::new(),
            permissions: BTreeMap::new(),
            default_permissions: None,
            flow_users: Vec::new(),
            flow_logins: BTreeMap::new(),
            environment_user: None,
            session_s_max: SESSION_S_MAX,
            allow_default_passwords: false,
            status_secret: String::new(),
            status_leeway_s: 0,
            status_roles: BTreeMap::new(),
            flow_status_token: FlowToken::Off,
            former: Vec::new(),
            hosts: Vec::new(),
        }
    }
}

/// Secrets that were replaced, and until when they still count.
#[derive(Clone, Debug)]
pub struct Former {
    until: Timestamp,
    status_secret: String,
    tokens: BTreeMap<String, String>,
    environment_user: Option<(String, String)>,
}

/// Changes that are remembered at once.
const FORMER_MAX: usize = 8;

/// A login lasts a week unless configured otherwise, as in Node-RED.
const SESSION_S_MAX: u32 = 604_800;

impl AuthOptions {
    /// True when nobody is configured: whoever reaches the port may do everything.
    pub fn is_open(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty() && self.environment_user.is_none()
    }

    /// Whether a call to a flow endpoint needs a login.
    pub fn flows_need_login(&self) -> bool {
        !self.flow_users.is_empty() || !self.flow_logins.is_empty() || self.environment_user.is_some()
    }

    /// These in the place of others: what those had and these have not counts for a while yet.
    pub fn succeeding(mut self, before: &AuthOptions, now: Timestamp, overlap_s: u32) -> AuthOptions {
        let until = now.saturating_add(SignedDuration::from_secs(overlap_s.into())).unwrap_or(Timestamp::MAX);
        let replaced = before.status_secret != self.status_secret
            || before.tokens != self.tokens
            || before.environment_user != self.environment_user;
        self.former = before.former.iter().filter(|former| now < former.until).cloned().collect();
        if replaced {
            self.former.push(Former {
                until,
                status_secret: before.status_secret.clone(),
                // A token that is gone was taken from somebody; one that has another hash was renewed.
                tokens: before.tokens.iter().filter(|(name, _)| self.tokens.contains_key(*name)).map(owned).collect(),
                environment_user: before.environment_user.clone(),
            });
        }
        let forgotten = self.former.len().saturating_sub(FORMER_MAX);
        self.former.drain(..forgotten);
        self
    }

    fn former(&self, now: Timestamp) -> impl Iterator<Item = &Former> {
        self.former.iter().filter(move |former| now < former.until)
    }

    /// The secrets that STATUS' tokens may be signed with, the present one first.
    pub(super) fn status_secrets(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let former = self.former(now).map(|former| former.status_secret.as_str());
        std::iter::once(self.status_secret.as_str()).chain(former).filter(|secret| !secret.is_empty())
    }

    /// What a user may do.
    pub fn permissions_of(&self, name: &str) -> Permissions {
        self.permissions.get(name).cloned().unwrap_or_else(Permissions::all)
    }

    /// The hashes of passwords that let this user in; former ones only where an instant is given.
    fn hashes(&self, realm: Realm, name: &str, now: Option<Timestamp>) -> Vec<String> {
        let may_call = |users: &[String]| users.iter().any(|user| user == name || user == "*");
        let own = self.users.get(name).filter(|_| realm == Realm::Users || may_call(&self.flow_users));
        let flow = self.flow_logins.get(name).filter(|_| realm == Realm::Flows);
        let environment = self.environment_user.as_ref().filter(|(user, _)| user == name).map(|(_, hash)| hash);
        let mut hashes: Vec<String> = [own, flow, environment].into_iter().flatten().cloned().collect();
        let former =
            now.into_iter().flat_map(|now| self.former(now)).filter_map(|former| former.environment_user.as_ref());
        hashes.extend(former.filter(|(user, _)| user == name).map(|(_, hash)| hash.clone()));
        hashes.dedup();
        hashes
    }

    /// All who log in with a password: where they stand, name and hash.
    pub fn password_users(&self) -> impl Iterator<Item = (&'static str, &String, &String)> {
        let users = self.users.iter().map(|(name, hash)| ("auth.users", name, hash));
        let flows = self.flow_logins.iter().map(|(name, hash)| ("auth.flow_logins", name, hash));
        let environment = self.environment_user.iter().map(|(name, hash)| ("USER_STATUS", name, hash));
        users.chain(flows).chain(environment)
    }

    /// True when whoever reaches the Registry or Director API may write there.
    pub fn writes_are_open(&self) -> bool {
        self.is_open() && self.status_secret.is_empty()
    }

    /// Everything wrong with these options.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (table, name, hash) in self.password_users() {
            if !password::is_hash(hash) {
                problems.push(format!(
                    "{table}.{name}: not a bcrypt hash; expected $2a$, $2b$ or $2y$ with 60 characters, \
                     as `htpasswd -nbB {name} <password>` prints"
                ));
            }
            if name.contains(':') {
                problems.push(format!("{table}.{name}: a name cannot contain ':'"));
            }
        }
        for (name, hash) in &self.tokens {
            if hex::decode(hash).map_or(0, |h| h.len()) != 32 {
                problems.push(format!(
                    "auth.tokens.{name}: expected the SHA-256 of the token as 64 hex digits, \
                     as `printf %s \"$TOKEN\" | sha256sum` prints"
                ));
            }
        }
        for name in &self.flow_users {
            if name != "*" && !self.users.contains_key(name) {
                problems.push(format!("auth.flow_users: no user \"{name}\" in auth.users"));
            }
        }
        problems
    }
}

/// Refuses to be reachable from elsewhere while nobody needs to log in. The error prints the lines that would
/// allow it.
pub fn check_exposure(listen: SocketAddr, auth: &AuthOptions) -> Result<(), String> {
    if !auth.is_open() || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "refusing to listen on {listen}: no users are configured, so only loopback addresses are allowed\n\
         to allow it, put a user into the configuration file (the hash comes from `htpasswd -nbB admin <password>`):\n\n\
         [auth]\nusers = {{ admin = \"$2y$10$…\" }}\n"
    ))
}

/// Refuses to let everybody write on an address of the Registry or Director API that others reach. `key` is the
/// configuration key of the address.
pub fn check_exposure_apart(key: &str, listen: SocketAddr, auth: &AuthOptions) -> Result<(), String> {
    if !auth.writes_are_open() || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "refusing to listen on {listen} ({key}): nobody is configured who may write there, so only loopback addresses \
         are allowed\n\
         to allow it, put the secret that STATUS signs its tokens with, or users, into the configuration file:\n\n\
         [auth]\nstatus_secret = \"…\"\n"
    ))
}

/// Who made a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User or token name; `anonymous` when nobody needs to log in.
    pub name: String,
    /// Authenticated by a token, which no browser sends by itself.
    pub by_token: bool,
    /// What the caller may do with the Admin API.
    pub permissions: Permissions,
    /// True for who did not log in.
    pub anonymous: bool,
}

impl Caller {
    /// Who logged in and may do everything.
    pub(super) fn known(name: impl Into<String>, by_token: bool) -> Caller {
        Caller { name: name.into(), by_token, permissions: Permissions::all(), anonymous: false }
    }

    /// Who did not log in.
    pub(super) fn anonymous(permissions: Permissions) -> Caller {
        Caller { name: "anonymous".into(), by_token: false, permissions, anonymous: true }
    }
}

/// What a password is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Realm {
    /// Everything of ours and the Admin API.
    Users,
    /// Flow endpoints.
    Flows,
}

/// Why a call was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    NoCredentials,
    WrongCredentials,
    /// Too many failures from this address; wait this many seconds.
    TooManyFailures {
        retry_s: i64,
    },
}

/// Failures from one address within [`FAILURE_WINDOW`] before further tries are refused unseen.
const FAILURES_MAX: u32 = 10;
const FAILURE_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// How long a verified password is believed without hashing it again.
const VERIFIED_FOR: SignedDuration = SignedDuration::from_secs(300);
/// Entries kept in either table.
const ENTRIES_MAX: usize = 10_000;
/// Verified for unknown names, so that they take as long as known ones; whether it fits never matters.
const NOBODY: &str = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";

fn owned((name, text): (&String, &String)) -> (String, String) {
    (name.clone(), text.clone())
}

pub(super) struct Auth {
    options: ArcSwap<AuthOptions>,
    /// Keys the table of verified credentials, so that it is no table of password hashes.
    salt: [u8; 32],
    verified: Mutex<HashMap<[u8; 32], Timestamp>>,
    failures: Mutex<HashMap<IpAddr, (Timestamp, u32)>>,
    /// Hashes computed at once: bcrypt is made to be slow, and others want the cores too.
    hashing: Semaphore,
    /// Hashes found to be of a shipped password.
    shipped: Arc<Mutex<BTreeSet<String>>>,
}

impl Auth {
    pub(super) fn new(options: AuthOptions) -> Auth {
        let mut salt = [0; 32];
        salt[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        salt[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        let shipped = known_shipped(&options);
        Auth {
            options: ArcSwap::from_pointee(options),
            salt,
            verified: Mutex::default(),
            failures: Mutex::default(),
            hashing: Semaphore::new(2),
            shipped: Arc::new(Mutex::new(shipped)),
        }
    }

    /// Looks for users with shipped passwords, on a thread of its own since that takes seconds, and names them in the
    /// log. Until it is done such a user is refused all the same, at login.
    pub(super) fn look_for_shipped_passwords(&self) {
        let options = self.options();
        if options.allow_default_passwords {
            return;
        }
        let shipped = self.shipped.clone();
        let look = move || {
            for (table, name, hash) in options.password_users() {
                if let Some(found) = password::shipped_behind(hash) {
                    shipped.lock().unwrap_or_else(|p| p.into_inner()).insert(hash.clone());
                    tracing::warn!("{}", disabled(table, name, found));
                }
            }
        };
        tokio::task::spawn_blocking(look);
    }

    /// Whether a user has no other password than shipped ones.
    pub(super) fn is_disabled(&self, realm: Realm, name: &str) -> bool {
        let options = self.options();
        let hashes = options.hashes(realm, name, None);
        let shipped = self.shipped.lock().unwrap_or_else(|p| p.into_inner());
        !options.allow_default_passwords && !hashes.is_empty() && hashes.iter().all(|hash| shipped.contains(hash))
    }

    pub(super) fn options(&self) -> Arc<AuthOptions> {
        self.options.load_full()
    }

    /// Lets others in from now on. What was verified is verified anew.
    pub(super) fn renew(&self, options: AuthOptions) {
        *self.shipped.lock().unwrap_or_else(|p| p.into_inner()) = known_shipped(&options);
        self.options.store(Arc::new(options));
        self.verified.lock().unwrap_or_else(|p| p.into_inner()).clear();
        self.look_for_shipped_passwords();
    }

    /// Who calls, by the `Authorization` header.
    pub(super) async fn check(
        &self,
        headers: &HeaderMap,
        realm: Realm,
        ip: IpAddr,
        now: Timestamp,
    ) -> Result<Caller, Denied> {
        let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (scheme, secret) = given.split_once(' ').unwrap_or((given, ""));
        let caller = if scheme.eq_ignore_ascii_case("basic") {
            self.check_basic(secret.trim(), realm, ip, now).await?
        } else if scheme.eq_ignore_ascii_case("bearer") {
            if status_token::looks_like_one(secret.trim()) && !self.options().status_secret.is_empty() {
                return self.check_status_token(secret.as_bytes(), now);
            }
            self.not_too_many(ip, now)?;
            self.token_name(secret.trim(), now).map(|name| {
                let permissions = self.options().permissions_of(&name);
                Caller { permissions, ..Caller::known(name, true) }
            })
        } else {
            return Err(Denied::NoCredentials);
        };
        caller.ok_or_else(|| {
            self.failed(ip, now);
            Denied::WrongCredentials
        })
    }

    /// Who calls, by a token that STATUS signed ([`status_token::caller`]).
    ///
    /// One that is refused is no failed login: behind STATUS all users come from one address, whose tokens may be over, or
    /// signed with a secret that we get in a moment; and nobody guesses a signature by asking.
    pub(super) fn check_status_token(&self, token: &[u8], now: Timestamp) -> Result<Caller, Denied> {
        status_token::caller(&self.options(), token, now).map_err(|refused| {
            tracing::debug!(?refused, "a token of STATUS is refused");
            Denied::WrongCredentials
        })
    }

    /// The name of one of `auth.tokens`.
    pub(super) fn token_name(&self, token: &str, now: Timestamp) -> Option<String> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let equal = |hash: &String| {
            hex::decode(hash).is_ok_and(|h| {
                h.len() == digest.len() && h.iter().zip(&digest).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
            })
        };
        let options = self.options();
        let former = options.former(now).flat_map(|former| &former.tokens);
        options.tokens.iter().chain(former).find(|(_, hash)| equal(hash)).map(|(name, _)| name.clone())
    }

    async fn check_basic(
        &self,
        secret: &str,
        realm: Realm,
        ip: IpAddr,
        now: Timestamp,
    ) -> Result<Option<Caller>, Denied> {
        let pair = STANDARD.decode(secret).ok().and_then(|b| String::from_utf8(b).ok()).unwrap_or_default();
        let Some((name, password)) = pair.split_once(':') else { return Ok(None) };
        let fits = self.password_fits(realm, name, password, Some(ip), now).await?;
        Ok(fits.then(|| Caller { permissions: self.options().permissions_of(name), ..Caller::known(name, false) }))
    }

    /// Whether a password lets this user in. `ip`: whose failures count, when they do.
    pub(super) async fn password_fits(
        &self,
        realm: Realm,
        name: &str,
        password: &str,
        ip: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<bool, Denied> {
        let key = self.key(realm, name, password);
        if self.is_verified(&key, now) {
            return Ok(true);
        }
        let not_too_many = || ip.map_or(Ok(()), |ip| self.not_too_many(ip, now));
        not_too_many()?;
        let hashes = self.options().hashes(realm, name, Some(now));
        let known = !hashes.is_empty();
        let tried = if known { hashes } else { vec![NOBODY.to_string()] };
        let _turn = self.hashing.acquire().await.expect("this semaphore is never closed");
        // Once more: those who stood in line before may have failed too often by now.
        not_too_many()?;
        let fits = {
            let password = password.to_string();
            move || tried.into_iter().find(|hash| password::verify(&password, hash))
        };
        let hash = tokio::task::spawn_blocking(fits).await.unwrap_or_default();
        let Some(hash) = hash.filter(|_| known) else { return Ok(false) };
        if password::is_shipped(password) && !self.options().allow_default_passwords {
            if self.shipped.lock().unwrap_or_else(|p| p.into_inner()).insert(hash) {
                tracing::warn!("{}", disabled("auth.users", name, password));
            }
            return Ok(false);
        }
        let mut table = self.verified.lock().unwrap_or_else(|p| p.into_inner());
        if table.len() >= ENTRIES_MAX {
            table.clear();
        }
        table.insert(key, now + VERIFIED_FOR);
        Ok(true)
    }

    fn key(&self, realm: Realm, name: &str, password: &str) -> [u8; 32] {
        // Both are hashed first, so that no two pairs give the same text.
        let mut hasher = Sha256::new();
        hasher.update(self.salt);
        hasher.update([realm as u8]);
        hasher.update(Sha256::digest(name.as_bytes()));
        hasher.update(Sha256::digest(password.as_bytes()));
        hasher.finalize().into()
    }

    fn is_verified(&self, key: &[u8; 32], now: Timestamp) -> bool {
        let table = self.verified.lock().unwrap_or_else(|p| p.into_inner());
        table.get(key).is_some_and(|until| *until > now)
    }

    fn not_too_many(&self, ip: IpAddr, now: Timestamp) -> Result<(), Denied> {
        let failures = self.failures.lock().unwrap_or_else(|p| p.into_inner());
        match failures.get(&network(ip)) {
            Some((since, n)) if *n >= FAILURES_MAX && now < *since + FAILURE_WINDOW => {
                Err(Denied::TooManyFailures { retry_s: (*since + FAILURE_WINDOW).duration_since(now).as_secs().max(1) })
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, ip: IpAddr, now: Timestamp) {
        let mut failures = self.failures.lock().unwrap_or_else(|p| p.into_inner());
        if failures.len() >= ENTRIES_MAX {
            failures.retain(|_, (since, _)| now < *since + FAILURE_WINDOW);
            // Still full: so many addresses are one attack, and memory is worth more than its count.
            if failures.len() >= ENTRIES_MAX {
                failures.clear();
            }
        }
        let entry = failures.entry(network(ip)).or_insert((now, 0));
        if now >= entry.0 + FAILURE_WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
        tracing::warn!(%ip, failures = entry.1, "a login failed");
    }
}

/// Hashes of shipped passwords that need no trying.
fn known_shipped(options: &AuthOptions) -> BTreeSet<String> {
    let known = options.password_users().map(|(.., hash)| hash);
    known.filter(|hash| password::known_hash(hash).is_some()).cloned().collect()
}

/// Says that a user cannot log in because the password is one that everybody knows.
pub fn disabled(table: &str, name: &str, password: &str) -> String {
    format!(
        "{table}: user \"{name}\" is disabled: \"{password}\" is a password that installations come with; give the user \
         another one (`htpasswd -nbB {name} <password>` prints its hash), or set PROBITY_ALLOW_DEFAULT_PASSWORDS=1 for a \
         demonstration"
    )
}

/// Whose guesses are counted together: one IPv4 address, or one IPv6 network of 64 bits, which is what one customer has.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests;
