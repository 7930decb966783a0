//! `is-valid-url`: a property is a web address.

use probity_sdk::prelude::*;
use status_conventions::value::kind;
use status_conventions::verdict::{self, Finding};

use crate::address;

/// Checks that a property of the payload is a valid web address.
///
/// Looks at `msg.payload[property]` and sets `msg.payload.result`. Valid are `http` and `https` addresses, also without
/// the scheme: a host name with at least two labels (internationalized ones too), `localhost` or an IP address, with
/// port, path, query and fragment. Whether anything answers there is not asked; see *exists-url*. A value that is no
/// text is not an address; a property that is missing or null is an error, for its value is unknown.
///
/// *Store evidences* adds `{id, key: "url", value, result}` to `msg.payload.evidences`. A caller may send `property`
/// and `storeEvidences` in the body of the request.
#[derive(Clone, Config)]
pub struct IsValidUrl {
    /// Name of the payload's property.
    #[config(label = "Property", default = "")]
    property: String,
    /// Keep what was found as evidence.
    #[config(name = "storeEvidences", label = "Store evidences", default = false)]
    store_evidences: bool,
}

#[node(
    type = "is-valid-url",
    category = "validation",
    color = "#DDAA99",
    icon = "fa-globe",
    wants = ["payload", "req"],
    capabilities = ["evidence"]
)]
impl Node for IsValidUrl {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let name = &config.property;
        let payload = msg.payload();
        ensure!(
            payload.is_object(),
            "msg.payload is {}: an object with the property {name:?} was expected",
            kind(payload)
        );
        let value = match payload.get(name) {
            None => bail!("msg.payload has no property {name:?}, so whether it is an address is unknown"),
            Some(Value::Null) => bail!("msg.payload.{name} is null, so whether it is an address is unknown"),
            Some(value) => value.clone(),
        };
        let result = value.as_str().is_some_and(address::is_valid);
        verdict::conclude(&mut msg, result)?;
        if config.store_evidences {
            verdict::store(&mut msg, cx, &Finding::new("url", value, result))?;
        }
        cx.emit(0, msg)
    }
}
