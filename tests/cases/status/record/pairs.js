// The cases of the nodes that combine two boolean results.
const { evidence } = require("./messages.js");

const r = (result, more = {}) => ({ payload: { result, ...more } });
const MIXED = "state belongs to the node, not to the run: callers are mixed";

function pairCases(type) {
    const on = { storeEvidences: true };
    const one = (title, msgs, more) => ({ title: `${type}: ${title}`, msgs, ...more });
    const cases = [];
    for (const a of [true, false]) {
        for (const b of [true, false]) {
            for (const storeEvidences of [false, true]) {
                cases.push(
                    one(`${a}, ${b}, evidences ${storeEvidences ? "on" : "off"}`, [r(a), r(b)], { config: { storeEvidences } }),
                );
            }
        }
    }
    const odd = [
        ['the text "true"', "true"],
        ["1", 1],
        ["0", 0],
        ["null", null],
        ["undefined", undefined],
        ["an object", {}],
        ["an array", [true]],
    ];
    for (const [name, value] of odd) {
        cases.push(
            one(`result ${name} is passed over`, [r(value), r(true), r(false)], {
                config: on,
                wrong: "an operand that is no boolean is dropped in silence, and the next message takes its place",
            }),
        );
    }
    const two = (a, b) => [
        r(a, { evidences: [evidence("a1", a), evidence("a2", a)], from: "first" }),
        r(b, { evidences: [evidence("b1", b)], index: 2, scope: { team: "x" } }),
    ];
    return [
        ...cases,
        one("evidences of both, in order of arrival", two(true, false), { config: on }),
        one("evidences of both, none of its own", two(true, false)),
        one(
            "the second message's other properties",
            [
                { topic: "one", a: 1, ...r(true) },
                { topic: "two", b: 2, ...r(true) },
            ],
            { note: "the reply is the second message; what only the first had is gone" },
        ),
        one("only the first has evidences", [r(true, { evidences: [evidence("a", true)] }), r(true)], { config: on }),
        one("only the second has evidences", [r(true), r(true, { evidences: [evidence("b", true)] })], { config: on }),
        one("evidences not an array", [r(true, { evidences: "x" }), r(true, { evidences: null })], { config: on }),
        one("four messages, two pairs", [r(true), r(true), r(true), r(false)], { config: on }),
        one(
            "four messages at once",
            [r(true), r(true), r(true), r(false)].map((msg) => ({ wait: 0, msg })),
        ),
        one(
            "four messages at once, evidences on",
            [r(true), r(true), r(false), r(true)].map((msg) => ({ wait: 0, msg })),
            { config: on, wrong: "a pair is closed only after an await: messages that come meanwhile spoil it" },
        ),
        one("three messages: the third waits", [r(true), r(true), r(false)]),
        one("one message: nothing yet", [r(true)], { drops: true }),
        one(
            "two callers interleaved",
            [
                { req: { body: { caller: 1 } }, ...r(true) },
                { req: { body: { caller: 2 } }, ...r(false) },
                { req: { body: { caller: 1 } }, ...r(true) },
                { req: { body: { caller: 2 } }, ...r(false) },
            ],
            { config: on, wrong: MIXED },
        ),
        one(
            "a caller's stray operand meets the next caller",
            [
                { req: { body: { caller: 1 } }, ...r(true) },
                { req: { body: { caller: 2 } }, ...r(false) },
            ],
            { wrong: MIXED },
        ),
        one("body: storeEvidences is not read from it", [r(true), { req: { body: { storeEvidences: true } }, ...r(true) }], {
            wrong: "params advertise storeEvidences, yet the body's is ignored",
        }),
        one("the same payload object twice", [r(true)], {
            make: () => {
                const payload = { result: true, evidences: [evidence("a", true)] };
                return { config: on, msgs: [{ payload }, { payload }] };
            },
        }),
        one("payload the boolean itself", [{ payload: true }, { payload: false }], {
            drops: true,
            wrong: "an operand that is no object with result is dropped in silence",
        }),
        one("payload a text", [{ payload: "true" }], { wrong: "an operand that is no object with result is dropped in silence" }),
        one("payload an empty object", [{ payload: {} }], { wrong: "an operand without result is dropped in silence" }),
        one("payload null", [{ payload: null }]),
        one("no payload", [{}]),
        one("parts and other message properties", [
            { parts: { id: "p", index: 0, count: 2 }, ...r(true) },
            { parts: { id: "p", index: 1, count: 2 }, ...r(true) },
        ]),
    ];
}

module.exports = { MIXED, pairCases };
