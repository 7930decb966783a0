//! The live set over a folder and our own store, on a clock moved by hand, with the schedule that follows it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probity::app::{self, Surroundings};
use probity::clock::Clock;
use probity::config::Config;
use probity::evaluate::{Evaluator, Service};
use probity::registry::{self, Agreements, FolderSource, PutError, PutOutcome, Source, SourceState, StoredSource};
use probity::schedule::Scheduler;
use probity::store::{DocumentKind, PageRequest, Store};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::evaluation::schedule::{PLAIN, holding};
use crate::evaluation::{at, in_process, two_teams, until, verdicts};
use crate::store::Fixture;

/// A document that one metric, answered in this process, is enough for.
fn document(id: &str, version: &str) -> Value {
    crate::evaluation::agreement(id, in_process(), json!({"version": version})).document.clone()
}

fn write(folder: &Path, file: &str, text: &str) {
    // Whole or not at all, as editors do it; the length tells versions apart on clocks that are coarse.
    let new = folder.join(format!(".{file}.new"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join(file)).unwrap();
}

/// A set over a folder and a store, and what keeps it up to date.
struct Rig {
    clock: Clock,
    store: Arc<dyn Store>,
    agreements: Arc<Agreements>,
    following: JoinHandle<()>,
    folder: tempfile::TempDir,
    _fixture: Fixture,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Rig {
    async fn start(fixture: Fixture, files: &[(&str, String)]) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            write(folder.path(), file, text);
        }
        let clock = Clock::manual(at("2026-03-01T10:30:00Z"));
        let store = fixture.store.clone();
        let agreements = Agreements::new(clock.clone(), Some(store.clone()));
        let watch = Duration::from_secs(1);
        let sources: Vec<Box<dyn Source>> = vec![
            Box::new(StoredSource::new(&agreements, store.clone(), watch)),
            Box::new(FolderSource::new(folder.path().to_path_buf(), watch)),
        ];
        let following = tokio::spawn(registry::follow(&agreements, sources).run());
        agreements.started(Duration::from_secs(60)).await;
        Rig { clock, store, agreements, following, folder, _fixture: fixture }
    }

    /// Ids with their versions.
    fn versions(&self) -> Vec<(String, String)> {
        self.agreements.snapshot().agreements.iter().map(|a| (a.id.clone(), a.version.clone())).collect()
    }

    /// Moves the clock until the set is this.
    async fn becomes(&self, wanted: &[(&str, &str)]) {
        let wanted: Vec<(String, String)> = wanted.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        until(&format!("the set is {wanted:?}"), async || {
            self.clock.advance(Duration::from_millis(500));
            self.versions() == wanted
        })
        .await;
    }

    fn codes(&self) -> Vec<String> {
        self.agreements.snapshot().diagnostics.iter().map(|d| d.code.clone()).collect()
    }

    fn evaluator(&self) -> Arc<Evaluator> {
        let config = Config::defaults();
        let (clock, store) = (self.clock.clone(), self.store.clone());
        let surroundings = Surroundings { clock, net: app::net(&config).unwrap(), store, observer: None };
        let plugins = app::plugins::none(&config, &surroundings.net, &surroundings.clock);
        let engine = app::engine(&config, surroundings, &plugins);
        let services = HashMap::from([("test".into(), Service::InProcess(two_teams(Arc::default())))]);
        app::evaluator(&config, &engine, &self.store, self.agreements.clone(), services)
    }
}

#[tokio::test]
async fn files_that_come_change_break_and_go_are_followed() {
    let rig = Rig::start(Fixture::memory().await, &[("a.json", document("a", "1").to_string())]).await;
    assert_eq!(rig.versions(), [("a".into(), "1".into())]);
    write(rig.folder.path(), "b.json", &document("b", "1").to_string());
    rig.becomes(&[("a", "1"), ("b", "1")]).await;
    write(rig.folder.path(), "b.json", &document("b", "22").to_string());
    rig.becomes(&[("a", "1"), ("b", "22")]).await;
    // Broken: the last good version goes on, and what is wrong is said with its path.
    let mut broken = document("b", "333");
    broken["terms"]["guarantees"][0]["of"][0]["objective"] = json!("RATE >= require('fs')");
    write(rig.folder.path(), "b.json", &broken.to_string());
    until("the problem is known", async || {
        rig.clock.advance(Duration::from_millis(500));
        rig.codes().contains(&"last-good-version".to_string())
    })
    .await;
    assert_eq!(rig.versions(), [("a".into(), "1".into()), ("b".into(), "22".into())]);
    let snapshot = rig.agreements.snapshot();
    let problem = snapshot.diagnostics.iter().find(|d| d.path == "$.terms.guarantees[0].of[0].objective").unwrap();
    assert_eq!(problem.file, snapshot.get("b").unwrap().source);
    assert_eq!((snapshot.sources[1].agreements, snapshot.sources[1].broken), (2, 1));
    // One that was never good has no version to go on.
    write(rig.folder.path(), "c.json", "{ \"id\": ");
    until("c is known to be broken", async || {
        rig.clock.advance(Duration::from_millis(500));
        rig.codes().contains(&"not-json".to_string())
    })
    .await;
    assert_eq!(rig.versions().len(), 2);
    write(rig.folder.path(), "b.json", &document("b", "4444").to_string());
    std::fs::remove_file(rig.folder.path().join("c.json")).unwrap();
    rig.becomes(&[("a", "1"), ("b", "4444")]).await;
    assert!(rig.codes().is_empty());
    std::fs::remove_file(rig.folder.path().join("a.json")).unwrap();
    rig.becomes(&[("b", "4444")]).await;
    // The folder is away: what was read goes on.
    let elsewhere = rig.folder.path().with_extension("away");
    std::fs::rename(rig.folder.path(), &elsewhere).unwrap();
    let state = || rig.agreements.snapshot().sources[1].state;
    until("the folder is away", async || {
        rig.clock.advance(Duration::from_millis(500));
        state() == SourceState::Away
    })
    .await;
    assert_eq!(rig.versions(), [("b".into(), "4444".into())]);
    assert!(rig.agreements.snapshot().sources[1].problem.as_ref().unwrap().contains("cannot be read"));
    std::fs::rename(&elsewhere, rig.folder.path()).unwrap();
    until("the folder is back", async || {
        rig.clock.advance(Duration::from_secs(30));
        state() == SourceState::Ok
    })
    .await;
}

#[tokio::test]
async fn documents_put_are_in_force_at_once_audited_and_there_after_a_restart() {
    use DocumentKind::Agreement;
    for fixture in [Fixture::memory().await, Fixture::sqlite().await] {
        let rig = Rig::start(fixture, &[("a.json", document("a", "1").to_string())]).await;
        let set = &rig.agreements;
        set.add(Agreement, document("p", "1"), "ana").await.unwrap();
        assert_eq!(rig.versions(), [("a".into(), "1".into()), ("p".into(), "1".into())]);
        assert!(set.is_stored(Agreement, "p") && !set.is_stored(Agreement, "a"));
        let again = set.add(Agreement, document("p", "2"), "ana").await;
        assert!(matches!(again, Err(PutError::Exists(id)) if id == "p"));
        assert_eq!(set.put(Agreement, document("p", "2"), "ana").await.unwrap(), PutOutcome::Replaced);
        assert_eq!(set.get("p").unwrap().version, "2");
        // What a folder holds is changed there.
        let theirs = set.put(Agreement, document("a", "2"), "ana").await;
        assert!(matches!(theirs, Err(PutError::NotOurs { .. })));
        assert!(matches!(set.add(Agreement, document("a", "2"), "ana").await, Err(PutError::Exists(_))));
        let mut broken = document("p", "3");
        broken["context"]["validity"]["timeZone"] = json!("Europe/Atlantis");
        let Err(PutError::Broken(problems)) = set.put(Agreement, broken, "ana").await else { panic!("it was taken") };
        assert_eq!(problems[0].path, "$.context.validity.timeZone");
        assert_eq!(set.get("p").unwrap().version, "2");
        let other = Agreements::new(rig.clock.clone(), Some(rig.store.clone()));
        let watch = Duration::from_secs(1);
        let sources: Vec<Box<dyn Source>> = vec![Box::new(StoredSource::new(&other, rig.store.clone(), watch))];
        let following = tokio::spawn(registry::follow(&other, sources).run());
        other.started(Duration::from_secs(60)).await;
        assert_eq!(other.get("p").unwrap().version, "2");
        set.remove(Agreement, "p", "ben").await.unwrap();
        assert!(matches!(set.remove(Agreement, "p", "ben").await, Err(PutError::Unknown(_))));
        assert_eq!(rig.versions(), [("a".into(), "1".into())]);
        until("the other process sees it go", async || {
            rig.clock.advance(watch);
            other.get("p").is_none()
        })
        .await;
        following.abort();
        let trail: Vec<(String, String)> = rig
            .store
            .audit_entries(&PageRequest::default())
            .await
            .unwrap()
            .items
            .into_iter()
            .map(|e| (e.actor, e.action))
            .collect();
        let wanted = [("ben", "remove-agreement"), ("ana", "put-agreement"), ("ana", "put-agreement")];
        assert_eq!(trail, wanted.map(|(a, b)| (a.to_string(), b.to_string())));
    }
}

#[tokio::test]
async fn the_schedule_follows_the_set() {
    let rig = Rig::start(Fixture::memory().await, &[]).await;
    let evaluator = rig.evaluator();
    let (scheduler, _) = Scheduler::new(evaluator.clone(), holding(&evaluator), PLAIN);
    let scheduler = Arc::new(scheduler);
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(scheduler.clone().run(async move {
        stopped.wait_for(|s| *s).await.ok();
    }));
    let stored = async |count: usize| {
        until(&format!("{count} verdicts"), async || verdicts(&rig.store).await.len() == count).await;
    };
    // It came: its last closed windows are judged, as at a first start.
    rig.agreements.add(DocumentKind::Agreement, document("sla", "1"), "ana").await.unwrap();
    stored(6).await;
    assert_eq!(scheduler.list(rig.clock.now()).len(), 1);
    rig.clock.set(at("2026-03-01T11:00:00Z"));
    stored(8).await;
    // It changed: its last closed window is judged again.
    rig.agreements.put(DocumentKind::Agreement, document("sla", "2"), "ana").await.unwrap();
    until("the last closed window has a second revision", async || {
        verdicts(&rig.store).await.iter().filter(|s| s.revision == 2).count() == 2
    })
    .await;
    rig.clock.set(at("2026-03-01T12:00:00Z"));
    stored(10).await;
    // It went: nothing fires any more.
    rig.agreements.remove(DocumentKind::Agreement, "sla", "ana").await.unwrap();
    until("no schedule is left", async || scheduler.list(rig.clock.now()).is_empty()).await;
    let fired = scheduler.fired.load(std::sync::atomic::Ordering::SeqCst);
    rig.clock.set(at("2026-03-01T14:00:00Z"));
    // It comes again, and makes up for what it missed, once.
    rig.agreements.add(DocumentKind::Agreement, document("sla", "2"), "ana").await.unwrap();
    stored(12).await;
    stop.send_replace(true);
    running.await.unwrap();
    assert_eq!(scheduler.fired.load(std::sync::atomic::Ordering::SeqCst), fired + 1);
    assert!(rig.store.open_claims().await.unwrap().is_empty());
}
