//! Searching the history: every store finds the same, the API and the page pass it on, indexes are used.

use probity::model::RunId;
use probity::model::run::{RunError, RunRecord, RunState, Trigger};
use probity::store::{PageRequest, RunQuery, RunText};
use serde_json::json;

use crate::harness::server::{Server, Setup, tab};
use crate::store::Fixture;

fn at(ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(1_767_225_600_000 + ms).unwrap()
}

/// A run opened then, with an id that says so.
fn run(ms: i64, trigger: Trigger, error: Option<&str>) -> RunRecord {
    let id = (u128::from(at(ms).as_millisecond().unsigned_abs()) << 80)
        | 0x7000_8000_0000_0000_0000
        | u128::from(fastrand::u32(..));
    RunRecord {
        id: RunId(uuid::Uuid::from_u128(id)),
        subject: "flow".into(),
        trigger,
        state: if error.is_some() { RunState::Failed } else { RunState::Done },
        started_at: at(ms),
        ended_at: Some(at(ms + 1)),
        version: "v".into(),
        hops: 1,
        error: error.map(|message| RunError {
            node: "Node_7".into(),
            node_type: "http request".into(),
            message: message.into(),
        }),
        trace: Vec::new(),
        trace_dropped: 0,
    }
}

fn http() -> Trigger {
    Trigger::Http { method: "GET".into(), path: "/x".into() }
}

async fn searches_find_what_fits(fixture: &Fixture) {
    let store = &fixture.store;
    let evaluation = run(0, Trigger::Manual { by: "ana".into() }, None);
    let runs = vec![
        evaluation.clone(),
        run(10, Trigger::Metric { evaluation: evaluation.id }, None),
        run(20, Trigger::Linked { run: evaluation.id, caller: false }, Some("100% of it \\ failed")),
        run(30, http(), Some("connect ECONNREFUSED Host_1")),
        run(40, http(), Some("connect ECONNREFUSED HostX1")),
        run(50, http(), None),
    ];
    store.record_runs(&runs).await.unwrap();
    let found = async |query: RunQuery| -> Vec<usize> {
        let page = store.runs(&query, &PageRequest::default()).await.unwrap();
        let found: Vec<usize> = page.items.iter().map(|r| runs.iter().position(|k| k.id == r.id).unwrap()).collect();
        // What the API does with runs in memory is the same.
        let fits: Vec<usize> = (0..runs.len()).rev().filter(|n| query.fits(&runs[*n])).collect();
        assert_eq!(found, fits, "{query:?}");
        found
    };
    let text = |text: &str| RunQuery { text: RunText::of(text), ..RunQuery::default() };
    assert_eq!(found(text(&evaluation.id.to_string())).await, [2, 1, 0]);
    assert_eq!(found(text(&RunId::fresh().to_string())).await, [] as [usize; 0]);
    assert_eq!(found(text("econnrefused")).await, [4, 3]);
    // Not patterns.
    assert_eq!(found(text("host_1")).await, [3]);
    assert_eq!(found(text("% of it \\ f")).await, [2]);
    assert_eq!(found(text("%")).await, [2]);
    assert_eq!(found(text("node_7")).await, [4, 3, 2]);
    assert_eq!(found(text("HTTP REQ")).await, [4, 3, 2]);
    assert_eq!(found(text("  ")).await, [5, 4, 3, 2, 1, 0]);
    assert_eq!(found(text("'; --")).await, [] as [usize; 0]);
    let range = RunQuery { from: Some(at(10)), to: Some(at(40)), ..RunQuery::default() };
    assert_eq!(found(range.clone()).await, [3, 2, 1]);
    assert_eq!(found(RunQuery { state: Some(RunState::Failed), ..range.clone() }).await, [3, 2]);
    assert_eq!(found(RunQuery { trigger: Some("http".into()), text: RunText::of("refused"), ..range }).await, [3]);
    assert_eq!(found(RunQuery { trigger: Some("metric".into()), ..RunQuery::default() }).await, [1]);
    assert_eq!(found(RunQuery { trigger: Some("no such".into()), ..RunQuery::default() }).await, [] as [usize; 0]);
}

#[tokio::test]
async fn in_memory_searches_find_what_fits() {
    searches_find_what_fits(&Fixture::memory().await).await;
}

#[tokio::test]
async fn in_sqlite_searches_find_what_fits() {
    searches_find_what_fits(&Fixture::sqlite().await).await;
}

#[tokio::test]
async fn in_postgres_searches_find_what_fits() {
    searches_find_what_fits(&Fixture::postgres().await).await;
}

/// Searches for the few among the many read an index that holds only the few.
#[tokio::test]
async fn searches_in_postgres_read_the_indexes_made_for_them() {
    let fixture = Fixture::postgres().await;
    let mut runs: Vec<RunRecord> = (0..3_000).map(|n| run(n, http(), None)).collect();
    let evaluation = runs[0].id;
    runs.extend((0..3).map(|n| run(3_000 + n, Trigger::Metric { evaluation }, Some("broken"))));
    fixture.store.record_runs(&runs).await.unwrap();
    let pool = sqlx::postgres::PgPool::connect(&fixture.url).await.unwrap();
    sqlx::raw_sql("ANALYZE probity.run").execute(&pool).await.unwrap();
    for (condition, index) in [
        ("state = 'failed' ORDER BY id DESC LIMIT 101", "state_id_idx"),
        ("trigger_kind = 'metric' ORDER BY id DESC LIMIT 101", "trigger_kind_id_idx"),
        (
            "trigger_kind IN ('metric', 'linked') AND coalesce(trigger ->> 'evaluation', trigger ->> 'run') = 'x'",
            "coalesce_idx",
        ),
        (
            "error IS NOT NULL AND lower(error ->> 'message' COLLATE \"C\") LIKE '%broken%' ORDER BY id DESC LIMIT 101",
            "id_idx",
        ),
    ] {
        let sql = format!("EXPLAIN SELECT id FROM probity.run WHERE {condition}");
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await.unwrap();
        let plan = plan.join("\n");
        // Of a day, a month or a year, as far as it is back.
        let partition = |line: &str| line.contains(" run_2026");
        let full = plan.lines().any(|l| l.contains("Seq Scan") && partition(l));
        // With so few rows each of the small indexes will do.
        let small = ["state_id_idx", "trigger_kind_id_idx", "coalesce_idx", index];
        let read = plan.lines().any(|l| partition(l) && small.iter().any(|index| l.contains(&format!("_{index} "))));
        assert!(!full && read, "{condition} ({index}): {plan}");
    }
}

#[tokio::test]
async fn the_api_and_the_page_search() {
    let flows = tab("f", "get", "/silent", "silent");
    let server = Server::start(Setup { flows, ..Setup::default() }).await;
    let answer = server.get("/silent").await;
    let id = answer.headers()["x-probity-run"].to_str().unwrap().to_owned();
    let failed = run(0, http(), Some("no <b>such</b> host"));
    server.store.record_runs(std::slice::from_ref(&failed)).await.unwrap();
    let count = async |query: &str| {
        let (status, list) = server.json(&format!("/probity/v1/runs?{query}")).await;
        assert_eq!(status, 200, "{list}");
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 2);
    assert_eq!((count(&format!("text={id}")).await, count("text=SUCH").await, count("text=nothing").await), (1, 1, 0));
    // By label, from memory.
    assert_eq!((count("subject=tab+f").await, count("subject=f").await), (1, 1));
    assert_eq!((count("from=2026-01-01&to=2026-01-02T00:00").await, count("from=2026-01-02T00:00:00Z").await), (1, 1));
    assert_eq!(server.json("/probity/v1/runs?from=yesterday").await.0, 400);
    let page = server.get("/probity/runs?text=such&from=2026-01-01T00:00&state=failed").await;
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(page.contains(&failed.id.to_string()) && !page.contains(&id), "{page}");
    for kept in
        ["value=\"such\"", "value=\"2026-01-01T00:00\"", "<option value=\"failed\" selected>", ">tab f</option>"]
    {
        assert!(page.contains(kept), "{kept} in {page}");
    }
    let document = server.json("/probity/openapi.json").await.1;
    let names: Vec<&str> = document["paths"]["/probity/v1/runs"]["get"]["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert!(["from", "to", "text"].iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(document["paths"]["/probity/v1/flows/{id}/trace"]["post"]["tags"][0], json!("runs"));
}
