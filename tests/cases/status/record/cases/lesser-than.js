const { MIXED } = require("../pairs.js");
const { body, evidence } = require("../messages.js");

const stored = { storeEvidences: true };
const p = (position, result, more = {}) => ({ position, payload: { result, ...more } });
const one = (title, msgs, more) => ({ title: `lesser-than: ${title}`, config: {}, msgs, ...more });
const pair = (title, a, b, more) => [
    one(`${title}, A first`, [p(1, a), p(2, b)], more),
    one(`${title}, B first`, [p(2, b), p(1, a)], more),
];
const unknown = { wrong: "an operand that is no number gives false, not unknown" };
const SHAPE = "the evidence has `name` where all others have `key`";

module.exports = [
    ...pair("1 < 2", 1, 2),
    ...pair("2 < 1", 2, 1),
    ...pair("equal", 2, 2),
    ...pair("0 and 0", 0, 0),
    ...pair("negative", -2, -1),
    ...pair("fractions", 0.1, 0.2),
    ...pair("large", 1709287200000, 1709287200001),
    ...pair("0 < 1", 0, 1),
    ...pair("-0 and 0", -0, 0),
    ...pair("numeric texts", "1", "2", unknown),
    ...pair("a text and a number", "1", 2, unknown),
    ...pair("null", null, 1, unknown),
    ...pair("booleans", false, true, unknown),
    ...pair("NaN", NaN, 1, unknown),
    ...pair("infinity", 1, Infinity),
    ...pair("undefined", 1, undefined, unknown),
    one("evidences on", [p(1, 1), p(2, 2)], { config: stored, wrong: SHAPE }),
    one("evidences on, greater", [p(1, 3), p(2, 2)], { config: stored, wrong: SHAPE }),
    one(
        "evidences on, nested property",
        [
            { position: 1, payload: { a: { b: 1 } } },
            { position: 2, payload: { a: { b: 2 } } },
        ],
        {
            config: { ...stored, lesserProperty: "a.b" },
            wrong: SHAPE,
        },
    ),
    one("fixed B, message A", [p(1, 10)], { config: { bValue: "11" } }),
    one("fixed B, equal", [p(1, 11)], { config: { bValue: "11" } }),
    one("fixed B as number", [p(1, 10)], { config: { bValue: 11 } }),
    one("fixed A, message B", [p(2, 10)], { config: { aValue: "11" } }),
    one("fixed A, nested property", [{ position: 2, payload: { result: { temperature: 10 } } }], {
        config: { aValue: "11", lesserProperty: "result.temperature" },
    }),
    one("fixed A, nested property, greater", [{ position: 2, payload: { result: { temperature: 12 } } }], {
        config: { aValue: "11", lesserProperty: "result.temperature" },
    }),
    one("fixed A 0 as number", [p(2, 1)], { config: { aValue: 0 } }),
    one("fixed A 0 as text", [p(2, 1)], { config: { aValue: "0" } }),
    one("fixed B, message at position B", [p(2, 99), p(1, 10)], {
        config: { bValue: "11" },
        note: "the fixed value stands, the message's is not looked at",
    }),
    one("fixed A and B, position 1", [p(1, 99)], { config: { aValue: "1", bValue: "2" } }),
    one("fixed A and B, position 2", [p(2, 99)], { config: { aValue: "1", bValue: "2" } }),
    one("fixed A and B, no position", [{ payload: { result: 99 } }], {
        config: { aValue: "1", bValue: "2" },
        wrong: "with both values fixed the help asks for no position, yet nothing is sent",
    }),
    one("fixed A no number", [p(2, 1)], { config: { aValue: "abc" }, ...unknown }),
    one("fixed A with unit", [p(2, 20)], { config: { aValue: "11 days" }, wrong: 'parseFloat reads "11 days" as 11' }),
    one("fixed A with decimal comma", [p(2, 1.2)], { config: { aValue: "1,5" }, wrong: 'parseFloat reads "1,5" as 1' }),
    one("fixed A hexadecimal", [p(2, 1)], { config: { aValue: "0x10" }, wrong: 'parseFloat reads "0x10" as 0' }),
    one("fixed A exponent", [p(2, 2000)], { config: { aValue: "1e3" } }),
    one(
        "property of the payload",
        [
            { position: 1, payload: { temperature: 1 } },
            { position: 2, payload: { temperature: 10 } },
        ],
        { config: { lesserProperty: "temperature" } },
    ),
    one(
        "nested property",
        [
            { position: 1, payload: { a: { b: 3 } } },
            { position: 2, payload: { a: { b: 2 } } },
        ],
        { config: { lesserProperty: "a.b" } },
    ),
    one(
        "nested property by index",
        [
            { position: 1, payload: { a: [3, 1] } },
            { position: 2, payload: { a: [3, 2] } },
        ],
        { config: { lesserProperty: "a.1" } },
    ),
    one("property missing", [p(1, 1), p(2, 2)], { config: { lesserProperty: "none" }, ...unknown }),
    one("nested property missing", [p(1, 1), p(2, 2)], { config: { lesserProperty: "none.deep" }, ...unknown }),
    one(
        "body over config: lesserProperty",
        [
            body({ lesserProperty: "x" }, { position: 1, payload: { result: 9, x: 1 } }),
            body({ lesserProperty: "x" }, { position: 2, payload: { result: 8, x: 2 } }),
        ],
        { config: { lesserProperty: "result" } },
    ),
    one(
        "body over config: empty lesserProperty does not win",
        [
            body({ lesserProperty: "" }, { position: 1, payload: { x: 1 } }),
            body({ lesserProperty: "" }, { position: 2, payload: { x: 2 } }),
        ],
        { config: { lesserProperty: "x" } },
    ),
    one("body over config: aValue", [body({ aValue: "1" }, p(2, 2))], { config: { aValue: "5" } }),
    one("body over config: aValue 0 does not win", [body({ aValue: 0 }, p(2, 2))], {
        config: { aValue: "5" },
        wrong: "a 0 in the body does not override (|| in place of ??)",
    }),
    one('body over config: aValue "0" wins', [body({ aValue: "0" }, p(2, 2))], { config: { aValue: "5" } }),
    one("body: aValue 0 without a configured one", [body({ aValue: 0 }, p(2, 2))], {
        wrong: "a 0 in the body is taken for none (|| in place of ??)",
    }),
    one("body: bValue", [body({ bValue: 5 }, p(1, 2))]),
    one("evidences in order of arrival, A first", [
        p(1, 1, { evidences: [evidence("a", true)] }),
        p(2, 2, { evidences: [evidence("b", true)] }),
    ]),
    one("evidences in order of arrival, B first", [
        p(2, 2, { evidences: [evidence("b", true)] }),
        p(1, 1, { evidences: [evidence("a", true)] }),
    ]),
    one("evidences not an array", [p(1, 1, { evidences: "x" }), p(2, 2)]),
    one("the last message's other properties", [p(1, 1, { from: "a" }), { topic: "t", ...p(2, 2, { index: 3 }) }]),
    one("position as text", [p("1", 1), p("2", 2)]),
    one("the same position twice: the later counts", [p(1, 5), p(1, 1), p(2, 2)]),
    one("no position", [{ payload: { result: 1 } }, { payload: { result: 2 } }], {
        wrong: "a message without position is swallowed",
    }),
    one("position 3 spoils the pair", [p(3, 1), p(1, 1), p(2, 2)], { wrong: "an unknown position blocks the node for good" }),
    one("position 0", [p(0, 1), p(1, 1), p(2, 2)], { wrong: "an unknown position blocks the node for good" }),
    one("two pairs", [p(1, 1), p(2, 2), p(1, 2), p(2, 1)]),
    one(
        "two callers interleaved",
        [body({ caller: 1 }, p(1, 1)), body({ caller: 2 }, p(1, 9)), body({ caller: 1 }, p(2, 5)), body({ caller: 2 }, p(2, 5))],
        { wrong: MIXED },
    ),
    one("one message: nothing yet", [p(1, 1)], { drops: true }),
    one("payload a number", [
        { position: 1, payload: 1 },
        { position: 2, payload: 2 },
    ]),
    one("payload null", [{ position: 1, payload: null }]),
    one("no payload", [{ position: 1 }]),
];
