//! `GET /api/v6/bills/{id}`: the one open bill that the Registry makes up for a range. Bills are not kept.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State as Shared};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::answer::{Refusal, json_answer};
use super::query::Wanted;
use super::{RegistryV6, states};
use crate::agreement::compat::periods;

pub(super) async fn of_agreement(
    registry: Shared<Arc<RegistryV6>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let bad = |problem: String| Refusal::new(StatusCode::BAD_REQUEST, problem);
    let agreement = states::known(&registry, &id)?;
    let wanted = Wanted::read(query.as_deref(), registry.mode).map_err(bad)?;
    let bound = |name: &str, text: &Option<String>| {
        let text = text.as_deref().ok_or_else(|| bad(format!("{name} is missing")))?;
        periods::date(text).map_err(|_| bad(format!("{name} is \"{text}\", which is no date")))
    };
    let (from, to) = (bound("from", &wanted.from)?, bound("to", &wanted.to)?);
    // Bills are monthly, whatever the windows of guarantees are.
    let window = json!({ "period": "monthly" });
    let initial = agreement.document["context"]["validity"]["initial"].as_str();
    let period = periods::snapped(&window, initial, from, to, registry.clock.now())
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.message))?;
    let bill = json!({
        "agreementId": id,
        "billId": period.from.as_second().to_string(),
        "state": "open",
        "period": { "from": period.from_text(), "to": period.to_text() },
    });
    Ok(json_answer(StatusCode::OK, &[bill]))
}
