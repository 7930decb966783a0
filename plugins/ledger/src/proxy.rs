//! What a proxy of the ledger does: `POST /chaincode/up/…` before its first message, `POST /chaincode/transaction/…`
//! for each.

use std::time::Duration;

use probity_sdk::prelude::*;
use probity_sdk::{Map, TypedInput};

/// What runs on the ledger.
pub struct Target<'t> {
    /// Package of node-red-status, without its scope.
    pub package: &'t str,
    pub node: &'t str,
    /// Address of the ledger, if the node names one.
    pub endpoint: &'t str,
}

/// A chaincode is built and started by the first call; a transaction is short.
const UP_TIMEOUT: Duration = Duration::from_secs(100);
const TIMEOUT: Duration = Duration::from_secs(60);

/// Hands the message to the ledger, and sends on what it answers.
pub fn hand_over(target: &Target<'_>, msg: Message, cx: &Context) -> Result<()> {
    let base = base(target, cx)?;
    let id = cx.id();
    // As the generator of the proxies writes a package: without @, with - for /.
    let place = format!("statuscompliance-{}/{}/{id}", target.package, target.node);
    start(&base, &place, cx)?;
    let mut whole = Map::new();
    for name in msg.names().filter(|name| !matches!(*name, "req" | "res")) {
        whole.insert(name.to_owned(), msg.get(name).cloned().unwrap_or_default());
    }
    let request = cx.http().post(format!("{base}/chaincode/transaction/{place}")).timeout(TIMEOUT);
    let answer = request.json(&Value::Object(whole)).send().and_then(|answer| answer.ok());
    let answer: Value = answer.and_then(|answer| answer.json()).context("the ledger did not process the message")?;
    let Value::Object(changed) = answer else {
        bail!("the ledger answered no message: an object was expected");
    };
    let mut out = msg;
    let gone: Vec<String> = out.names().filter(|n| !changed.contains_key(*n)).map(str::to_owned).collect();
    gone.iter().filter(|name| !matches!(name.as_str(), "req" | "res")).for_each(|name| _ = out.remove(name));
    for (name, value) in changed {
        if !matches!(name.as_str(), "req" | "res") && out.get(&name) != Some(&value) {
            out.set(&name, value);
        }
    }
    cx.emit(0, out)
}

/// Sees to it that the ledger runs this node: once per configuration, and again after a failure.
fn start(base: &str, place: &str, cx: &Context) -> Result<()> {
    let config = cx.config()?;
    let started = format!("{base} {config}");
    if cx.node_state().get::<String>("up")?.as_deref() == Some(started.as_str()) {
        return Ok(());
    }
    let answer = cx.http().post(format!("{base}/chaincode/up/{place}")).timeout(UP_TIMEOUT).json(&config).send()?;
    match answer.status() {
        // 226: it runs already.
        200..300 => cx.node_state().set("up", &started),
        404 => Err(Error::new("the ledger does not know this node type").with_code("http-404")),
        _ => answer.ok().map(drop).context("the ledger did not start this node"),
    }
}

fn base(target: &Target<'_>, cx: &Context) -> Result<String> {
    let endpoint = match target.endpoint {
        "" => {
            let found = cx.evaluate(&TypedInput::new("env", "STATUS_LEDGER_ENDPOINT"))?;
            found.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        own => own.to_owned(),
    };
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.is_empty() {
        bail!("there is no ledger: set STATUS_LEDGER_ENDPOINT of the environment, for example ledger:80");
    }
    Ok(if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") })
}
