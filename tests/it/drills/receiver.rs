//! An outside service that is told of orders, as a bank would be: it keeps what it was told, under which key, and when.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;

/// What is known of one order.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The keys it came under: an effect is one key, however often it is repeated.
    pub(super) keys: BTreeSet<String>,
    pub(super) times: usize,
    pub(super) first: Instant,
}

pub(super) struct Receiver {
    pub(super) url: String,
    told: Mutex<HashMap<String, Told>>,
}

async fn take(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: String) -> &'static str {
    let key = headers.get("idempotency-key").map_or("", |key| key.to_str().unwrap()).to_owned();
    let mut told = receiver.told.lock().unwrap();
    let new = || Told { keys: BTreeSet::new(), times: 0, first: Instant::now() };
    let told = told.entry(body).or_insert_with(new);
    told.keys.insert(key);
    told.times += 1;
    "taken"
}

impl Receiver {
    pub(super) async fn serve() -> Arc<Receiver> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let receiver = Arc::new(Receiver { url, told: Mutex::default() });
        let app = Router::new().route("/", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    pub(super) fn told(&self) -> HashMap<String, Told> {
        self.told.lock().unwrap().clone()
    }
}
