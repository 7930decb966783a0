const { body } = require("../messages.js");

const LOST = "payload becomes msg.array, so it is lost unless find-object ran before";
const FALSY = "a falsy value is put out as null";
const array = () => [{ id: 1 }, { id: 2 }];
const after = (payload, more = {}) => ({ array: array(), payload, ...more });
const one = (title, msg, more = {}) => ({
    title: `get-property-value: ${title}`,
    msg,
    ...more,
    config: { propertyToGet: "age", ...more.config },
});
const pcm = { enablePCM: true, mlUrl: "http://ml.test", mlEndpoint: "/predict" };
const url = "http://ml.test/predict";
const ml = (title, answer, more = {}) =>
    one(`PCM, ${title}`, after({ temperature: 85 }), {
        http: answer ? [{ method: "POST", url, ...answer }] : [],
        ...more,
        config: { ...pcm, ...more.config },
    });

module.exports = [
    one("after find-object", after({ id: 2, age: 30 })),
    one("without find-object", { payload: { id: 2, age: 30 } }, { wrong: LOST }),
    one("text", after({ age: "old" })),
    one("object", after({ age: { years: 3 } })),
    one("array", after({ age: [1] })),
    one("true", after({ age: true })),
    one("0", after({ age: 0 }), { wrong: FALSY }),
    one("false", after({ age: false }), { wrong: FALSY }),
    one("empty text", after({ age: "" }), { wrong: FALSY }),
    one("null", after({ age: null })),
    one("missing", after({ name: "x" })),
    one("missing, but a property named propertyToGet is there", after({ propertyToGet: "surprise" }), {
        wrong: "a property literally named propertyToGet stands in",
    }),
    one("0, and a property named propertyToGet is there", after({ age: 0, propertyToGet: "surprise" }), { wrong: FALSY }),
    one("path is not followed", after({ a: { b: 1 }, "a.b": 2 }), { config: { propertyToGet: "a.b" } }),
    one("nested path", after({ a: { b: 1 } }), { config: { propertyToGet: "a.b" } }),
    one("inherited property", after({ a: 1 }), {
        config: { propertyToGet: "constructor" },
        wrong: "an inherited property is put out",
    }),
    one("payload an array, index", after([10, 20]), { config: { propertyToGet: "1" } }),
    one("payload an array, length", after([10, 20]), { config: { propertyToGet: "length" } }),
    one("payload a text", after("abc"), { config: { propertyToGet: "length" } }),
    one("payload a number", after(5)),
    one("payload 0", after(0)),
    one("payload false", after(false)),
    one("payload null", after(null)),
    one("no payload", { array: array() }),
    one("payload a text, without find-object", { payload: "abc" }, { wrong: LOST }),
    one("no property configured", after({ age: 1 }), { config: { propertyToGet: "" }, drops: true }),
    one("no property configured, payload null", after(null), { config: { propertyToGet: "" } }),
    one("msg.value there is overwritten", after({ age: 1 }, { value: "old" })),
    one("all else is kept", after({ age: 1 }, { topic: "t", position: 2 })),
    one("body over config", body({ propertyToGet: "id" }, after({ id: 7, age: 1 }))),
    one("body over config: empty wins", body({ propertyToGet: "" }, after({ age: 1 })), { drops: true }),
    one("body over config: null does not win", body({ propertyToGet: null }, after({ age: 1 }))),
    ml("prediction text", { body: { prediction: "normal" } }),
    ml("prediction 0", { body: { prediction: 0 } }),
    ml("prediction false", { body: { prediction: false } }),
    ml("prediction null", { body: { prediction: null } }),
    ml("prediction a list", { body: { prediction: [1, 2] } }),
    ml("no prediction", { body: {} }),
    ml("text", { text: "normal" }),
    ml("empty answer", { status: 204 }),
    ml("status 500", { status: 500, body: {} }),
    ml("status 401", { status: 401, body: {} }),
    ml("connection refused", { error: "connect ECONNREFUSED" }),
    ml("URL with slash", { body: { prediction: 1 } }, { config: { mlUrl: "http://ml.test/" } }),
    ml("no URL", null, { config: { mlUrl: "" }, drops: true }),
    ml("no endpoint", null, { config: { mlEndpoint: "" }, drops: true }),
    one(
        "PCM, without find-object",
        { payload: { temperature: 85 } },
        { config: pcm, http: [{ method: "POST", url, body: { prediction: 1 } }], wrong: LOST },
    ),
    one("PCM, payload 0 is sent as null", after(0), {
        config: pcm,
        http: [{ method: "POST", url, body: { prediction: 1 } }],
        wrong: "a falsy payload is sent as null",
    }),
    one("PCM, payload a text", after("abc"), { config: pcm, http: [{ method: "POST", url, body: { prediction: 1 } }] }),
    one("PCM, body over config", body({ mlUrl: "http://ml2.test", mlEndpoint: "/p" }, after({ a: 1 })), {
        config: pcm,
        http: [{ method: "POST", url: "http://ml2.test/p", body: { prediction: 1 } }],
    }),
    one("PCM cannot be switched on by the body", body({ enablePCM: true }, after({ age: 1 })), {
        http: [],
        note: "enablePCM is read from the configuration only",
    }),
];
