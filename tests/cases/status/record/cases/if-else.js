const { evidence } = require("../messages.js");

const one = (title, msg, more) => ({ title: `if-else: ${title}`, msg, ...more });
module.exports = [
    one("true", { payload: { result: true } }),
    one("false", { payload: { result: false } }),
    one("true, all else is kept", {
        topic: "t",
        req: { body: { a: 1 } },
        payload: { result: true, evidences: [evidence("a", true)], index: 1 },
    }),
    one("false, all else is kept", { topic: "t", payload: { result: false, evidences: [evidence("a", false)] } }),
    ...[
        ['the text "true"', "true"],
        ['the text "false"', "false"],
        ["1", 1],
        ["0", 0],
        ["null", null],
        ["undefined", undefined],
        ["an object", {}],
    ].map(([name, result]) => one(`result ${name}`, { payload: { result } }, { drops: true })),
    one("no result", { payload: {} }, { drops: true }),
    one("payload true", { payload: true }, { drops: true }),
    one("payload a text", { payload: "true" }, { drops: true }),
    one("payload null", { payload: null }, { drops: true }),
    one("no payload", {}, { drops: true }),
    one("payload an array", { payload: [{ result: true }] }, { drops: true }),
].map((c) => (c.drops ? { ...c, note: "an error a Catch node can answer; without one the caller waits" } : c));
