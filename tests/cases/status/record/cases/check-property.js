const { body, evidence } = require("../messages.js");

const config = { propertyToCheck: "status", expectedValue: "active" };
const on = { ...config, storeEvidences: true };
const one = (title, payload, more = {}) => ({
    title: `check-property: ${title}`,
    msg: { payload },
    ...more,
    config: { ...config, ...more.config },
});
const kept = (title, payload, more = {}) =>
    one(`${title}, evidences on`, { evidences: [], ...payload }, { ...more, config: { ...on, ...more.config } });
const MISSING = { wrong: "a missing property is reported as false, not as unknown" };
const TEXT = { wrong: "an expected value from the editor is always a text and never equals a number or boolean" };

module.exports = [
    one("equal", { status: "active" }),
    one("not equal", { status: "inactive" }),
    kept("equal", { status: "active" }),
    kept("not equal", { status: "inactive" }),
    kept("missing", { other: 1 }, MISSING),
    one("missing", { other: 1 }, MISSING),
    one("evidences on, no evidences there", { status: "active" }, { config: on }),
    one("evidences on, none there, missing", {}, { config: on }),
    one("evidences on, evidences null", { status: "active", evidences: null }, { config: on }),
    kept("evidences there are kept", { status: "active", evidences: [evidence("a", false)] }),
    one("evidences not created", { status: "active", a: 1 }, { note: "unlike other nodes it makes no evidences array" }),
    one("case counts", { status: "Active" }),
    one("number, text expected", { status: 1 }, { config: { expectedValue: "1" }, ...TEXT }),
    one("true, text expected", { status: true }, { config: { expectedValue: "true" }, ...TEXT }),
    one("null, text expected", { status: null }, { config: { expectedValue: "null" }, ...TEXT }),
    one("number by the body", null, { msg: body({ expectedValue: 1 }, { payload: { status: 1 } }) }),
    one("false by the body", null, { msg: body({ expectedValue: false }, { payload: { status: false } }) }),
    one("0 by the body", null, { msg: body({ expectedValue: 0 }, { payload: { status: 0 } }) }),
    one("0 is not false", null, { msg: body({ expectedValue: false }, { payload: { status: 0 } }) }),
    one("null in the body falls back", null, {
        msg: body({ expectedValue: null, propertyToCheck: null }, { payload: { status: "active" } }),
    }),
    one("empty text by the body", null, { msg: body({ expectedValue: "" }, { payload: { status: "" } }) }),
    one("list by the body", null, {
        msg: body({ expectedValue: [1] }, { payload: { status: [1] } }),
        wrong: "lists and objects are compared by identity",
    }),
    one("object by the body", null, {
        msg: body({ expectedValue: { a: 1 } }, { payload: { status: { a: 1 } } }),
        wrong: "lists and objects are compared by identity",
    }),
    one("NaN", null, { msg: body({ expectedValue: NaN }, { payload: { status: NaN } }) }),
    one("property by the body", null, { msg: body({ propertyToCheck: "state" }, { payload: { state: "active" } }) }),
    one("body: storeEvidences is not read from it", null, {
        msg: body({ storeEvidences: true }, { payload: { status: "active", evidences: [] } }),
        wrong: "params advertise storeEvidences, yet the body's is ignored",
    }),
    one("path is not followed", { a: { status: "active" } }, { config: { propertyToCheck: "a.status" }, ...MISSING }),
    one("property with a dot", { "a.b": "active" }, { config: { propertyToCheck: "a.b" } }),
    one("inherited property", { a: 1 }, { config: { propertyToCheck: "constructor" }, ...MISSING }),
    one("property undefined", { status: undefined }, {}),
    one("property named result", { result: "active" }, { config: { propertyToCheck: "result" } }),
    kept("property named result", { result: "active" }, { config: { propertyToCheck: "result" } }),
    one("no property configured", { status: "active" }, { config: { propertyToCheck: "" }, ...MISSING }),
    one("array in payload, index", ["active"], { config: { propertyToCheck: "0" } }),
    one("array in payload, parts alone", null, {
        msg: { parts: { index: 1 }, payload: [{ name: "Alice" }, { name: "Bob" }] },
        config: { propertyToCheck: "name", expectedValue: "Bob" },
        wrong: "the help's example (payload a list, msg.parts.index) gives false",
    }),
    one("msg.array and parts", null, {
        msg: {
            parts: { index: 1 },
            array: [{ name: "Alice" }, { name: "Bob" }],
            expectedValue: "Bob",
            propertyToCheck: "name",
            payload: {},
        },
    }),
    one("msg.array and parts, not equal", null, {
        msg: {
            parts: { index: 0 },
            array: [{ name: "Alice" }, { name: "Bob" }],
            expectedValue: "Bob",
            propertyToCheck: "name",
            payload: {},
        },
    }),
    one("msg.array and parts, evidences on", null, {
        config: on,
        msg: {
            parts: { index: 1 },
            array: [{ name: "Alice" }, { name: "Bob" }],
            expectedValue: "Bob",
            propertyToCheck: "name",
            payload: { evidences: [] },
        },
    }),
    one("msg.array and parts, payload has the property", null, {
        msg: {
            parts: { index: 1 },
            array: [{ name: "Bob" }],
            expectedValue: "x",
            propertyToCheck: "name",
            payload: { status: "active" },
        },
    }),
    one("msg.array and parts, index beyond", null, {
        msg: { parts: { index: 5 }, array: [{ name: "Alice" }], expectedValue: "Bob", propertyToCheck: "name", payload: {} },
    }),
    one("msg.array and parts, expectedValue false", null, {
        msg: { parts: { index: 0 }, array: [{ ok: false }], expectedValue: false, propertyToCheck: "ok", payload: {} },
        wrong: "a falsy msg.expectedValue switches the list mode off",
    }),
    one("payload a text", "active", MISSING),
    one("payload a number", 5, MISSING),
    one("payload null", null),
    { title: "check-property: no payload", config, msg: {} },
    one("all else is kept", null, { msg: { topic: "t", payload: { status: "active", index: 2, scope: { a: 1 } } } }),
];
