//! {{Title}}: compares a number with a limit.

use probity_sdk::prelude::*;

/// Compares the number in the payload with a limit.
///
/// A number that is large enough leaves by the first output, any other by the second. A caller may send another
/// `limit` in the body of its request.
#[derive(Clone, Config)]
pub struct {{Camel}} {
    /// The smallest number that is large enough.
    #[config(default = 10, label = "Limit")]
    limit: f64,
}

#[node(
    type = "{{name}}",
    category = "validation",
    color = "#7aa2c4",
    icon = "fa-balance-scale",
    outputs = ["large enough", "too small"],
    wants = ["payload", "req"],
    capabilities = ["evidence"]
)]
impl Node for {{Camel}} {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let number = msg.at("payload.number").and_then(Value::as_f64).context("msg.payload.number is not a number")?;
        let result = number >= config.limit;
        cx.evidence("number", &number, result)?;
        msg.set("payload", json!({ "number": number, "limit": config.limit, "result": result }));
        cx.emit(if result { 0 } else { 1 }, msg)
    }
}

probity_sdk::plugin!({{Camel}});

#[cfg(test)]
mod tests {
    use super::*;
    use probity_sdk::testing::Host;

    #[test]
    fn numbers_from_the_limit_on_are_large_enough() {
        let host = Host::new();
        for (number, port) in [(10, 0), (9, 1)] {
            let sent = host.process::<{{Camel}}>(json!({}), json!({ "payload": { "number": number } })).unwrap();
            assert_eq!((sent.len(), sent[0].port), (1, port));
            assert_eq!(sent[0].msg["payload"]["result"], port == 0);
        }
        let evidence: Vec<_> = host.evidence().iter().map(|e| (e.key.clone(), e.outcome)).collect();
        assert_eq!(evidence, [("number".to_owned(), Some(true)), ("number".to_owned(), Some(false))]);
    }

    #[test]
    fn a_caller_may_send_another_limit() {
        let message = json!({ "payload": { "number": 9 }, "req": { "body": { "limit": 5 } } });
        assert_eq!(Host::new().process::<{{Camel}}>(json!({}), message).unwrap()[0].port, 0);
    }

    #[test]
    fn without_a_number_there_is_no_verdict() {
        let error = Host::new().process::<{{Camel}}>(json!({}), json!({ "payload": {} })).unwrap_err();
        assert_eq!(error.message(), "msg.payload.number is not a number");
    }
}
