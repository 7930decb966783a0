//! `get-property-value`: one property of the payload as `msg.value`.

use std::time::Duration;

use probity_sdk::prelude::*;

/// Takes a property of the payload as `msg.value`.
///
/// The value is as it is, 0, false and an empty text included; null when the payload has no such property or is no
/// object. Behind *find-object* the payload becomes the whole list again (`msg.array`), else it stays what it is.
///
/// **Predictive monitoring** (*PCM*): the payload is sent by POST to *ML URL* + *ML endpoint*, and `msg.value` is the
/// answer's `prediction`. No answer within 10 s, another status than 2xx or an answer without prediction is an error.
/// The operator's grant says which hosts may be asked.
///
/// A caller may send `propertyToGet`, `mlUrl` and `mlEndpoint` in the body of the request.
#[derive(Clone, Config)]
pub struct GetPropertyValue {
    /// Name of the property; for a list the number of an element, or length.
    #[config(name = "propertyToGet", label = "Property", default = "")]
    property: String,
    /// Ask a machine-learning service instead of looking at the payload.
    #[config(name = "enablePCM", label = "Predictive monitoring (PCM)", default = false, config_only)]
    enable_pcm: bool,
    /// Base URL of the service.
    #[config(name = "mlUrl", label = "ML URL", default = "", placeholder = "https://ml.example.org")]
    ml_url: String,
    /// Path of its endpoint.
    #[config(name = "mlEndpoint", label = "ML endpoint", default = "", placeholder = "/predict")]
    ml_endpoint: String,
}

#[node(
    type = "get-property-value",
    category = "extraction",
    color = "#DDAA99",
    icon = "fa-tag",
    wants = ["payload", "req", "array"],
    capabilities = ["http"]
)]
impl Node for GetPropertyValue {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let value = if config.enable_pcm { config.predict(&msg, cx)? } else { config.property_of(msg.payload())? };
        if let Some(list) = msg.get("array").cloned() {
            msg.set_payload(list);
        }
        msg.set("value", value);
        cx.emit(0, msg)
    }
}

impl GetPropertyValue {
    fn property_of(&self, payload: &Value) -> Result<Value> {
        if !payload.is_object() && !payload.is_array() {
            return Ok(Value::Null);
        }
        ensure!(!self.property.is_empty(), "Key must be defined: propertyToGet is empty");
        let found = match payload {
            Value::Array(items) if self.property == "length" => return Ok(Value::from(items.len())),
            Value::Array(items) => self.property.parse::<usize>().ok().and_then(|index| items.get(index)),
            other => other.get(&self.property),
        };
        Ok(found.cloned().unwrap_or_default())
    }

    fn predict(&self, msg: &Message, cx: &Context) -> Result<Value> {
        ensure!(
            !self.ml_url.is_empty() && !self.ml_endpoint.is_empty(),
            "ML URL and ML Endpoint must be defined when PCM is enabled"
        );
        let url = format!("{}/{}", self.ml_url.trim_end_matches('/'), self.ml_endpoint.trim_start_matches('/'));
        ask(&url, msg.payload(), cx).context("Error calling ML service")
    }
}

fn ask(url: &str, payload: &Value, cx: &Context) -> Result<Value> {
    let answer = cx.http().post(url).json(payload).timeout(Duration::from_secs(10)).send()?.ok()?;
    let answer: Value = answer.json()?;
    let prediction = answer.get("prediction").cloned();
    prediction.context("ML service response does not contain 'prediction' property: the value is unknown")
}
