const { attr, events } = require("../messages.js");

const one = (title, msg, more) => ({ title: `log-trace: ${title}`, msg, ...more });
const traces = (...list) => ({ log: { log: { trace: list } } });
const t = (name, text) => ({ string: [attr("concept:name", name)], event: events(text) });
const drop = { drops: true, note: "an error without a message: a Catch node does not see it" };

module.exports = [
    one("one trace", traces(t("1", "A1"))),
    one("three traces", traces(t("1", "A1"), t("2", "B1"), t("3", "C1"))),
    one("all else is kept", {
        topic: "t",
        req: { body: { a: 1 } },
        payload: "old",
        index: 7,
        ...traces(t("1", "A1"), t("2", "B1")),
    }),
    one("log beside the traces is gone", { log: { log: { string: [attr("concept:name", "orders")], trace: [{ event: [] }] } } }),
    one("traces of any kind", traces(1, "two", null, [3])),
    one("no traces", traces(), { ...drop, wrong: "an empty log is reported as an error, and the caller waits" }),
    one(
        "one trace as an object",
        { log: { log: { trace: t("1", "A1") } } },
        { ...drop, wrong: "a log with one trace read as an object is refused" },
    ),
    one("traces a text", { log: { log: { trace: "abc" } } }, drop),
    one("no log.log", { log: { trace: [t("1", "A1")] } }, drop),
    one("no trace", { log: { log: {} } }, drop),
    one("log null", { log: null }, drop),
    one("no log", { payload: { log: {} } }, drop),
    one("log a text", { log: "x" }, drop),
    one("parts there are kept", { parts: { id: "p", index: 0, count: 1 }, ...traces(t("1", "A1")) }),
];
