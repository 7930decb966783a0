//! The world outside of recorded flows and cases: their values, and the answers that were recorded with them.

use http::{HeaderMap, HeaderName, HeaderValue};
use probity::model::{Object, Value};
use probity::net::{NetError, NetRequest, NetResponse};
use serde_json::{Value as Json, json};

/// Where the recorded server of status-backend's contract is put.
pub const BACKEND: &str = "http://backend.test";

/// A recorded value as a flow has it.
pub fn value(recorded: &Json) -> Value {
    match recorded {
        Json::Object(object) => match (object.get("$t").and_then(Json::as_str), object.get("v")) {
            (Some("date"), Some(Json::String(text))) => text
                .parse::<jiff::Timestamp>()
                .map_or(Value::Date(f64::NAN), |at| Value::Date(at.as_millisecond() as f64)),
            (Some("number"), Some(Json::String(text))) => Value::Number(text.parse().unwrap()),
            (Some("array"), Some(items)) => value(items),
            (Some("repeat"), Some(item)) => {
                let times = object["n"].as_u64().unwrap() as usize;
                match item {
                    Json::String(text) => Value::string(text.repeat(times)),
                    item => Value::array(vec![value(item); times]),
                }
            }
            (Some(_), _) => Value::Undefined,
            (None, _) => object.iter().map(|(name, item)| (name.as_str(), value(item))).collect::<Object>().into(),
        },
        Json::Array(items) => Value::array(items.iter().map(value).collect()),
        other => Value::from(other),
    }
}

/// Whether what was found is what was recorded: volatile values by their kind, numbers by their value.
pub fn same(recorded: &Json, found: &Json) -> bool {
    match (recorded, found) {
        (Json::Object(expected), _) if expected.contains_key("$t") => match expected["$t"].as_str() {
            Some("uuid") => found.as_str().is_some_and(|text| text.len() == 36),
            Some("date") => *found == expected["v"],
            Some("number") => found.is_null(),
            Some("now") => found.is_string() || found.is_number(),
            _ => false,
        },
        (Json::Object(expected), Json::Object(object)) => {
            let mut kept = expected.iter().filter(|(_, value)| value["$t"] != "undefined");
            object.keys().all(|name| expected.contains_key(name))
                && kept.all(|(name, value)| object.get(name).is_some_and(|found| same(value, found)))
        }
        (Json::Array(expected), Json::Array(items)) => {
            expected.len() == items.len() && expected.iter().zip(items).all(|(expected, item)| same(expected, item))
        }
        (Json::Number(expected), Json::Number(number)) => expected.as_f64() == number.as_f64(),
        _ => recorded == found,
    }
}

/// The world outside: environment and answers of the case that is on, each answer given once, and what was asked.
#[derive(Default)]
pub struct Outside {
    pub env: Json,
    pub answers: Vec<Json>,
    pub asked: Vec<Json>,
}

impl Outside {
    pub fn answer(&mut self, request: &NetRequest) -> Result<NetResponse, NetError> {
        let body = serde_json::from_slice(&request.body).unwrap_or(Json::Null);
        self.asked.push(json!({ "method": request.method.as_str(), "url": request.url.as_str(), "body": body }));
        let of = |answer: &Json| {
            let method = answer["method"].as_str().unwrap_or("GET");
            let url = answer["url"].as_str().and_then(|url| url::Url::parse(url).ok());
            method == request.method.as_str() && url.is_some_and(|url| url == request.url)
        };
        let answer = match self.answers.iter().position(of) {
            Some(at) => self.answers.remove(at),
            None if request.url.as_str().starts_with(BACKEND) => json!({ "status": 201, "body": { "code": 201 } }),
            None => return Err(NetError::new("ENOTFOUND", format!("there is no {}", request.url))),
        };
        if let Some(error) = answer["error"].as_str() {
            return Err(NetError::new("ECONNRESET", error));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in answer["headers"].as_object().into_iter().flatten() {
            let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value.as_str().unwrap_or("")))
            else {
                continue;
            };
            headers.insert(name, value);
        }
        let body = match (&answer["text"], &answer["base64"], &answer["body"]) {
            (Json::String(text), _, _) | (_, _, Json::String(text)) => text.clone().into_bytes(),
            (_, Json::String(text), _) => base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).unwrap(),
            (_, _, Json::Null) => Vec::new(),
            (_, _, json) => json.to_string().into_bytes(),
        };
        let status = answer["status"].as_u64().unwrap_or(200) as u16;
        let url = request.url.clone();
        Ok(NetResponse { status, headers, body: body.into(), url, redirects: Vec::new(), digest_problem: None })
    }
}
