const { body } = require("../messages.js");

const NEVER_RESET = "the groups and the count are never reset: the node works once per deploy";
const row = (kind, n, len, more = {}) => ({ len, ...more, payload: { kind, n } });
const one = (title, msgs, more = {}) => ({
    title: `group-by: ${title}`,
    msgs,
    ...more,
    config: { property: "kind", ...more.config },
});
const len3 = { note: "len counts the header line of a CSV file: len - 1 rows" };
const MISSED = { wrong: "a row without the property is not counted: the group never completes" };

module.exports = [
    one("two groups", [row("A", 1, 4), row("B", 2, 4), row("A", 3, 4)], len3),
    one("one group", [row("A", 1, 3), row("A", 2, 3)], len3),
    one("one row", [row("A", 1, 2)], len3),
    one("every row its own group", [row("C", 1, 4), row("A", 2, 4), row("B", 3, 4)]),
    one("number keys come first, ascending", [row("b", 1, 5), row(10, 2, 5), row(9, 3, 5), row("a", 4, 5)]),
    one("true, a list and an object as key", [row(true, 1, 4), row(["x", "y"], 2, 4), row({ a: 1 }, 3, 4)], {
        wrong: "objects are grouped under [object Object]",
    }),
    one('1 and "1" are one group', [row(1, 1, 3), row("1", 2, 3)]),
    one("not all rows yet", [row("A", 1, 5), row("B", 2, 5)], { drops: true }),
    one("a row without the property", [row("A", 1, 4), { len: 4, payload: { n: 2 } }, row("A", 3, 4)], MISSED),
    one("a row with 0 as property", [row("A", 1, 4), row(0, 2, 4), row("A", 3, 4)], MISSED),
    one("a row with an empty property", [row("A", 1, 4), row("", 2, 4), row("A", 3, 4)], MISSED),
    one("a row with false as property", [row("A", 1, 3), row(false, 2, 3)], MISSED),
    one("payload null among the rows", [row("A", 1, 3), { len: 3, payload: null }], MISSED),
    one("a row without the property after the last", [row("A", 1, 3), row("B", 2, 3), { len: 3, payload: { n: 3 } }], {
        wrong: "sent twice: every further message finds the count still reached",
    }),
    one("one row too many", [row("A", 1, 3), row("B", 2, 3), row("C", 3, 3)], {
        wrong: "a row after the last changes the groups already sent and is itself lost",
    }),
    one("a second batch", [row("A", 1, 3), row("A", 2, 3), row("B", 1, 3), row("B", 2, 3)], { wrong: NEVER_RESET }),
    one(
        "two callers interleaved",
        [
            row("A", 1, 3, { req: { body: { caller: 1 } } }),
            row("X", 1, 3, { req: { body: { caller: 2 } } }),
            row("B", 2, 3, { req: { body: { caller: 1 } } }),
            row("Y", 2, 3, { req: { body: { caller: 2 } } }),
        ],
        { wrong: "state belongs to the node, not to the run: callers are mixed" },
    ),
    one("no len", [row("A", 1), row("B", 2)], { wrong: "without len nothing is ever sent" }),
    one("len as text", [row("A", 1, "3"), row("B", 2, "3")]),
    one("len 1", [row("A", 1, 1)], { wrong: "len of an empty file: the first row is already one too many" }),
    one("len 1 and an empty row", [{ len: 1, payload: {} }], { note: "no rows: an empty object is sent" }),
    one("len 0", [row("A", 1, 0)], { drops: true }),
    one("message of the last row is sent", [
        { topic: "one", ...row("A", 1, 3) },
        { topic: "two", index: 1, ...row("A", 2, 3) },
    ]),
    one("property named __proto__", [{ len: 2, payload: { kind: "__proto__", n: 1 } }]),
    one("property named constructor", [row("constructor", 1, 2)]),
    one("nested property is no path", [{ len: 2, payload: { a: { b: 1 } } }], { config: { property: "a.b" }, ...MISSED }),
    one("no property configured", [row("A", 1, 2)], { config: { property: "" }, drops: true }),
    one("body over config", [body({ property: "n" }, row("A", 1, 2))]),
    one("body over config: empty wins", [body({ property: "" }, row("A", 1, 2))], { drops: true }),
    one("body over config: null does not win", [body({ property: null }, row("A", 1, 2))]),
    one("payload a list", [{ len: 2, payload: [{ kind: "A" }] }], {
        wrong: "a list in one message is not grouped, and nothing is said",
    }),
    one("payload a text", [{ len: 2, payload: "abc" }], { config: { property: "length" } }),
    one("no payload", [{ len: 2 }], { drops: true, wrong: "a message without payload is swallowed" }),
];
