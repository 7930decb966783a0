//! At the door: STATUS' tokens with their authorities, limits by source and token, proxies that are trusted, and a real
//! Redis that replicas count together in, which may be away or locked.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use probity::api::{ApiOptions, AuthOptions, FlowToken, Permissions, Rate, RateOptions};
use probity::cache::{Address, Cache, CacheOptions};
use probity::clock::Clock;
use serde_json::json;

use crate::harness::redis::Redis;
use crate::harness::server::{Server, Setup, tab};

const SECRET: &str = "the JWT_SECRET of STATUS";

fn token(authority: &str, lasts_s: i64) -> String {
    let exp = Clock::System.now().as_second() + lasts_s;
    let claims = json!({ "user_id": 7, "username": "ana", "authority": authority, "exp": exp });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn auth(flow_status_token: FlowToken) -> AuthOptions {
    AuthOptions {
        // Somebody is configured, so nobody may do everything.
        tokens: [("ci".to_string(), "0".repeat(64))].into(),
        status_secret: SECRET.into(),
        status_roles: [("ADMIN".to_string(), Permissions::all()), ("USER".to_string(), Permissions::of_text("read"))]
            .into(),
        flow_status_token,
        ..AuthOptions::default()
    }
}

async fn server(options: ApiOptions) -> Server {
    Server::start(Setup { flows: tab("a", "get", "/hello", "echo"), options, ..Setup::default() }).await
}

async fn status(server: &Server, method: http::Method, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut call = server.client.request(method, server.url(path));
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    call.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_token_of_status_may_do_what_its_authority_may() {
    let server = server(ApiOptions { auth: auth(FlowToken::Off), ..ApiOptions::default() }).await;
    let (admin, user, old, nobody) = (token("ADMIN", 60), token("USER", 60), token("ADMIN", -60), token("GUEST", 60));
    let bearer = format!("Bearer {user}");
    for (headers, read, write) in [
        (vec![], 401, 401),
        // It may ask; that there is no such agreement is another matter.
        (vec![("x-access-token", admin.as_str())], 200, 0),
        (vec![("x-access-token", user.as_str())], 200, 403),
        (vec![("authorization", bearer.as_str())], 200, 403),
        (vec![("x-access-token", old.as_str())], 401, 401),
        (vec![("x-access-token", nobody.as_str())], 403, 403),
        // Basic authentication comes along with every call of status-backend.
        (vec![("x-access-token", user.as_str()), ("authorization", "Basic YTpi")], 200, 403),
    ] {
        let found = status(&server, http::Method::GET, "/probity/v1/runs", &headers).await;
        assert_eq!(found, read, "GET {headers:?}");
        let path = "/probity/v1/agreements/none/evaluate";
        let found = status(&server, http::Method::POST, path, &headers).await;
        let expected = if write == 0 { ![401, 403].contains(&found) } else { found == write };
        assert!(expected, "POST {headers:?}: {found}");
    }
}

#[tokio::test]
async fn flows_ask_for_a_token_where_they_are_told_to() {
    let (user, old, nobody) = (token("USER", 60), token("USER", -60), token("GUEST", 60));
    for (mode, without, with) in
        [(FlowToken::Off, 200, 200), (FlowToken::Enough, 401, 200), (FlowToken::Required, 401, 200)]
    {
        let server = server(ApiOptions { auth: auth(mode), ..ApiOptions::default() }).await;
        let call = async |headers: &[(&str, &str)]| status(&server, http::Method::GET, "/hello", headers).await;
        assert_eq!(call(&[]).await, without, "{mode:?}");
        assert_eq!(call(&[("x-access-token", &user)]).await, with, "{mode:?}");
        for wrong in [&old, &nobody, "nonsense"] {
            assert_eq!(call(&[("x-access-token", wrong)]).await, without, "{mode:?}");
        }
    }
    // Where a login is needed too, "required" asks for both and "enough" for either.
    let login = ("authorization", "Basic c3RhdHVzOmNvcnJlY3QgaG9yc2U=");
    for (mode, token_alone, login_alone) in [(FlowToken::Required, 401, 401), (FlowToken::Enough, 200, 200)] {
        let logins = [("status".to_string(), bcrypt::hash("correct horse", 4).unwrap())].into();
        let auth = AuthOptions { flow_logins: logins, ..auth(mode) };
        let server = server(ApiOptions { auth, ..ApiOptions::default() }).await;
        let call = async |headers: &[(&str, &str)]| status(&server, http::Method::GET, "/hello", headers).await;
        assert_eq!(call(&[("x-access-token", &user)]).await, token_alone, "{mode:?}");
        assert_eq!(call(&[login]).await, login_alone, "{mode:?}");
        assert_eq!(call(&[("x-access-token", &user), login]).await, 200, "{mode:?}");
    }
}

/// So slow that no call comes free while a test runs.
fn rates(burst: u32) -> RateOptions {
    RateOptions { source: Rate { per_min: 1, burst }, token: Rate::default(), sources_max: 1_000 }
}

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_come_again() {
    let trusted_proxies = vec!["127.0.0.0/8".to_string()];
    let server = server(ApiOptions { rates: rates(3), trusted_proxies, ..ApiOptions::default() }).await;
    for path in ["/hello", "/probity/v1/runs", "/no/such/path"] {
        assert_ne!(status(&server, http::Method::GET, path, &[]).await, 429, "{path}");
    }
    let refused = server.get("/hello").await;
    assert_eq!(refused.status(), 429);
    let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    assert_eq!(status(&server, http::Method::GET, "/health/live", &[]).await, 200);
    // Others come through the same proxy; what stands before the last address could be anybody's.
    for forged in ["203.0.113.7", "1.1.1.1, 203.0.113.7", "2.2.2.2, 203.0.113.7"] {
        assert_eq!(status(&server, http::Method::GET, "/hello", &[("x-forwarded-for", forged)]).await, 200);
    }
    let again = [("x-forwarded-for", "3.3.3.3, 203.0.113.7")];
    assert_eq!(status(&server, http::Method::GET, "/hello", &again).await, 429);
}

#[tokio::test]
async fn nobody_else_is_believed_about_where_a_call_comes_from() {
    let server = server(ApiOptions { rates: rates(2), ..ApiOptions::default() }).await;
    let mut seen = Vec::new();
    for forged in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        seen.push(status(&server, http::Method::GET, "/hello", &[("x-forwarded-for", forged)]).await);
    }
    assert_eq!(seen, [200, 200, 429]);
}

#[tokio::test]
async fn a_token_is_limited_beside_its_source() {
    let rates = RateOptions { token: Rate { per_min: 1, burst: 1 }, ..rates(100) };
    let server = server(ApiOptions { rates, ..ApiOptions::default() }).await;
    let call = async |token: &str| status(&server, http::Method::GET, "/hello", &[("authorization", token)]).await;
    assert_eq!((call("Bearer a").await, call("Bearer b").await, call("Bearer a").await), (200, 200, 429));
    assert_eq!(status(&server, http::Method::GET, "/hello", &[]).await, 200);
}

fn cache(redis: &Redis, password: &str) -> Arc<Cache> {
    let address = Address::parse(&format!("redis://127.0.0.1:{}", redis.port), password).unwrap();
    // Whoever else tests on this machine may take its time; and what was found away stays so for the test.
    let options = CacheOptions { address, call: Duration::from_secs(10), pause: Duration::from_secs(3_600) };
    Cache::new(options, Default::default(), Clock::System)
}

async fn replica(cache: Arc<Cache>) -> Server {
    let trusted_proxies = vec!["127.0.0.0/8".to_string()];
    server(ApiOptions { rates: rates(4), trusted_proxies, cache: Some(cache), ..ApiOptions::default() }).await
}

/// How many of eight calls, to two replicas by turns, are let through.
async fn let_through(replicas: &[Server; 2], source: &str) -> usize {
    let mut count = 0;
    for n in 0..12 {
        let found = status(&replicas[n % 2], http::Method::GET, "/hello", &[("x-forwarded-for", source)]).await;
        assert!([200, 429].contains(&found), "{found}");
        count += usize::from(found == 200);
    }
    count
}

#[tokio::test]
async fn replicas_count_together_in_a_redis_and_each_for_itself_without() {
    let Some(redis) = Redis::start(None, Some("its password")).await else { return };
    let together = [replica(cache(&redis, "its password")).await, replica(cache(&redis, "its password")).await];
    assert_eq!(let_through(&together, "203.0.113.1").await, 4);
    // With no password, or a wrong one, it is as if there were none.
    for wrong in ["", "another"] {
        let apart = [replica(cache(&redis, wrong)).await, replica(cache(&redis, wrong)).await];
        assert_eq!(let_through(&apart, "203.0.113.2").await, 8, "{wrong}");
        assert!(cache(&redis, wrong).ping().await.is_err());
    }
    cache(&redis, "its password").ping().await.unwrap();
    // It dies under them: nobody sees more than that the limit is each one's own.
    drop(redis);
    assert_eq!(let_through(&together, "203.0.113.3").await, 8);
}

#[tokio::test]
async fn a_cache_that_comes_back_is_used_again() {
    let Some(redis) = Redis::start(None, None).await else { return };
    let port = redis.port;
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let address = Address::parse(&format!("redis://127.0.0.1:{port}"), "").unwrap();
    let options = CacheOptions { address, call: Duration::from_secs(10), pause: Duration::from_secs(5) };
    let cache = Cache::new(options, Default::default(), clock.clone());
    let bucket = probity::cache::Bucket { interval_us: 60_000_000, tolerance_us: 0 };
    assert_eq!(cache.take("a", bucket).await, Some(Ok(())));
    assert_eq!(cache.take("a", bucket).await, Some(Err(Duration::from_secs(60))));
    drop(redis);
    assert_eq!(cache.take("a", bucket).await, None);
    let Some(_redis) = Redis::start(Some(port), None).await else { return };
    // Left alone for a while first.
    assert_eq!(cache.take("b", bucket).await, None);
    clock.advance(Duration::from_secs(5));
    assert_eq!(cache.take("b", bucket).await, Some(Ok(())));
}

/// What a verdict is made of must not know that there is a cache.
#[test]
fn only_the_door_knows_the_cache() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    for module in ["agreement", "evaluate", "expr", "runtime", "nodes", "schedule", "store", "registry", "plugin"] {
        let mut folders = vec![std::path::PathBuf::from(format!("{root}/{module}"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(!text.contains("crate::cache"), "{} uses the cache", path.display());
                }
            }
        }
    }
}
