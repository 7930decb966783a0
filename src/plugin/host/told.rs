//! What crosses between guest and host, told as JSON for a record and read back from one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::plugin::bindings::probity::plugin::http::Response;
use crate::plugin::bindings::probity::plugin::types::{Failure, Message, Property, Value as Crossing};

/// Something a host function answers. What was told is read back the same.
pub(in crate::plugin) trait Told: Sized {
    fn tell(&self) -> Json;
    /// `None` when it is nothing this type tells.
    fn read(told: &Json) -> Option<Self>;
}

impl Told for () {
    fn tell(&self) -> Json {
        Json::Null
    }

    fn read(told: &Json) -> Option<()> {
        told.is_null().then_some(())
    }
}

impl Told for bool {
    fn tell(&self) -> Json {
        json!(self)
    }

    fn read(told: &Json) -> Option<bool> {
        told.as_bool()
    }
}

impl Told for u64 {
    fn tell(&self) -> Json {
        json!(self)
    }

    fn read(told: &Json) -> Option<u64> {
        told.as_u64()
    }
}

impl Told for String {
    fn tell(&self) -> Json {
        json!(self)
    }

    fn read(told: &Json) -> Option<String> {
        told.as_str().map(str::to_string)
    }
}

impl Told for Vec<u8> {
    fn tell(&self) -> Json {
        bytes(self)
    }

    fn read(told: &Json) -> Option<Vec<u8>> {
        match (told.get("text"), told.get("base64")) {
            (Some(text), None) => Some(text.as_str()?.as_bytes().to_vec()),
            (None, Some(text)) => STANDARD.decode(text.as_str()?).ok(),
            _ => None,
        }
    }
}

/// Bytes, readable where they are text.
pub(in crate::plugin) fn bytes(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// For types that never tell `null`.
impl<T: Told> Told for Option<T> {
    fn tell(&self) -> Json {
        self.as_ref().map_or(Json::Null, Told::tell)
    }

    fn read(told: &Json) -> Option<Option<T>> {
        if told.is_null() { Some(None) } else { T::read(told).map(Some) }
    }
}

impl<T: Told> Told for Result<T, Failure> {
    fn tell(&self) -> Json {
        match self {
            Ok(answer) => json!({ "ok": answer.tell() }),
            Err(failure) => json!({ "failure": { "message": failure.message, "code": failure.code } }),
        }
    }

    fn read(told: &Json) -> Option<Self> {
        match (told.get("ok"), told.get("failure")) {
            (Some(answer), None) => T::read(answer).map(Ok),
            (None, Some(failure)) => Some(Err(Failure {
                message: String::read(failure.get("message")?)?,
                code: Option::read(failure.get("code")?)?,
            })),
            _ => None,
        }
    }
}

impl Told for Crossing {
    fn tell(&self) -> Json {
        match self {
            Crossing::Json(text) => json!({ "json": text }),
            Crossing::Bytes(content) => json!({ "bytes": bytes(content) }),
        }
    }

    fn read(told: &Json) -> Option<Crossing> {
        match (told.get("json"), told.get("bytes")) {
            (Some(text), None) => String::read(text).map(Crossing::Json),
            (None, Some(content)) => Vec::read(content).map(Crossing::Bytes),
            _ => None,
        }
    }
}

impl Told for Response {
    fn tell(&self) -> Json {
        json!({ "status": self.status, "headers": self.headers, "body": bytes(&self.body) })
    }

    fn read(told: &Json) -> Option<Response> {
        Some(Response {
            status: u16::try_from(told.get("status")?.as_u64()?).ok()?,
            headers: serde_json::from_value(told.get("headers")?.clone()).ok()?,
            body: Vec::read(told.get("body")?)?,
        })
    }
}

impl Told for Message {
    fn tell(&self) -> Json {
        json!({ "run": self.run, "caller": self.caller, "properties": properties(&self.properties) })
    }

    fn read(told: &Json) -> Option<Message> {
        let properties = told.get("properties")?.as_array()?.iter().map(|of| {
            let name = String::read(of.get("name")?)?;
            Some(Property { name, value: Crossing::read(of)? })
        });
        Some(Message {
            run: String::read(told.get("run")?)?,
            caller: told.get("caller")?.as_bool()?,
            properties: properties.collect::<Option<_>>()?,
        })
    }
}

/// Properties in their order, each with its value beside its name.
pub(in crate::plugin) fn properties(all: &[Property]) -> Json {
    let told = all.iter().map(|property| {
        let mut told = property.value.tell();
        told["name"] = json!(property.name);
        told
    });
    Json::Array(told.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<T: Told + PartialEq + std::fmt::Debug>(value: T) {
        let text = value.tell().to_string();
        let told: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(T::read(&told), Some(value), "{text}");
    }

    #[test]
    fn what_is_told_is_read_back_the_same() {
        comes_back(());
        comes_back(u64::MAX);
        comes_back(Some(b"text".to_vec()));
        comes_back(Some(vec![0u8, 255, 254]));
        comes_back(None::<Vec<u8>>);
        comes_back(Ok::<bool, Failure>(true));
        comes_back(Ok::<Option<Crossing>, Failure>(Some(Crossing::Json("1.0".into()))));
        comes_back(Ok::<Option<Crossing>, Failure>(None));
        comes_back(Err::<(), Failure>(Failure { message: "m".into(), code: None }));
        comes_back(Err::<String, Failure>(Failure { message: "m".into(), code: Some("EPERM".into()) }));
        let headers = vec![("a".into(), "1".into()), ("a".into(), "2".into())];
        comes_back(Ok::<Response, Failure>(Response { status: 503, headers, body: vec![200] }));
        let property = |name: &str, value| Property { name: name.into(), value };
        comes_back(Message {
            run: "r".into(),
            caller: true,
            properties: vec![
                property("payload", Crossing::Json("{\"b\": 1,\"a\":2.50}".into())),
                property("file", Crossing::Bytes(vec![1, 2, 255])),
            ],
        });
    }

    #[test]
    fn what_nobody_told_is_not_read() {
        assert_eq!(u64::read(&json!("1")), None);
        assert_eq!(Vec::<u8>::read(&json!({ "base64": "*" })), None);
        assert_eq!(Vec::<u8>::read(&json!({ "text": "a", "base64": "" })), None);
        assert_eq!(
            Result::<(), Failure>::read(&json!({ "ok": null, "failure": { "message": "", "code": null } })),
            None
        );
        assert_eq!(Response::read(&json!({ "status": 70000, "headers": [], "body": { "text": "" } })), None);
    }
}
