

@node(
    type="python-all",
    outputs=["same", "new"],
    capabilities=["clock", "random", "secret", "http", "state", "evidence", "typed-input", "context", "files"],
    config={"list": {"type": "array", "default": [1, "zwei"]}},
)
def one_of_each(msg, cx):
    """Does one of each thing a node may do."""
    from probity import Error, Message

    now = cx.now_ms()
    print("printed", 1)
    cx.warn("logged 2")
    cx.status("busy", "green", "dot")
    assert len(cx.random(4)) == 4
    count = cx.node_state.update("count", lambda old: old + 1, 0)
    headers = {"authorization": f"Bearer {cx.secret('TOKEN')}"}
    response = cx.http("POST", "http://shop.test/orders", headers, body="hello")
    body = json.loads(response.body)
    cx.evidence("order", body)
    cx.set_context("flow", "seen", count)
    try:
        cx.read_file("gone.txt")
    except Error:
        pass
    made = {
        "status": response.status,
        "body": body,
        "evaluated": cx.evaluate("jsonata", "payload + 1"),
        "seen": cx.get_context("flow", "seen"),
        "time": now,
        "config": cx.config.list[1],
    }
    cx.emit(1, Message(payload=made, bytes=b"a\0b"))
    msg["deep"]["later"] = True
    del msg["topic"]
    cx.emit(0, msg)


@node(type="python-fails", wants=["payload"])
def fail(msg, cx):
    """Fails with a code."""
    from probity import Error

    if msg["payload"] is None:
        return msg["payload"].missing
    raise Error("no card has this id", code="no-card")


import json  # noqa: E402 - appended to the template's node.py
