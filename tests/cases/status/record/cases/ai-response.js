const { body } = require("../messages.js");
const { gemini } = require("../vendors.js");

const config = { apiKey: "gemini-dummy", userInput: "What is compliance?" };
const at = (model) => `https://generativelanguage.googleapis.com/v1beta/models/${model}:generateContent`;
const url = at("gemini-2.5-flash");
const one = (title, msg, http, more = {}) => ({
    title: `ai-response: ${title}`,
    msg,
    http: http.map((a) => ({ method: "POST", url, ...a })),
    ...more,
    config: { ...config, ...more.config },
});
const ok = { body: gemini.answer("Following the rules.") };
const FAIL = "a failure is put out as an ordinary payload: an http response answers 200";
const BLOCK = "the editor's empty userInput stands before msg.payload, which the help promises is used";
const asks = (title, msg, more) => one(title, msg, [ok], more);

module.exports = [
    asks("configured input", { payload: "in" }),
    asks("input by the body", body({ userInput: "Hello" }, { payload: "in" })),
    asks("empty input by the body wins", body({ userInput: "" }, { payload: "in" })),
    asks("null input by the body", body({ userInput: null }, { payload: "in" })),
    asks(
        "payload as input, editor's userInput empty",
        { payload: "from the payload" },
        { config: { userInput: "" }, wrong: BLOCK },
    ),
    asks("payload as input, userInput absent", { payload: "from the payload" }, { without: ["userInput"] }),
    asks(
        "payload an object, userInput absent",
        { payload: { a: 1 } },
        { without: ["userInput"], wrong: "an object goes out as [object Object]" },
    ),
    asks("no payload, userInput absent", {}, { without: ["userInput"] }),
    asks(
        "property",
        { payload: { question: { text: "Why?" } } },
        { config: { aiPayloadType: "property", userInput: "payload.question.text" } },
    ),
    asks(
        "property missing",
        { payload: {} },
        {
            config: { aiPayloadType: "property", userInput: "payload.question" },
            wrong: "a missing property sends an empty question",
        },
    ),
    asks(
        "property an object",
        { payload: { question: { a: 1 } } },
        { config: { aiPayloadType: "property", userInput: "payload.question" }, wrong: "an object goes out as [object Object]" },
    ),
    asks("property false", { payload: { ok: false } }, { config: { aiPayloadType: "property", userInput: "payload.ok" } }),
    asks("property in a list", { payload: ["a", "b"] }, { config: { aiPayloadType: "property", userInput: "payload.1" } }),
    asks("property with empty path", { payload: "in" }, { config: { aiPayloadType: "property", userInput: "" } }),
    asks("property by the body", body({ aiPayloadType: "property", userInput: "topic" }, { topic: "Why?" })),
    asks("unknown aiPayloadType", { payload: 1 }, { config: { aiPayloadType: "other" } }),
    asks("options", { payload: "in" }, { config: { maxTokens: 50, temperature: 0, topP: 0.5, topK: 40 } }),
    asks(
        "options as the editor's texts",
        { payload: "in" },
        { config: { maxTokens: "50", temperature: "0.1", topP: "0.5", topK: "40" }, wrong: "the editor's texts go out as texts" },
    ),
    asks("options by the body", body({ maxOutputTokens: 10, temperature: 1, topP: 0.1, topK: 3, systemPrompt: "Be short." })),
    asks("maxTokens by the body is not read", body({ maxTokens: 10 }), {
        wrong: "params advertise maxTokens, yet the body's name is maxOutputTokens",
    }),
    asks(
        "system prompt",
        {},
        {
            config: { systemPrompt: "Answer in Spanish." },
            wrong: '"Always respond in English." stands before every system prompt',
        },
    ),
    asks("empty system prompt", {}, { config: { systemPrompt: "" } }),
    one("model by the body", body({ model: "gemini-2.5-pro" }), [{ url: at("gemini-2.5-pro"), ...ok }]),
    one("model with prefix", {}, [{ url: at("gemini-2.5-pro"), ...ok }], { config: { model: "models/gemini-2.5-pro" } }),
    one("model empty", {}, [], { config: { model: "" }, wrong: FAIL }),
    one("model absent", {}, [{ url: at("gemini-pro"), ...ok }], { without: ["model"] }),
    one("no key", {}, [], { config: { apiKey: "" }, wrong: FAIL }),
    asks("key by the body", body({ apiKey: "other-dummy" }), { config: { apiKey: "" } }),
    ...[
        [400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."],
        [403, "PERMISSION_DENIED", "Denied."],
        [404, "NOT_FOUND", "Model not found."],
        [429, "RESOURCE_EXHAUSTED", "Quota exceeded."],
        [500, "INTERNAL", "An internal error."],
        [503, "UNAVAILABLE", "Overloaded."],
    ].map(([code, status, text]) =>
        one(`status ${code}`, {}, [{ status: code, body: gemini.error(code, status, text) }], { wrong: FAIL }),
    ),
    one("status 502 with a page", {}, [{ status: 502, text: "<html>bad gateway" }], { wrong: FAIL }),
    one("refused", {}, [{ error: "connect ECONNREFUSED" }], { wrong: FAIL }),
    one("a cut body", {}, [{ text: '{"candidates": [', headers: { "content-type": "application/json" } }], { wrong: FAIL }),
    one("prompt blocked", {}, [{ body: gemini.blocked }], { wrong: FAIL }),
    one("stopped for safety", {}, [{ body: gemini.answer("x", { finishReason: "SAFETY" }) }], { wrong: FAIL }),
    one("stopped at the token limit", {}, [{ body: gemini.answer("Cut off", { finishReason: "MAX_TOKENS" }) }], {
        note: "an answer cut off is not told from a whole one",
    }),
    one("no candidates", {}, [{ body: {} }], { note: "an empty answer" }),
    one("candidate without content", {}, [{ body: { candidates: [{ finishReason: "STOP", index: 0 }] } }]),
    one("two parts", {}, [
        {
            body: {
                candidates: [{ content: { role: "model", parts: [{ text: "One, " }, { text: "two." }] }, finishReason: "STOP" }],
            },
        },
    ]),
    one("two candidates", {}, [
        { body: { candidates: [...gemini.answer("first").candidates, ...gemini.answer("second").candidates] } },
    ]),
    {
        title: "ai-response: two questions, the history goes along",
        config,
        msgs: [
            { wait: 0, msg: body({ userInput: "First?" }) },
            { wait: 300, msg: body({ userInput: "Second?" }) },
        ],
        http: [
            { method: "POST", url, body: gemini.answer("One.") },
            { method: "POST", url, body: gemini.answer("Two.") },
        ],
        settle: 400,
        wrong: "the history belongs to the node: all callers share it",
    },
    {
        title: "ai-response: two callers, one history",
        config,
        msgs: [
            { wait: 0, msg: body({ userInput: "Secret of caller one", caller: 1 }) },
            { wait: 300, msg: body({ userInput: "Hello", caller: 2 }) },
        ],
        http: [
            { method: "POST", url, body: gemini.answer("One.") },
            { method: "POST", url, body: gemini.answer("Two.") },
        ],
        settle: 400,
        wrong: "the history belongs to the node: one caller's question goes out with the other's",
    },
    {
        title: "ai-response: maxHistory 1, three questions",
        config: { ...config, maxHistory: 1 },
        msgs: ["1?", "2?", "3?"].map((userInput, i) => ({ wait: i ? 300 : 0, msg: body({ userInput }) })),
        http: ["One.", "Two.", "Three."].map((t) => ({ method: "POST", url, body: gemini.answer(t) })),
        settle: 400,
        wrong: "the history belongs to the node; trimmed, it begins with the model's answer",
    },
    {
        title: "ai-response: a failed question before a good one",
        config,
        msgs: [
            { wait: 0, msg: body({ userInput: "First?" }) },
            { wait: 300, msg: body({ userInput: "Second?" }) },
        ],
        http: [
            { method: "POST", url, status: 500, body: gemini.error(500, "INTERNAL", "x") },
            { method: "POST", url, body: gemini.answer("Two.") },
        ],
        settle: 400,
        wrong: FAIL,
    },
    asks(
        "all else is kept",
        { topic: "t", req: { body: { a: 1 } }, payload: { evidences: [], scope: { a: 1 } } },
        { wrong: "the payload is replaced: evidences and scope are lost" },
    ),
];
