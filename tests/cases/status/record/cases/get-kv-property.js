const { attr, body, event } = require("../messages.js");

const config = { keyToSearch: "concept:name", payloadProperty: "data", response: "found" };
const one = (title, payload, more = {}) => ({
    title: `get-kv-property: ${title}`,
    msg: { payload },
    ...more,
    config: { ...config, ...more.config },
});
const drop = { drops: true, note: "an error without a message: a Catch node does not see it" };
const falsy = { wrong: "a falsy value counts as not found" };

module.exports = [
    one("one level", { data: { event: attr("concept:name", "TaskA") } }),
    one(
        "array",
        { data: [attr("type", "Error"), attr("level", "High")] },
        { config: { keyToSearch: "level", response: "foundLevel" } },
    ),
    one("the object itself", { data: attr("concept:name", "TaskA") }),
    one("XES events, the first counts", { data: [event("A", "2024-03-01"), event("B", "2024-03-02")] }),
    one(
        "in payload.trace",
        { trace: { string: [attr("concept:name", "case 1"), attr("x", "y")] } },
        { config: { payloadProperty: "string" } },
    ),
    one("payload.trace hides the payload's own properties", { trace: { a: 1 }, data: attr("concept:name", "T") }, drop),
    one("response is written to the payload, not the trace", { trace: { data: attr("concept:name", "T") }, found: "old" }),
    one("depth first: children before the object itself", {
        data: { $: { key: "concept:name", value: "outer" }, child: attr("concept:name", "inner") },
    }),
    one("in order of the properties", { data: { b: attr("concept:name", "b"), a: attr("concept:name", "a") } }),
    one("deep", { data: { a: { b: [{ c: [[attr("concept:name", "deep")]] }] } } }),
    one("not found", { data: { event: attr("other", "x") } }),
    one("empty object", { data: {} }),
    one("empty array", { data: [] }),
    one("value 0 is passed over", { data: [attr("concept:name", 0), attr("concept:name", "next")] }, falsy),
    one("value 0, one level down", { data: { event: attr("concept:name", 0) } }, falsy),
    one("value false, one level down", { data: [attr("concept:name", false)] }, falsy),
    one("value false", { data: attr("concept:name", false) }),
    one("value empty text", { data: attr("concept:name", "") }),
    one("value 0", { data: attr("concept:name", 0) }),
    one("value null", { data: attr("concept:name", null) }),
    one("value an object", { data: attr("concept:name", { a: 1 }) }),
    one("value an array", { data: attr("concept:name", [1]) }),
    one("key without value", { data: { $: { key: "concept:name" } } }),
    one("attributes without $", { data: { key: "concept:name", value: "x" } }, { note: "only xml2js' $ is known" }),
    one("key is a number", { data: { $: { key: 5, value: "x" } } }, { config: { keyToSearch: "5" } }),
    one("null inside", { data: [null, { a: null }, attr("concept:name", "x")] }),
    one(
        "keyToSearch empty",
        { data: attr("", "x") },
        { config: { keyToSearch: "" }, wrong: "the error text is put out as the value" },
    ),
    one("property null", { data: null }, { wrong: "the error text is put out as the value" }),
    one("property a text", { data: "abc" }, { wrong: "nothing is sent and nothing is said" }),
    one("property a number", { data: 5 }, { wrong: "nothing is sent and nothing is said" }),
    one("property missing", { other: {} }, drop),
    one("property inherited", {}, { ...drop, config: { payloadProperty: "toString" } }),
    one("payloadProperty empty", { "": attr("concept:name", "x") }, { config: { payloadProperty: "" } }),
    one(
        "payloadProperty is no path",
        { data: { inner: attr("concept:name", "x") } },
        { ...drop, config: { payloadProperty: "data.inner" } },
    ),
    one(
        "response empty",
        { data: attr("concept:name", "x") },
        { config: { response: "" }, note: "the value lands under the empty name" },
    ),
    one("response overwrites", { data: attr("concept:name", "x") }, { config: { response: "data" } }),
    one("payload an array, property an index", [attr("concept:name", "x")], { config: { payloadProperty: "0" } }),
    one("payload a text", "abc", drop),
    one("payload a number", 5, drop),
    one("payload null", null, { ...drop, wrong: "a TypeError, not the node's own error" }),
    { title: "get-kv-property: no payload", config, msg: {}, drops: true, wrong: "a TypeError, not the node's own error" },
    {
        title: "get-kv-property: body over config, all three",
        config: { keyToSearch: "x", payloadProperty: "y", response: "z" },
        msg: body(
            { keyToSearch: "concept:name", payloadProperty: "data", response: "found" },
            { payload: { data: attr("concept:name", "T") } },
        ),
    },
    {
        title: "get-kv-property: body over config, null does not win",
        config,
        msg: body({ keyToSearch: null, payloadProperty: null, response: null }, { payload: { data: attr("concept:name", "T") } }),
    },
    {
        title: "get-kv-property: body over config, empty response wins",
        config,
        msg: body({ response: "" }, { payload: { data: attr("concept:name", "T") } }),
    },
    {
        title: "get-kv-property: all else is kept",
        config,
        msg: { topic: "t", payload: { data: attr("concept:name", "T"), evidences: [], scope: { a: 1 } } },
    },
];
