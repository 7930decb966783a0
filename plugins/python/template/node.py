"""{{Title}}: compares a number with a limit."""

from probity import node


@node(
    type="{{name}}",
    category="validation",
    color="#7aa2c4",
    icon="fa-balance-scale",
    outputs=["large enough", "too small"],
    # Properties of the message that are handed over; leave it out for all.
    wants=["payload", "req"],
    # Each needs an entry in plugin.toml.
    capabilities=["evidence"],
    # JSON Schema of the node's properties: the editor's form, checks and defaults.
    config={
        "limit": {
            "type": "number",
            "default": 10,
            "title": "Limit",
            "description": "The smallest number that is large enough",
        }
    },
)
def compare(msg, cx):
    """Compares the number in the payload with a limit.

    A number that is large enough leaves by the first output, any other by the second. A caller may send another
    `limit` in the body of its request.
    """
    sent = msg.get("req", {}).get("body")
    limit = sent.get("limit") if isinstance(sent, dict) else None
    if limit is None:
        limit = cx.config.limit
    number = msg["payload"].get("number")
    if not isinstance(number, (int, float)):
        raise TypeError("payload.number is not a number")
    result = number >= limit
    cx.evidence("number", number, result)
    msg["payload"] = {"number": number, "limit": limit, "result": result}
    cx.emit(0 if result else 1, msg)
