const { body, events, evidence, shapes } = require("../messages.js");

const on = { storeEvidences: true };
const one = (title, payload, more = {}) => ({
    title: `exists-pipe: ${title}`,
    msg: { payload },
    ...more,
    config: { count: 2, ...on, ...more.config },
});
const ACTUAL = { wrong: "the evidence counts again after result and evidences were added to the payload" };
const PLAIN = { note: "the evidence's `actual` is counted after result and evidences were added to the payload", ...ACTUAL };

module.exports = [
    ...Object.entries(shapes(events("A1 B2"))).flatMap(([place, payload]) => [
        one(`${place}, two events`, payload, place === "payload" ? { ...PLAIN, wrong: undefined } : {}),
        one(`${place}, evidences off`, payload, { config: { storeEvidences: false } }),
        one(`${place}, count 3`, payload, { config: { count: 3 } }),
    ]),
    one("plain object", { a: 1, b: 2 }, ACTUAL),
    one("plain object, evidences off", { a: 1, b: 2 }, { config: { storeEvidences: false } }),
    one("plain object, another count", { a: 1, b: 2 }, { config: { count: 3 }, ...ACTUAL }),
    one("plain object, result there", { a: 1, result: true }, ACTUAL),
    one("empty object, count 0", {}, { config: { count: 0 }, ...ACTUAL }),
    one("empty events, count 0", { events: [] }, { config: { count: 0 } }),
    one("events an object", { events: { a: 1, b: 2 } }),
    one("events a text", { events: "ab" }),
    one("events empty text: payload counts", { events: "" }, { config: { count: 1 }, ...ACTUAL }),
    one("count as text", { events: [1, 2] }, { config: { count: "2" } }),
    one("count as text with blanks", { events: [1, 2] }, { config: { count: " 2 " }, note: "compared loosely" }),
    one("count empty", { events: [] }, { config: { count: "" }, wrong: "an empty count equals 0" }),
    one("count true", { events: [1] }, { config: { count: true }, wrong: "true equals 1" }),
    one("count a list", { events: [1, 2] }, { config: { count: ["2"] }, note: "compared loosely" }),
    one("count no number", { events: [1, 2] }, { config: { count: "two" } }),
    one("count a fraction", { events: [1, 2] }, { config: { count: 2.5 } }),
    one("count negative", { events: [] }, { config: { count: -1 } }),
    one("sparse payload.trace without event", { trace: { x: 1 }, events: [1, 2] }),
    one("evidences there are kept", { events: [1, 2], evidences: [evidence("a", true)] }),
    one("evidences not an array", { events: [1, 2], evidences: {} }),
    one("body over config", null, { msg: body({ count: 3 }, { payload: { events: [1, 2, 3] } }) }),
    one("body over config: 0 wins", null, { msg: body({ count: 0 }, { payload: { events: [] } }) }),
    one("body over config: null does not win", null, { msg: body({ count: null }, { payload: { events: [1, 2] } }) }),
    one("body over config: text", null, { msg: body({ count: "3" }, { payload: { events: [1, 2, 3] } }) }),
    one("body: storeEvidences is not read from it", null, {
        config: { storeEvidences: false },
        msg: body({ storeEvidences: true }, { payload: { events: [1, 2] } }),
        wrong: "params advertise storeEvidences, yet the body's is ignored",
    }),
    one("payload a text", "ab"),
    one("payload a text, evidences off", "ab", { config: { storeEvidences: false }, wrong: "result cannot be set on a text" }),
    one("payload a number, evidences off", 5, { config: { storeEvidences: false }, wrong: "result cannot be set on a number" }),
    one("payload null", null),
    { title: "exists-pipe: no payload", config: { count: 0 }, msg: {} },
    one("all else is kept", null, { msg: { topic: "t", payload: { events: [1, 2], index: 1, scope: { a: 1 } } } }),
];
