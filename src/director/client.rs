//! The other way round: a Director elsewhere calls us. For every agreement it is given one complete task, whose script is
//! a small one of ours that calls back with a signature.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use url::Url;

use super::SCRIPT_PATH;
use crate::clock::Clock;
use crate::model::agreement::Agreement;
use crate::net::{Net, NetRequest, NetResponse};
use crate::registry::{Agreements, address_shown, basic_login};

/// Where the script calls back.
pub const CALLBACK_PATH: &str = "/api/v1/callbacks/evaluate";
/// Header with the signature of a callback.
pub const SIGNATURE_HEADER: &str = "x-probity-signature";
/// Begins the ids of our tasks, so that they never replace somebody else's.
const ID_PREFIX: &str = "probity-";
/// How often the Director's tasks are compared with ours: it keeps them in files, which may be lost.
const LOOK: Duration = Duration::from_secs(60);
/// One call of the Director.
const CALL_MAX: Duration = Duration::from_secs(10);

/// What the Director fetches before every run. It needs nothing but Node.js, and takes what it does from its config.
pub const SCRIPT: &str = r#"'use strict';
// Probity: asks for the verdicts of one agreement. The work is done there; this returns as soon as it is accepted.
module.exports.main = (config) => new Promise((resolve, reject) => {
  const url = new URL(config.callback);
  const body = JSON.stringify({ agreementId: config.agreementId });
  const client = require(url.protocol === 'https:' ? 'https' : 'http');
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-probity-signature': config.signature,
  };
  const call = client.request(url, { method: 'POST', headers, timeout: 10000 }, (answer) => {
    answer.resume();
    answer.on('end', () => (answer.statusCode < 300 ? resolve : reject)({ status: answer.statusCode }));
  });
  call.on('timeout', () => call.destroy(new Error('no answer from Probity')));
  call.on('error', reject);
  call.end(body);
});
"#;

/// Signs and checks callbacks.
#[derive(Clone)]
pub struct Signer(Arc<[u8]>);

impl Signer {
    pub fn new(secret: &str) -> Signer {
        Signer(secret.as_bytes().into())
    }

    fn mac(&self, agreement: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(b"evaluate\n");
        mac.update(agreement.as_bytes());
        mac
    }

    /// The signature of callbacks for this agreement.
    pub fn sign(&self, agreement: &str) -> String {
        hex::encode(self.mac(agreement).finalize().into_bytes())
    }

    /// Whether a callback for this agreement comes with its signature. An empty secret signs nothing.
    pub fn signed(&self, agreement: &str, signature: &str) -> bool {
        !self.0.is_empty() && hex::decode(signature).is_ok_and(|s| self.mac(agreement).verify_slice(&s).is_ok())
    }
}

/// Where the Director is, and how it reaches us.
#[derive(Clone)]
pub struct ClientOptions {
    pub director: Url,
    /// Base of our Director address, as the Director reaches it.
    pub callback: Url,
    pub signer: Signer,
    /// Between two runs of a task, milliseconds.
    pub interval_ms: u64,
}

/// Keeps the tasks of a Director in step with the live set.
pub struct Client {
    options: ClientOptions,
    agreements: Arc<Agreements>,
    net: Arc<Net>,
    clock: Clock,
}

impl Client {
    pub fn new(options: ClientOptions, agreements: Arc<Agreements>, net: Arc<Net>, clock: Clock) -> Client {
        Client { options, agreements, net, clock }
    }

    /// Registers, updates and removes tasks until it is dropped.
    pub async fn run(self) {
        let mut changes = self.agreements.subscribe();
        let mut said = None;
        loop {
            changes.mark_unchanged();
            let problem = self.step().await.err();
            match &problem {
                Some(problem) if said.as_ref() != Some(problem) => {
                    tracing::error!(
                        director = address_shown(self.options.director.as_str()),
                        "the tasks cannot be kept in step: {problem}"
                    );
                }
                None if said.is_some() => tracing::info!("the Director's tasks are in step again"),
                _ => {}
            }
            said = problem;
            tokio::select! {
                // The sender lives in the set.
                _ = changes.changed() => {}
                () = self.clock.sleep(LOOK) => {}
            }
        }
    }

    /// Brings the Director's tasks to the agreements there are now.
    ///
    /// # Errors
    /// The first call that did not succeed.
    pub async fn step(&self) -> Result<(), String> {
        let listed = self.call(Method::GET, "", None).await?;
        let listed: Vec<Map<String, Value>> =
            serde_json::from_slice(&listed.body).map_err(|e| format!("GET /api/v1/tasks: not a list of tasks: {e}"))?;
        let theirs: BTreeMap<&str, &Map<String, Value>> =
            listed.iter().filter_map(|task| Some((task.get("id")?.as_str()?, task))).collect();
        let snapshot = self.agreements.snapshot();
        let mut wanted = BTreeSet::new();
        for agreement in &snapshot.agreements {
            let task = self.task(agreement);
            let id = task["id"].as_str().unwrap_or_default().to_owned();
            match theirs.get(id.as_str()) {
                None => self.call(Method::POST, "", Some(&task)).await.map(drop)?,
                Some(old) if !same(old, &task) => {
                    self.call(Method::PUT, &id, Some(&task)).await.map(drop)?;
                }
                Some(_) => {}
            }
            wanted.insert(id);
        }
        let script = self.address(SCRIPT_PATH);
        let ours = |task: &&Map<String, Value>| task.get("script").and_then(Value::as_str) == Some(script.as_str());
        for (id, _) in theirs.into_iter().filter(|(id, task)| id.starts_with(ID_PREFIX) && ours(task)) {
            if !wanted.contains(id) {
                self.call(Method::DELETE, id, None).await?;
            }
        }
        Ok(())
    }

    /// The complete task of an agreement. Its times depend on nothing but the agreement and the configuration, so that
    /// it is only replaced when it has changed.
    fn task(&self, agreement: &Agreement) -> Value {
        let init = agreement.valid_from;
        let end = agreement.valid_to.map_or_else(|| "2999-12-31T00:00:00.000Z".to_owned(), |end| format!("{end:.3}"));
        json!({
            "id": format!("{ID_PREFIX}{}", agreement.id),
            "script": self.address(SCRIPT_PATH),
            "running": true,
            "config": {
                "agreementId": agreement.id,
                "callback": self.address(CALLBACK_PATH),
                "signature": self.options.signer.sign(&agreement.id),
            },
            "init": format!("{init:.3}"),
            "end": end,
            "interval": self.options.interval_ms,
        })
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.options.callback.as_str().trim_end_matches('/'))
    }

    async fn call(&self, method: Method, id: &str, body: Option<&Value>) -> Result<NetResponse, String> {
        let mut url = self.options.director.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1", "tasks"]);
            if !id.is_empty() {
                path.push(id);
            }
        }
        let what = format!("{method} {}", address_shown(url.as_str()));
        let mut request = NetRequest::new(method, url);
        request.timeout = Some(CALL_MAX);
        if let Some(login) = basic_login(&self.options.director).and_then(|login| HeaderValue::from_str(&login).ok()) {
            request.headers.insert(AUTHORIZATION, login);
        }
        if let Some(body) = body {
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = body.to_string().into();
        }
        let answer = self.net.request(request).await.map_err(|e| format!("{what}: {e}"))?;
        match answer.status {
            200..=299 => Ok(answer),
            status => Err(format!("{what}: it was answered with {status}")),
        }
    }
}

/// Whether the Director has the task as it should be. `running` is its own affair: somebody may have stopped it.
fn same(theirs: &Map<String, Value>, ours: &Value) -> bool {
    let fields = ours.as_object().into_iter().flatten();
    fields.filter(|(key, _)| *key != "running").all(|(key, value)| theirs.get(key) == Some(value))
}
