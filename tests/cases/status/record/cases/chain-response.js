const { traceCases } = require("../traces.js");
const { attr, body, event, events } = require("../messages.js");

const last = { wrong: "only the last A and the last B are compared" };
const config = { eventAName: "A", eventBName: "B", time: 300 };
const on = { ...config, storeEvidences: true };
const at = (a, b) => ({ payload: { events: [event("A", a), event("B", b)] } });
const one = (title, msg, more = {}) => ({ title: `chain-response: ${title}`, ...more, config: { ...on, ...more.config }, msg });
const T = "2024-03-01T10:00:00Z";
const pcm = { enablePCM: true, mlUrl: "http://ml.test", mlEndpoint: "/predict/chain-response" };
const url = "http://ml.test/predict/chain-response";
const payload = () => ({ trace: { event: events("A1 B2") }, index: 0 });
const ml = (title, answer, more = {}) =>
    one(
        `PCM, ${title}`,
        { payload: payload() },
        {
            http: answer ? [{ method: "POST", url, ...answer }] : [],
            ...more,
            config: { ...pcm, ...more.config },
        },
    );
const lost = { wrong: "a service that does not answer is reported as result false, not as unknown" };

module.exports = [
    ...traceCases({
        type: "chain-response",
        config,
        dated: true,
        orders: [
            ["B one minute after A", "A1 B2"],
            ["B before A", "B1 A2"],
            ["A, C, B in time", "A1 C2 B3", { note: "not adjacency: C between is no matter" }],
            ["B too late", "A1 B9"],
            ["only A", "A1"],
            ["only B", "B1"],
            ["neither", "C1 D2"],
            ["A B A", "A1 B2 A3", last],
            ["A A B", "A1 A2 B3"],
            ["A B late-B", "A1 B2 B9", last],
            ["A late, A B", "A0 A8 B9"],
        ],
    }),
    one("exactly the time", at(T, "2024-03-01T10:05:00.000Z")),
    one("one millisecond over", at(T, "2024-03-01T10:05:00.001Z")),
    one("the same instant", at(T, T)),
    one("time 0, the same instant", at(T, T), { config: { time: 0 } }),
    one("time 0, one millisecond", at(T, "2024-03-01T10:00:00.001Z"), { config: { time: 0 } }),
    one("time as text", at(T, "2024-03-01T10:05:00Z"), { config: { time: "300" } }),
    one("time a fraction", at(T, "2024-03-01T10:00:00.500Z"), { config: { time: 0.5 } }),
    one("time negative", at(T, T), { config: { time: -1 } }),
    one("time empty", at(T, T), { config: { time: "" } }),
    one("time no number", at(T, T), { config: { time: "soon" }, wrong: "an unreadable time is reported as false" }),
    one("zones", at("2024-03-01T12:00:00+02:00", "2024-03-01T10:04:00Z")),
    one("body over config: time", body({ time: 30 }, at(T, "2024-03-01T10:01:00Z"))),
    one("body over config: time 0 wins", body({ time: 0 }, at(T, "2024-03-01T10:01:00Z"))),
    one("body over config: time as text", body({ time: "60" }, at(T, "2024-03-01T10:01:00Z"))),
    one("any date key counts", { payload: { events: [event("A", undefined, { date: [attr("x", T)] }), event("B", T)] } }),
    one(
        "no timestamps",
        { payload: { events: [event("A"), event("B")] } },
        { wrong: "missing times count as false, not as unknown" },
    ),
    one("a date that is none", at("soon", T), { wrong: "an unreadable time counts as false, not as unknown" }),
    one("date is one object", { payload: { events: [{ ...event("A"), date: attr("time:timestamp", T) }] } }),
    ml("prediction true", { body: { prediction: true } }),
    ml("prediction false", { body: { prediction: false } }),
    ml("prediction a text", { body: { prediction: "compliant" } }, { note: "any type is passed on as result" }),
    ml("prediction 0.8", { body: { prediction: 0.8 } }, { note: "any type is passed on as result" }),
    ml("prediction null", { body: { prediction: null } }),
    ml("no prediction", { body: { result: true } }, { wrong: "an answer without prediction is reported as false" }),
    ml("an empty answer", { status: 204 }, { wrong: "an answer without prediction is reported as false" }),
    ml("text instead of JSON", { text: "oops" }, { wrong: "an answer without prediction is reported as false" }),
    ml("evidences off", { body: { prediction: true } }, { config: { storeEvidences: false } }),
    ml(
        "negate is not applied",
        { body: { prediction: true } },
        { config: { negate: true }, wrong: "negate is ignored with PCM" },
    ),
    ml("URL with slash", { body: { prediction: true } }, { config: { mlUrl: "http://ml.test/" } }),
    ml(
        "endpoint without slash",
        { body: { prediction: true }, url: "http://ml.testpredict/" },
        { config: { mlEndpoint: "predict/" }, wrong: "URL and endpoint are joined without a slash" },
    ),
    ml("status 500", { status: 500, body: { error: "x" } }, lost),
    ml("status 400", { status: 400, body: { error: "x" } }, lost),
    ml("status 429", { status: 429, body: { error: "x" }, headers: { "retry-after": "1" } }, lost),
    ml("connection refused", { error: "connect ECONNREFUSED" }, lost),
    ml(
        "a cut body",
        { text: '{"prediction": tr', headers: { "content-type": "application/json" } },
        { wrong: "an answer without prediction is reported as false" },
    ),
    ml("no URL", null, { config: { mlUrl: "" } }),
    ml("no endpoint", null, { config: { mlEndpoint: "" } }),
    one("PCM, body over config", body({ mlUrl: "http://ml2.test", mlEndpoint: "/p" }, { payload: payload() }), {
        config: pcm,
        http: [{ method: "POST", url: "http://ml2.test/p", body: { prediction: true } }],
    }),
    one("PCM cannot be switched on by the body", body({ enablePCM: true }, { payload: payload() }), {
        config: { ...pcm, enablePCM: false },
        http: [],
        note: "enablePCM is read from the configuration only",
    }),
    one("PCM, payload a text", { payload: "A,B" }, { config: pcm, http: [{ method: "POST", url, body: { prediction: true } }] }),
    one("PCM, no payload", {}, { config: pcm, http: [{ method: "POST", url, body: { prediction: true } }] }),
];
