//! People are told of changed verdicts: which changes, when, by a real mail server and real receivers, over failures and
//! restarts.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use probity::clock::Clock;
use probity::model::RunId;
use probity::model::state::{State, Verdict};
use probity::net::{Net, NetOptions};
use probity::notify::{Channel, Channels, MailOptions, MailTls, Notifier, Options, Quiet, Secret, Target, signature};
use probity::store::{NotificationRule, PageRequest, Store, StoreOptions, Told, open};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::postgres;
use crate::harness::smtp::MailServer;
use crate::store::samples::{at, commit, guarantee};

const SECRET: &str = "what signs the webhooks";

fn rule(channel: &str, changes: &[&str]) -> NotificationRule {
    NotificationRule {
        channel: channel.into(),
        changes: changes.iter().map(|change| change.parse().unwrap()).collect(),
        corrections: true,
        ..NotificationRule::default()
    }
}

fn all() -> Vec<NotificationRule> {
    vec![rule("ops", &["* > *"])]
}

async fn store_at(url: &str, notify: Vec<NotificationRule>) -> Arc<dyn Store> {
    let store = open(url, &StoreOptions { notify, ..StoreOptions::default() }).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// The three kinds of store, and what must live as long.
async fn stores(notify: Vec<NotificationRule>) -> (Vec<Arc<dyn Store>>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let urls = ["memory:".to_string(), format!("sqlite:{}/p.db", folder.path().display()), postgres::database().await];
    let mut stores = Vec::new();
    for url in urls {
        stores.push(store_at(&url, notify.clone()).await);
    }
    (stores, folder)
}

/// A verdict on the `n`th hour.
async fn say(store: &dyn Store, n: i64, verdict: Verdict, change: impl Fn(&mut State)) {
    let run = RunId::fresh();
    let mut state = State { verdict: Some(verdict), ..guarantee(n, run) };
    change(&mut state);
    store.commit(&commit(run, vec![state])).await.unwrap();
}

const FAR: &str = "2030-01-01T00:00:00Z";

/// What waits, told in order: channel, what was said before and now, and whether it is a correction.
async fn drain(store: &dyn Store) -> Vec<(String, Option<Verdict>, Verdict, bool)> {
    let mut seen = Vec::new();
    loop {
        let taken = store.next_notifications(at(FAR), at(FAR) + SignedDuration::from_secs(30)).await.unwrap();
        if taken.is_empty() {
            return seen;
        }
        for notification in taken {
            store.settle_notification(notification.id, &Told::Done).await.unwrap();
            let told =
                notification.changes.iter().map(|c| (notification.channel.clone(), c.before, c.after, c.correction));
            seen.extend(told);
        }
    }
}

#[tokio::test]
async fn a_change_is_told_once_and_nothing_else_is() {
    use Verdict::{Fulfilled, Unknown, Violated};
    let (stores, _folder) = stores(all()).await;
    for store in stores {
        let store = &*store;
        let told = |before, after, correction| ("ops".to_string(), before, after, correction);
        say(store, 0, Fulfilled, |_| {}).await;
        assert_eq!(drain(store).await, [told(None, Fulfilled, false)], "{}", store.describe());
        // The same again, the next window alike, an open window, another kind of state: nothing has changed.
        say(store, 0, Fulfilled, |_| {}).await;
        say(store, 1, Fulfilled, |_| {}).await;
        say(store, 2, Violated, |state| state.provisional = true).await;
        say(store, 2, Violated, |state| state.kind = probity::model::state::StateKind::Budget).await;
        assert_eq!(drain(store).await, [], "{}", store.describe());
        say(store, 2, Violated, |_| {}).await;
        assert_eq!(drain(store).await, [told(Some(Fulfilled), Violated, false)], "{}", store.describe());
        // Another scope has a history of its own.
        say(store, 3, Violated, |state| state.scope = crate::store::samples::scope(&[("team", "red")])).await;
        assert_eq!(drain(store).await, [told(None, Violated, false)], "{}", store.describe());
        // A window judged anew, whether it is the last one or not; the last one counts for what comes.
        say(store, 0, Unknown, |_| {}).await;
        say(store, 2, Fulfilled, |_| {}).await;
        let corrected = [told(Some(Fulfilled), Unknown, true), told(Some(Violated), Fulfilled, true)];
        assert_eq!(drain(store).await, corrected, "{}", store.describe());
        say(store, 3, Fulfilled, |_| {}).await;
        assert_eq!(drain(store).await, [], "{}", store.describe());
        // A window that comes after later ones is compared with none.
        say(store, -1, Violated, |_| {}).await;
        say(store, 4, Fulfilled, |_| {}).await;
        assert_eq!(drain(store).await, [told(None, Violated, false)], "{}", store.describe());
    }
}

#[tokio::test]
async fn several_windows_of_one_commit_are_compared_in_their_order() {
    use Verdict::{Fulfilled, Violated};
    let (stores, _folder) = stores(all()).await;
    for store in stores {
        let run = RunId::fresh();
        let verdicts = [Fulfilled, Violated, Violated, Fulfilled];
        let mut states: Vec<State> =
            (0..).zip(verdicts).map(|(n, v)| State { verdict: Some(v), ..guarantee(n, run) }).collect();
        states.reverse();
        store.commit(&commit(run, states)).await.unwrap();
        let told: Vec<_> = drain(&*store).await.into_iter().map(|(_, before, after, _)| (before, after)).collect();
        let expected = [(None, Fulfilled), (Some(Fulfilled), Violated), (Some(Violated), Fulfilled)];
        assert_eq!(told, expected, "{}", store.describe());
    }
}

#[tokio::test]
async fn each_channel_has_a_queue_of_its_own_and_one_holder_at_a_time() {
    let (stores, _folder) = stores(vec![rule("a", &["* > *"]), rule("b", &["* > violated"])]).await;
    for store in stores {
        for (n, verdict) in (0..).zip([Verdict::Violated, Verdict::Fulfilled, Verdict::Violated]) {
            say(&*store, n, verdict, |_| {}).await;
        }
        assert_eq!(store.notifications_waiting().await.unwrap(), [("a".to_string(), 3), ("b".into(), 2)].into());
        let (now, later) = (at(FAR), at(FAR) + SignedDuration::from_secs(30));
        let first = store.next_notifications(now, later).await.unwrap();
        let mut channels: Vec<&str> = first.iter().map(|n| n.channel.as_str()).collect();
        channels.sort();
        assert_eq!(channels, ["a", "b"], "{}", store.describe());
        // Nobody else gets them, nor what comes after them, until the time of the first is over.
        assert_eq!(store.next_notifications(now, later).await.unwrap(), [], "{}", store.describe());
        let again = store.next_notifications(later, later + SignedDuration::from_secs(30)).await.unwrap();
        assert_eq!(again.len(), 2, "{}", store.describe());
        // One that could not be told waits for its instant and keeps its id; the other channel goes on.
        let a = again.iter().find(|n| n.channel == "a").unwrap();
        let b = again.iter().find(|n| n.channel == "b").unwrap();
        let due = later + SignedDuration::from_secs(60);
        store.settle_notification(a.id, &Told::Later { due, failed: true }).await.unwrap();
        store.settle_notification(b.id, &Told::Done).await.unwrap();
        let next = store.next_notifications(later, due).await.unwrap();
        assert!(next.len() == 1 && next[0].channel == "b", "{}: {next:?}", store.describe());
        let next = store.next_notifications(due, due).await.unwrap();
        let same = next.iter().find(|n| n.channel == "a").unwrap();
        assert_eq!((same.id, same.attempts), (a.id, 1), "{}", store.describe());
    }
}

/// A receiver that does as it is told.
#[derive(Default)]
struct Receiver {
    answers: Mutex<VecDeque<u16>>,
    got: Mutex<Vec<(HeaderMap, Bytes, u16)>>,
    came: tokio::sync::Notify,
}

impl Receiver {
    async fn listen(answers: &[u16]) -> (Arc<Receiver>, SocketAddr) {
        let receiver =
            Arc::new(Receiver { answers: Mutex::new(answers.iter().copied().collect()), ..Receiver::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/hook", post(receive)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (receiver, address)
    }

    fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }
}

async fn receive(Shared(receiver): Shared<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap) {
    let answer = receiver.answers.lock().unwrap().pop_front().unwrap_or(204);
    receiver.got.lock().unwrap().push((headers, body, answer));
    receiver.came.notify_one();
    let mut more = HeaderMap::new();
    if answer == 429 {
        more.insert("retry-after", "120".parse().unwrap());
    }
    (StatusCode::from_u16(answer).unwrap(), more)
}

fn channel(target: Target) -> Channel {
    Channel { target, quiet: Quiet::default(), time_zone: TimeZone::UTC }
}

fn webhook(address: SocketAddr) -> Target {
    Target::Webhook { url: format!("http://{address}/hook").parse().unwrap(), secrets: vec![Secret::of(SECRET)] }
}

fn options() -> Options {
    Options {
        base_url: Some("https://status.example.org/node-red".parse().unwrap()),
        request: Duration::from_secs(10),
        retry_min: Duration::from_secs(5),
        retry_max: Duration::from_secs(60),
        give_up: Duration::from_secs(3_600),
    }
}

fn net() -> Arc<Net> {
    // Whoever else tests on this machine may take its time.
    Arc::new(Net::new(NetOptions { connect_ms_max: 10_000, ..NetOptions::default() }).unwrap())
}

fn notifier(channels: Channels, store: &Arc<dyn Store>, clock: &Clock) -> Arc<Notifier> {
    Notifier::new(options(), channels, net(), store.clone(), clock.clone())
}

fn only(channel: Channel) -> Channels {
    Channels { by_name: [("ops".to_string(), channel)].into(), mail: None }
}

/// Just after the samples' commits are recorded.
const START: &str = "2026-01-01T01:00:03Z";

fn text(headers: &HeaderMap, name: &str) -> String {
    headers[name].to_str().unwrap().to_string()
}

#[tokio::test]
async fn a_webhook_that_fails_is_called_again_over_a_restart_with_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/p.db", folder.path().display());
    let (receiver, address) = Receiver::listen(&[500, 429]).await;
    let clock = Clock::manual(at(START));
    {
        let store = store_at(&url, all()).await;
        say(&*store, 0, Verdict::Violated, |_| {}).await;
        let notifier = notifier(only(channel(webhook(address))), &store, &clock);
        let next = notifier.round().await.unwrap();
        assert_eq!(next, Some(at(START) + SignedDuration::from_secs(5)));
        // Not due yet.
        notifier.round().await.unwrap();
        assert_eq!(receiver.count(), 1);
    }
    // Another process, later.
    let store = store_at(&url, all()).await;
    let notifier = notifier(only(channel(webhook(address))), &store, &clock);
    clock.advance(Duration::from_secs(5));
    let next = notifier.round().await.unwrap();
    // What the receiver asks for counts more than our own pause.
    assert_eq!(next, Some(clock.now() + SignedDuration::from_secs(120)));
    clock.advance(Duration::from_secs(119));
    notifier.round().await.unwrap();
    assert_eq!(receiver.count(), 2);
    clock.advance(Duration::from_secs(1));
    assert_eq!(notifier.round().await.unwrap(), None);
    assert!(store.notifications_waiting().await.unwrap().is_empty());
    let got = receiver.got.lock().unwrap();
    assert_eq!(got.iter().map(|(.., answer)| *answer).collect::<Vec<_>>(), [500, 429, 204]);
    for (headers, body, _) in got.iter() {
        assert_eq!(text(headers, "webhook-id"), text(&got[0].0, "webhook-id"));
        let second: i64 = text(headers, "webhook-timestamp").parse().unwrap();
        let signed = signature(&[Secret::of(SECRET)], &text(headers, "webhook-id"), second, body);
        assert_eq!(text(headers, "webhook-signature"), signed);
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["changes"][0]["after"], "violated");
        assert_eq!(body["changes"][0]["before"], Value::Null);
        assert!(
            body["changes"][0]["link"].as_str().unwrap().starts_with("https://status.example.org/node-red/probity/")
        );
    }
    // Each try has its own instant, so that a receiver can refuse what somebody recorded.
    assert_ne!(text(&got[0].0, "webhook-timestamp"), text(&got[2].0, "webhook-timestamp"));
}

#[tokio::test]
async fn what_cannot_be_told_for_long_is_given_up_and_noted() {
    let store = store_at("memory:", all()).await;
    let clock = Clock::manual(at(START));
    let (receiver, address) = Receiver::listen(&[500; 400]).await;
    say(&*store, 0, Verdict::Violated, |_| {}).await;
    let notifier = notifier(only(channel(webhook(address))), &store, &clock);
    let mut pauses = Vec::new();
    while let Some(due) = notifier.round().await.unwrap() {
        pauses.push(due.duration_since(clock.now()).as_secs());
        clock.set(due);
    }
    assert_eq!(pauses[..6], [5, 10, 20, 40, 60, 60]);
    assert_eq!(receiver.count(), pauses.len() + 1);
    assert!(store.notifications_waiting().await.unwrap().is_empty());
    let audit = store.audit_entries(&PageRequest::default()).await.unwrap();
    let noted = audit.items.iter().find(|entry| entry.action == "give up").unwrap();
    assert_eq!((noted.actor.as_str(), noted.subject.as_str()), ("notify", "ops"));
    assert_eq!(noted.detail["changes"][0]["after"], "violated");
}

#[tokio::test]
async fn in_quiet_hours_it_waits_for_their_end() {
    let store = store_at("memory:", all()).await;
    // Ten at night in Madrid.
    let clock = Clock::manual(at("2026-02-01T21:00:00Z"));
    let (receiver, address) = Receiver::listen(&[]).await;
    let quiet = Channel {
        quiet: Quiet::parse(&["22:00-07:00".into()]).unwrap(),
        time_zone: TimeZone::get("Europe/Madrid").unwrap(),
        ..channel(webhook(address))
    };
    say(&*store, 0, Verdict::Violated, |_| {}).await;
    let notifier = notifier(only(quiet), &store, &clock);
    assert_eq!(notifier.round().await.unwrap(), Some(at("2026-02-02T06:00:00Z")));
    assert_eq!(receiver.count(), 0);
    clock.set(at("2026-02-02T06:00:00Z"));
    assert_eq!(notifier.round().await.unwrap(), None);
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn a_channel_that_is_away_holds_up_no_other_and_a_renewed_secret_signs_beside_the_old_one() {
    let store = store_at("memory:", vec![rule("ops", &["* > *"]), rule("slack", &["* > *"])]).await;
    let clock = Clock::manual(at(START));
    let (hook, hook_at) = Receiver::listen(&[500]).await;
    let (slack, slack_at) = Receiver::listen(&[]).await;
    let slack_url = format!("http://{slack_at}/hook").parse().unwrap();
    let mut channels = only(channel(webhook(hook_at)));
    channels.by_name.insert("slack".into(), channel(Target::Slack { url: slack_url }));
    say(&*store, 0, Verdict::Violated, |_| {}).await;
    let notifier = notifier(channels.clone(), &store, &clock);
    notifier.round().await.unwrap();
    assert_eq!((hook.count(), slack.count()), (1, 1));
    {
        let got = slack.got.lock().unwrap();
        assert!(!got[0].0.contains_key("webhook-signature"));
        let body: Value = serde_json::from_slice(&got[0].1).unwrap();
        assert_eq!(body["text"], "sla/fast: violated (first verdict)");
        assert_eq!(body["blocks"][0]["type"], "section");
    }
    let new = Secret::of("the secret that comes after it");
    if let Some(Target::Webhook { secrets, .. }) = channels.by_name.get_mut("ops").map(|c| &mut c.target) {
        *secrets = vec![new.clone()];
    }
    notifier.renew(channels, 60);
    clock.advance(Duration::from_secs(5));
    notifier.round().await.unwrap();
    say(&*store, 1, Verdict::Fulfilled, |_| {}).await;
    clock.advance(Duration::from_secs(60));
    notifier.round().await.unwrap();
    let got = hook.got.lock().unwrap();
    assert_eq!(got.len(), 3);
    for (at, secrets) in [(1, vec![new.clone(), Secret::of(SECRET)]), (2, vec![new])] {
        let (headers, body, _) = &got[at];
        let second: i64 = text(headers, "webhook-timestamp").parse().unwrap();
        let signed = signature(&secrets, &text(headers, "webhook-id"), second, body);
        assert_eq!(text(headers, "webhook-signature"), signed, "call {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_tells_what_is_stored_while_it_runs() {
    let store = store_at("memory:", all()).await;
    let (receiver, address) = Receiver::listen(&[]).await;
    let notifier = notifier(only(channel(webhook(address))), &store, &Clock::System);
    let task = tokio::spawn(notifier.clone().run());
    say(&*store, 0, Verdict::Violated, |_| {}).await;
    notifier.stored();
    receiver.came.notified().await;
    assert_eq!(receiver.count(), 1);
    task.abort();
}

fn password() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "s3cret of ana").unwrap();
    (folder, path)
}

fn mail(port: u16, tls: MailTls, password: &str) -> Channels {
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/tls/ca.pem");
    let options = MailOptions {
        host: "localhost".into(),
        port,
        login: Some(("ana".into(), password.into())),
        from: "Probity <probity@example.org>".into(),
        tls,
        authorities: std::fs::read(authority).unwrap(),
    };
    let to = vec!["ops@example.org".to_string(), "ana@example.org".to_string()];
    Channels { mail: Some(options), ..only(channel(Target::Mail { to })) }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_by_starttls_with_a_login_and_again_when_it_was_refused() {
    crate::harness::server::with_crypto();
    let (_folder, password) = password();
    let Some(mut server) = MailServer::start(&password, 1) else { return };
    let store = store_at("memory:", all()).await;
    let clock = Clock::manual(at(START));
    say(&*store, 0, Verdict::Violated, |_| {}).await;
    let notifier = notifier(mail(server.port, MailTls::StartTls, "s3cret of ana"), &store, &clock);
    let due = notifier.round().await.unwrap();
    let refused = server.next();
    assert_eq!((&refused["refused"], &refused["encrypted"]), (&json!(true), &json!(true)));
    clock.set(due.expect("it is tried again"));
    assert_eq!(notifier.round().await.unwrap(), None);
    let taken = server.next();
    assert_eq!(taken["user"], "ana");
    assert_eq!(taken["to"], json!(["ops@example.org", "ana@example.org"]));
    let content = taken["content"].as_str().unwrap();
    for part in ["Subject: [Probity] sla/fast: violated (first verdict)", "From: Probity <probity@example.org>"] {
        assert!(content.contains(part), "{part} in {content}");
    }
    let id = |mail: &Value| {
        let content = mail["content"].as_str().unwrap().to_string();
        content.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_string()
    };
    assert_eq!(id(&refused), id(&taken));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_by_tls_and_never_past_a_certificate_or_a_password_that_is_wrong() {
    crate::harness::server::with_crypto();
    let (_folder, password) = password();
    let Some(mut server) = MailServer::start(&password, 0) else { return };
    let store = store_at("memory:", all()).await;
    let clock = Clock::manual(at(START));
    say(&*store, 0, Verdict::Violated, |_| {}).await;
    let notifier = notifier(mail(server.port, MailTls::StartTls, "wrong"), &store, &clock);
    let mut due = notifier.round().await.unwrap();
    for tls in [MailTls::StartTls, MailTls::Tls] {
        let port = if tls == MailTls::Tls { server.tls_port } else { server.port };
        let mut strangers = mail(port, tls, "s3cret of ana");
        // The system does not trust the test's authority.
        strangers.mail.as_mut().unwrap().authorities.clear();
        notifier.renew(strangers, 0);
        clock.set(due.expect("it was not told"));
        due = notifier.round().await.unwrap();
    }
    assert!(due.is_some());
    notifier.renew(mail(server.tls_port, MailTls::Tls, "s3cret of ana"), 0);
    clock.set(due.unwrap());
    assert_eq!(notifier.round().await.unwrap(), None);
    // It is the first that the server was given at all.
    let taken = server.next();
    assert_eq!((&taken["encrypted"], &taken["user"]), (&json!(true), &json!("ana")));
}
