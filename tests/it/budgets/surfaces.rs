//! API, command line, SQL views and exported rules say the same of generated agreements.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use probity::api::LoadedAgreements;
use probity::clock::Clock;
use probity::model::budget::Outcome;
use probity::model::state::{State, StateKind};
use probity::store::{PageRequest, StateQuery, Store};
use serde_json::Value;
use sqlx::Connection;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::generated::{Case, afterwards, cases, evaluator, judge, numbered};
use super::promtool::{self, Known};
use super::{full, seed, shards};
use crate::harness::server::{Server, Setup};
use crate::store::Fixture;

const SAMPLED: usize = 60;
const ALL: usize = 10_000;
/// Agreements that lie in one database and are held in memory at once: each has some 150 states.
const SHARD: usize = 500;
/// Agreements that `promtool` is given at once.
const AT_ONCE: usize = 100;

/// A figure of a surface: of what, where, when; verdict, exact value.
type Said = BTreeMap<(String, String, String, String, i64), (String, Option<u64>)>;

#[expect(clippy::too_many_arguments, reason = "a surface's columns, one by one")]
fn put(
    said: &mut Said,
    kind: &str,
    agreement: &str,
    of: &str,
    scope: &str,
    end: i64,
    verdict: &str,
    value: Option<f64>,
) {
    let key = (kind.to_owned(), agreement.to_owned(), of.to_owned(), scope.to_owned(), end);
    let before = said.insert(key, (verdict.to_owned(), value.map(|v| (v + 0.0).to_bits())));
    assert_eq!(before, None, "said twice");
}

async fn every(store: &dyn Store, query: StateQuery) -> Vec<State> {
    let mut page = PageRequest { limit: 1000, after: None };
    let mut found = Vec::new();
    loop {
        let stored = store.states(&query, &page).await.unwrap();
        found.extend(stored.items.into_iter().map(|s| s.state));
        match stored.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

const KINDS: [StateKind; 3] = [StateKind::Guarantee, StateKind::Budget, StateKind::BurnRate];

fn of_states(states: &[State]) -> Said {
    let mut said = Said::new();
    for s in states.iter().filter(|s| KINDS.contains(&s.kind)) {
        let verdict = s.verdict.unwrap().as_str();
        put(
            &mut said,
            s.kind.as_str(),
            &s.agreement,
            &s.of,
            &s.scope.canonical(),
            s.window.to.as_second(),
            verdict,
            s.value,
        );
    }
    said
}

fn of_json(said: &mut Said, kind: &str, of: &str, item: &Value) {
    let item = item.get("state").unwrap_or(item);
    let scope = serde_json::to_string(&item["scope"]).unwrap();
    let end = item["window"]["to"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let text = |key: &str| item[key].as_str().unwrap();
    put(said, kind, text("agreement"), text(of), &scope, end, text("verdict"), item["value"].as_f64());
}

async fn of_api(server: &Server) -> Said {
    let mut said = Said::new();
    for (path, kind, of) in
        [("verdicts", "guarantee", "guarantee"), ("budgets", "budget", "budget"), ("burn-rates", "burn-rate", "budget")]
    {
        let mut after = String::new();
        loop {
            let (status, page) = server.json(&format!("/probity/v1/{path}?limit=1000{after}")).await;
            assert_eq!(status, 200, "{page}");
            page["items"].as_array().unwrap().iter().for_each(|item| of_json(&mut said, kind, of, item));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
    }
    said
}

fn of_command(url: &str) -> Said {
    let mut said = Said::new();
    let folder = tempfile::tempdir().unwrap();
    let limit = "100000000";
    let asked: [(&[&str], &str, &str, &str); 3] = [
        (&["verdicts", "--format", "json", "--limit", limit], "verdicts", "guarantee", "of"),
        (&["budget", "--format", "json", "--limit", limit], "budgets", "budget", "budget"),
        (&["budget", "--burn-rates", "--format", "json", "--limit", limit], "burn_rates", "burn-rate", "budget"),
    ];
    for (arguments, key, kind, of) in asked {
        let out = Command::new(env!("CARGO_BIN_EXE_probity"))
            .args(arguments)
            .env("PROBITY_DATABASE_URL", url)
            .env("PROBITY_DATA_DIR", folder.path())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let listed: Value = serde_json::from_slice(&out.stdout).unwrap();
        listed[key].as_array().unwrap().iter().for_each(|item| of_json(&mut said, kind, of, item));
    }
    said
}

async fn of_views(url: &str) -> Said {
    let mut said = Said::new();
    let mut connection = PgConnection::connect(url).await.unwrap();
    for (kind, sql) in [
        (
            "guarantee",
            "SELECT agreement, guarantee AS of_id, scope::text AS scope, extract(epoch FROM \"time\")::bigint AS ended, verdict, value FROM probity.verdicts",
        ),
        (
            "budget",
            "SELECT agreement, budget AS of_id, scope::text AS scope, extract(epoch FROM \"time\")::bigint AS ended, verdict, remaining AS value FROM probity.budgets",
        ),
        (
            "burn-rate",
            "SELECT agreement, budget || '/' || alert AS of_id, scope::text AS scope, extract(epoch FROM \"time\")::bigint AS ended, verdict, rate AS value FROM probity.burn_rates",
        ),
    ] {
        for row in sqlx::query(sql).fetch_all(&mut connection).await.unwrap() {
            let scope: BTreeMap<String, String> = serde_json::from_str(row.get("scope")).unwrap();
            let scope = serde_json::to_string(&scope).unwrap();
            put(
                &mut said,
                kind,
                row.get("agreement"),
                row.get("of_id"),
                &scope,
                row.get("ended"),
                row.get("verdict"),
                row.get("value"),
            );
        }
    }
    said
}

fn assert_same(one: &Said, other: &Said, surface: &str) {
    let differing = one.iter().find(|(key, value)| other.get(key) != Some(value));
    if let Some((key, value)) = differing {
        panic!("{surface}: {key:?} is {:?}, stored is {value:?}", other.get(key));
    }
    assert_eq!(one.len(), other.len(), "{surface} says more than is stored");
}

#[tokio::test]
async fn every_surface_says_the_same() {
    if !full() {
        same_on_every_surface(SAMPLED, seed()).await;
        return;
    }
    // Each with a seed and a database of its own: one that fails is tried again alone, by its seed.
    let shards = shards(ALL.div_ceil(SHARD) as u64);
    for shard in 0..shards {
        let seed = seed() + shard;
        eprintln!("shard {} of {shards}, PROBITY_TEST_BUDGETS_SEED={seed}", shard + 1);
        same_on_every_surface(SHARD, seed).await;
    }
}

async fn same_on_every_surface(number: usize, seed: u64) {
    let cases = numbered(cases(number, seed));
    let fixture = Fixture::postgres().await;
    let now = cases.iter().map(afterwards).max().unwrap();
    let clock = Clock::manual(now);
    let evaluator = evaluator(&cases, &clock, &fixture.store, 0..cases.len());
    for (i, case) in cases.iter().enumerate() {
        judge(&evaluator, &format!("c{i}"), 0, case.end().as_second()).await;
    }
    let states = every(&*fixture.store, StateQuery::default()).await;
    let stored = of_states(&states);
    let kinds = |kind: &str| stored.keys().filter(|key| key.0 == kind).count();
    assert!(kinds("guarantee") > number && kinds("budget") > number && kinds("burn-rate") > number);
    let agreements = evaluator.agreements.snapshot().agreements.clone();
    let server = Server::start(Setup {
        store: Some(fixture.store.clone()),
        agreements: LoadedAgreements { agreements, ..Default::default() },
        ..Setup::default()
    })
    .await;
    assert_same(&stored, &of_api(&server).await, "the API");
    assert_same(&stored, &of_command(&fixture.url), "the command line");
    assert_same(&stored, &of_views(&fixture.url).await, "the SQL views");
    if promtool::is_there() {
        let compared = as_rules(&cases, &evaluator, &states);
        assert!(compared > 10 * number, "only {compared} figures compared");
        eprintln!("{number} agreements, {} figures on each surface, {compared} by promtool", stored.len());
    }
}

/// The rules of all cases, in files of those with windows alike.
fn as_rules(cases: &Arc<Vec<Case>>, evaluator: &probity::evaluate::Evaluator, states: &[State]) -> usize {
    let mut by_agreement: BTreeMap<&str, Vec<&State>> = BTreeMap::new();
    for state in states {
        by_agreement.entry(&state.agreement).or_default().push(state);
    }
    // By the length and number of windows: rules go on where nothing is judged any more.
    let mut known: BTreeMap<(i64, usize), Vec<Known>> = BTreeMap::new();
    for (i, case) in cases.iter().enumerate() {
        let id = format!("c{i}");
        let of = by_agreement.remove(id.as_str()).unwrap_or_default();
        let after = case.end();
        known.entry((case.every, case.windows)).or_default().push(Known {
            agreement: evaluator.agreement(&id).unwrap(),
            outcomes: of.iter().filter_map(|s| Outcome::of(s)).collect(),
            // Later periods hold windows that nobody scraped.
            states: of.into_iter().filter(|s| KINDS[1..].contains(&s.kind) && s.window.to <= after).cloned().collect(),
        });
    }
    let mut compared = 0;
    for ((every, _), known) in known {
        for chunk in known.chunks(AT_ONCE) {
            compared += promtool::compare(chunk, every);
        }
    }
    compared
}
