//! Who is let in, who is not, and who has tried too often.

use super::*;

fn auth() -> Auth {
    let users = [("ana".to_string(), bcrypt::hash("secret", 4).unwrap())].into();
    let tokens = [("ci".to_string(), hex::encode(Sha256::digest(b"t0ken")))].into();
    Auth::new(AuthOptions { users, tokens, ..AuthOptions::default() })
}

fn header(text: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, text.parse().unwrap())])
}

fn basic(pair: &str) -> HeaderMap {
    header(&format!("Basic {}", STANDARD.encode(pair)))
}

#[tokio::test]
async fn users_and_tokens_are_let_in_and_others_are_not() {
    let auth = auth();
    let (ip, now) = ("10.0.0.1".parse().unwrap(), Timestamp::UNIX_EPOCH);
    let name = |r: Result<Caller, Denied>| r.map(|c| c.name);
    assert_eq!(name(auth.check(&basic("ana:secret"), Realm::Users, ip, now).await), Ok("ana".into()));
    assert_eq!(name(auth.check(&header("Bearer t0ken"), Realm::Users, ip, now).await), Ok("ci".into()));
    assert_eq!(name(auth.check(&basic("ana:wrong"), Realm::Users, ip, now).await), Err(Denied::WrongCredentials));
    assert_eq!(name(auth.check(&basic("bob:secret"), Realm::Users, ip, now).await), Err(Denied::WrongCredentials));
    assert_eq!(name(auth.check(&header("Bearer x"), Realm::Users, ip, now).await), Err(Denied::WrongCredentials));
    assert_eq!(name(auth.check(&HeaderMap::new(), Realm::Users, ip, now).await), Err(Denied::NoCredentials));
    assert_eq!(name(auth.check(&header("Basic !"), Realm::Users, ip, now).await), Err(Denied::WrongCredentials));
}

#[tokio::test]
async fn guessing_is_slowed_down_but_not_for_who_is_known() {
    let auth = auth();
    let (ip, now) = ("10.0.0.1".parse().unwrap(), Timestamp::UNIX_EPOCH);
    auth.check(&basic("ana:secret"), Realm::Users, ip, now).await.unwrap();
    for _ in 0..FAILURES_MAX {
        assert_eq!(auth.check(&header("Bearer x"), Realm::Users, ip, now).await, Err(Denied::WrongCredentials));
    }
    assert_eq!(
        auth.check(&basic("ana:other"), Realm::Users, ip, now).await,
        Err(Denied::TooManyFailures { retry_s: 60 })
    );
    assert!(auth.check(&basic("ana:secret"), Realm::Users, ip, now).await.is_ok());
    assert!(auth.check(&header("Bearer t0ken"), Realm::Users, "10.0.0.2".parse().unwrap(), now).await.is_ok());
    assert!(auth.check(&header("Bearer t0ken"), Realm::Users, ip, now + FAILURE_WINDOW).await.is_ok());
}

#[tokio::test]
async fn guessing_in_parallel_is_slowed_down_too() {
    let auth = auth();
    let (ip, now) = ("10.0.0.1".parse().unwrap(), Timestamp::UNIX_EPOCH);
    let guesses: Vec<HeaderMap> = (0..100).map(|i| basic(&format!("ana:guess{i}"))).collect();
    let answers = futures_util::future::join_all(guesses.iter().map(|g| auth.check(g, Realm::Users, ip, now))).await;
    let looked_at = answers.iter().filter(|a| **a == Err(Denied::WrongCredentials)).count();
    assert!((10..=12).contains(&looked_at), "{looked_at} of 100 guesses were looked at");
}

#[tokio::test]
async fn neighbours_in_one_ipv6_network_are_one_guesser_and_the_table_is_bounded() {
    let (auth, now) = (auth(), Timestamp::UNIX_EPOCH);
    let guess = header("Bearer x");
    for host in 0..FAILURES_MAX {
        let ip = format!("2001:db8::{host:x}").parse().unwrap();
        assert_eq!(auth.check(&guess, Realm::Users, ip, now).await, Err(Denied::WrongCredentials));
    }
    let another = auth.check(&guess, Realm::Users, "2001:db8::ffff".parse().unwrap(), now).await;
    assert!(matches!(another, Err(Denied::TooManyFailures { .. })), "{another:?}");
    for i in 0..ENTRIES_MAX as u32 + 5 {
        auth.failed(IpAddr::from((0x0a00_0000 + i).to_be_bytes()), now);
    }
    assert!(auth.failures.lock().unwrap().len() <= ENTRIES_MAX);
}

#[test]
fn status_tokens_are_believed_while_they_last_and_in_their_own_algorithm_only() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    let auth = Auth::new(AuthOptions { status_secret: "s3cret".into(), ..AuthOptions::default() });
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let token = |algorithm, secret: &[u8], claims: serde_json::Value| {
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(secret)).unwrap()
    };
    let check = |token: &str| auth.check_status_token(token.as_bytes(), now);
    let lasting = serde_json::json!({ "username": "ana", "authority": "ADMIN", "exp": 1_700_000_001 });
    let good = token(Algorithm::HS256, b"s3cret", lasting.clone());
    assert_eq!(check(&good).map(|caller| (caller.name, caller.by_token)), Ok(("ana".into(), true)));
    let nobody = good.split('.').enumerate().map(|(i, part)| if i == 0 { "eyJhbGciOiJub25lIn0" } else { part });
    let nobody: Vec<&str> = nobody.collect();
    let unsigned = format!("{}.{}.", nobody[0], nobody[1]);
    for wrong in [
        token(Algorithm::HS256, b"other", lasting.clone()),
        token(Algorithm::HS512, b"s3cret", lasting.clone()),
        token(Algorithm::HS256, b"s3cret", serde_json::json!({ "exp": 1_700_000_000 })),
        token(Algorithm::HS256, b"s3cret", serde_json::json!({ "username": "ana" })),
        token(Algorithm::HS256, b"s3cret", serde_json::json!({ "exp": 1_700_000_009, "nbf": 1_700_000_005 })),
        nobody.join("."),
        unsigned,
        "no token".to_string(),
    ] {
        assert_eq!(check(&wrong), Err(Denied::WrongCredentials), "{wrong}");
    }
}

#[test]
fn open_writes_stay_on_this_machine() {
    let everywhere: SocketAddr = "0.0.0.0:5400".parse().unwrap();
    let open = AuthOptions::default();
    let refusal = check_exposure_apart("listen_registry", everywhere, &open).unwrap_err();
    assert!(refusal.contains("listen_registry") && refusal.contains("status_secret"), "{refusal}");
    assert!(check_exposure_apart("listen_registry", "[::1]:5400".parse().unwrap(), &open).is_ok());
    let secret = AuthOptions { status_secret: "s".into(), ..AuthOptions::default() };
    assert!(check_exposure_apart("listen_registry", everywhere, &secret).is_ok());
    assert!(check_exposure(everywhere, &secret).is_err());
}

#[test]
fn only_loopback_without_users() {
    let open = AuthOptions::default();
    assert!(check_exposure("127.0.0.1:1880".parse().unwrap(), &open).is_ok());
    assert!(check_exposure("[::1]:1880".parse().unwrap(), &open).is_ok());
    let refusal = check_exposure("0.0.0.0:1880".parse().unwrap(), &open).unwrap_err();
    assert!(refusal.contains("[auth]\nusers = {"), "{refusal}");
    let users = AuthOptions { users: [("a".into(), "h".into())].into(), ..AuthOptions::default() };
    assert!(check_exposure("0.0.0.0:1880".parse().unwrap(), &users).is_ok());
}

#[test]
fn broken_options_are_all_named() {
    let options = AuthOptions {
        users: [("ana".into(), "plain".into())].into(),
        tokens: [("ci".into(), "abc".into())].into(),
        flow_users: vec!["bob".into()],
        ..AuthOptions::default()
    };
    assert_eq!(options.problems().len(), 3);
    assert!(auth().options().problems().is_empty());
}

#[tokio::test]
async fn renewed_secrets_overlap_and_a_token_that_is_taken_away_is_gone() {
    let digest = |text: &str| hex::encode(Sha256::digest(text.as_bytes()));
    let options = |tokens: &[(&str, &str)], password: &str| AuthOptions {
        tokens: tokens.iter().map(|(name, token)| (name.to_string(), digest(token))).collect(),
        environment_user: Some(("status".into(), password::given(password))),
        ..AuthOptions::default()
    };
    let (ip, now) = ("10.0.0.1".parse().unwrap(), Timestamp::UNIX_EPOCH);
    let first = options(&[("ci", "old"), ("guest", "theirs")], "first password");
    let auth = Auth::new(first.clone());
    assert!(auth.check(&basic("status:first password"), Realm::Flows, ip, now).await.is_ok());
    auth.renew(options(&[("ci", "new")], "second password").succeeding(&first, now, 60));
    let later = |s| now + SignedDuration::from_secs(s);
    for (header, during, after) in [
        (header("Bearer new"), true, true),
        (header("Bearer old"), true, false),
        (header("Bearer theirs"), false, false),
        (basic("status:second password"), true, true),
        (basic("status:first password"), true, false),
    ] {
        assert_eq!(auth.check(&header, Realm::Users, ip, later(59)).await.is_ok(), during, "{header:?}");
        // Far enough for what was verified to be verified again.
        assert_eq!(auth.check(&header, Realm::Users, ip, later(400)).await.is_ok(), after, "{header:?}");
    }
}
