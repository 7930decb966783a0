const { attr, body, events } = require("../messages.js");

const filters = [{ attribute: "declaration", value: "concept:name" }];
const strings = (name = "declaration 1") => [
    attr("concept:name", name),
    attr("org:unit", "Sales"),
    attr("concept:name", "second"),
];
const one = (title, scope, payload, more = {}) => ({
    title: `filter-scope: ${title}`,
    msg: scope === undefined ? { payload } : body({ scope }, { payload }),
    ...more,
    config: { filters, ...more.config },
});
const dropped = { drops: true, note: "dropped: an HTTP caller gets no answer" };
const LIST = "a list payload is turned into an object with the keys 0, 1, …";
const passes = { wrong: "an unreadable message passes the filter, without scope" };
const SPREAD = { wrong: LIST };

module.exports = [
    one("trace.string, equal", { declaration: "declaration 1" }, { trace: { string: strings(), event: events("A1") } }),
    one("trace.string, not equal", { declaration: "declaration 9" }, { trace: { string: strings() } }, dropped),
    one("payload.string, equal", { declaration: "declaration 1" }, { string: strings() }),
    one("payload.string, not equal", { declaration: "x" }, { string: strings() }, dropped),
    one("payload a list, equal", { declaration: "declaration 1" }, strings(), SPREAD),
    one("payload a list, *", { declaration: "*" }, strings(), SPREAD),
    one("payload a list, not equal", { declaration: "x" }, strings(), dropped),
    one("payload a list, no filters", { a: 1 }, strings(), { config: { filters: [] }, ...SPREAD }),
    one("payload an empty list", { declaration: "x" }, [], dropped),
    one("payload an empty list, *", { declaration: "*" }, [], { wrong: `${LIST}; nothing was found, yet it passes with *` }),
    one("* is filled in", { declaration: "*" }, { trace: { string: strings() } }),
    one(
        "* with nothing found stays *",
        { declaration: "*" },
        { string: [attr("other", "x")] },
        { wrong: "nothing was found, yet it passes with *" },
    ),
    one("* takes the first", { declaration: "*" }, { string: strings("first") }),
    one(
        "* with an empty value stays *",
        { declaration: "*" },
        { string: [attr("concept:name", "")] },
        { wrong: "an empty value counts as not found" },
    ),
    one("* is the value itself", { declaration: "*" }, { string: [attr("concept:name", "*")] }),
    one("the second of that key", { declaration: "second" }, { string: strings() }, { note: "any item of the key may match" }),
    one("a value of another key", { declaration: "Sales" }, { string: strings() }, dropped),
    one(
        "two filters, both hold",
        { declaration: "declaration 1", unit: "Sales" },
        { string: strings() },
        { config: { filters: [...filters, { attribute: "unit", value: "org:unit" }] } },
    ),
    one(
        "two filters, one fails",
        { declaration: "declaration 1", unit: "IT" },
        { string: strings() },
        { ...dropped, config: { filters: [...filters, { attribute: "unit", value: "org:unit" }] } },
    ),
    one(
        "two filters, one *",
        { declaration: "declaration 1", unit: "*" },
        { string: strings() },
        { config: { filters: [...filters, { attribute: "unit", value: "org:unit" }] } },
    ),
    one(
        "the same attribute twice, * first",
        { declaration: "*" },
        { string: strings() },
        { config: { filters: [...filters, ...filters] } },
    ),
    one("other scope attributes are kept", { declaration: "declaration 1", year: 2024, list: [1] }, { string: strings() }),
    one("scope attribute not filtered", { year: "*" }, { string: strings() }, { config: { filters: [] } }),
    one(
        "attribute missing in the scope",
        { other: "x" },
        { string: strings() },
        { ...dropped, wrong: "an attribute the scope does not name blocks the message" },
    ),
    one(
        "attribute missing in the scope, item without value",
        { other: "x" },
        { string: [{ key: "concept:name" }] },
        { wrong: "undefined equals undefined" },
    ),
    one("attribute null", { declaration: null }, { string: strings() }, dropped),
    one(
        "attribute a number, text in the data",
        { declaration: 1 },
        { string: [attr("concept:name", "1")] },
        { ...dropped, note: "compared strictly" },
    ),
    one("attribute a number in both", { declaration: 1 }, { string: [attr("concept:name", 1)] }),
    one(
        "no scope",
        undefined,
        { string: strings() },
        { ...dropped, wrong: "without a scope in the request nothing passes, and nothing is said" },
    ),
    one("no scope, no filters", undefined, { string: strings() }, { config: { filters: [] } }),
    one("scope null", null, { string: strings() }, dropped),
    one(
        "scope a text",
        "declaration 1",
        { string: strings() },
        { drops: true, wrong: "a scope that is a text is spread into letters" },
    ),
    one(
        "scope an empty object",
        {},
        { string: strings() },
        { ...dropped, wrong: "an attribute the scope does not name blocks the message" },
    ),
    one("scope an empty object, no filters", {}, { string: strings() }, { config: { filters: [] } }),
    one("items without $", { declaration: "a" }, { string: [{ key: "concept:name", value: "a" }] }),
    one(
        "items with the key as property",
        { country: "Spain" },
        { string: [{ "concept:name": "Spain", city: "Madrid" }] },
        {
            drops: true,
            config: { filters: [{ attribute: "country", value: "concept:name" }] },
            wrong: "the help's example never passes: such an item's `value` is compared",
        },
    ),
    one(
        "items with the key as property, *",
        { country: "*" },
        { string: [{ "concept:name": "Spain" }] },
        {
            config: { filters: [{ attribute: "country", value: "concept:name" }] },
            wrong: "the help's kind of item is not read: * stays",
        },
    ),
    one("nested items", { declaration: "deep" }, { string: [{ more: [{ again: attr("concept:name", "deep") }] }] }),
    one(
        "item whose value equals the key's name",
        { declaration: "x" },
        { string: [{ $: { key: "other", value: "concept:name" } }] },
        dropped,
    ),
    one("string one object", { declaration: "a" }, { trace: { string: attr("concept:name", "a") } }, passes),
    one("payload an object without string", { declaration: "a" }, { foo: 1 }, passes),
    one("payload a text", { declaration: "a" }, "abc", passes),
    one("payload a number", { declaration: "a" }, 5, passes),
    one("payload null", { declaration: "a" }, null, dropped),
    one("no payload", { declaration: "a" }, undefined, dropped),
    one("no payload, *", { declaration: "*" }, undefined, { wrong: "nothing was found, yet it passes with *" }),
    one("null among the items", { declaration: "declaration 1" }, { string: [null, ...strings()] }),
    one(
        "empty trace.string",
        { declaration: "*" },
        { trace: { string: [] } },
        { wrong: "nothing was found, yet it passes with *" },
    ),
    one("filters in the body are not read", null, null, {
        msg: body(
            { scope: { a: "Sales" }, filters: [{ attribute: "a", value: "org:unit" }] },
            { payload: { string: strings() } },
        ),
        drops: true,
        wrong: "params advertise filters, yet the body's are ignored",
    }),
    one(
        "the request's scope is not changed",
        { declaration: "*" },
        { string: strings() },
        { note: "msg.req.body.scope still has the *" },
    ),
    one("payload.scope there is overwritten", { declaration: "*" }, { scope: { old: 1 }, string: strings() }),
    one("all else is kept", null, null, {
        msg: body(
            { scope: { declaration: "*" } },
            { topic: "t", payload: { string: strings(), evidences: [], result: true, index: 4 } },
        ),
    }),
    one("two callers", null, null, {
        msgs: [
            body({ scope: { declaration: "*" } }, { payload: { string: strings("one") } }),
            body({ scope: { declaration: "*" } }, { payload: { string: strings("two") } }),
        ],
    }),
];
