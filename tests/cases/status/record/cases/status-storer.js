const { evidence } = require("../messages.js");

const G = "11111111-1111-4111-8111-111111111111";
const H = "22222222-2222-4222-8222-222222222222";
const URL = "{{backend}}/api/v1/computations/bulk";
const TAIL = "the flush timer never calls: the last items are never sent, done never comes, the caller hangs";
const TWICE = "the count of sent items is added twice per batch: done is never true once a batch was answered";
const EARLY =
    "the count of sent items is added twice per batch: done comes before the last items, which then follow without an answer";
const ASYNC = "batches are not awaited: done may be committed before an earlier batch";
const SILENT = "a failure is reported as an ordinary payload: an http response answers 200";

const item = (i, size, more = {}) => ({
    size,
    req: {
        body: { backendUrl: URL, computationGroup: G, ...more.body },
        headers: { "x-access-token": "caller-token" },
        ...more.req,
    },
    payload: { result: i % 2 === 0, scope: { team: `t${i}` }, evidences: [evidence(`e${i}`, i % 2 === 0)], ...more.payload },
    ...more.msg,
});
const burst = (n, more = {}) => Array.from({ length: n }, (_, i) => ({ wait: 0, msg: item(i, n, more) }));
const paced = (n, wait, more = {}) => Array.from({ length: n }, (_, i) => ({ wait: i ? wait : 0, msg: item(i, n, more) }));
const base = { from: "2024-01-01", to: "2024-01-31", controlId: "7" };
const one = (title, msgs, more = {}) => ({
    title: `status-storer: ${title}`,
    backend: { delay: 0 },
    settle: 150,
    msgs,
    ...more,
    config: { ...base, ...more.config },
});
const why = (n, slow) => (n % 2 ? TAIL : slow && n > 2 ? (n === 4 ? TWICE : EARLY) : n > 2 ? ASYNC : undefined);

module.exports = [
    ...[1, 2, 3, 4, 6, 10].map((n) => one(`${n} in one burst`, burst(n), { wrong: why(n) })),
    ...[1, 2, 3, 4, 6, 10].map((n) => one(`${n}, slower than the backend answers`, paced(n, 40), { wrong: why(n, true) })),
    ...[4, 6, 10].map((n) =>
        one(`${n}, faster than a slow backend answers`, paced(n, 10), { backend: { delay: 120 }, wrong: why(n) }),
    ),
    one("4 in one burst, the first batch slow: done is committed first", burst(4), {
        backend: { delay: [150, 0] },
        wrong: ASYNC,
    }),
    one("2, after a caller with 3", [...paced(3, 30), ...paced(2, 30, { body: { computationGroup: H } })], {
        wrong: `${TAIL}; the leftover item goes out with the next caller's group`,
    }),
    one(
        "2, after a caller with 4",
        [
            ...paced(4, 40),
            { wait: 60, msg: item(0, 2, { body: { computationGroup: H } }) },
            { wait: 5, msg: item(1, 2, { body: { computationGroup: H } }) },
        ],
        { wrong: `${TWICE}; the next caller's done never comes either` },
    ),
    one(
        "two callers interleaved",
        [0, 1].flatMap((i) => [
            { wait: 5, msg: item(i, 2) },
            {
                wait: 5,
                msg: item(i, 2, { body: { computationGroup: H }, req: { headers: { "x-access-token": "other-token" } } }),
            },
        ]),
        { wrong: "state belongs to the node, not to the run: groups and tokens are mixed" },
    ),
    one("bufferSize in the body, 4 of 4", burst(4, { body: { bufferSize: 4 } })),
    one("bufferSize as text", burst(3, { body: { bufferSize: "3" } })),
    one("bufferSize 1", burst(1, { body: { bufferSize: 1 } })),
    one("bufferSize 1, three slowly", paced(3, 40, { body: { bufferSize: 1 } }), { wrong: EARLY }),
    one("bufferSize 10, three", burst(3, { body: { bufferSize: 10 } }), { wrong: TAIL }),
    one("bufferSize 0", burst(1, { body: { bufferSize: 0 } }), { note: "every item goes out at once" }),
    one("bufferSize no number", burst(2, { body: { bufferSize: "many" } }), {
        wrong: "an unreadable bufferSize keeps all items for ever",
    }),
    one("bufferSize configured", burst(4), {
        config: { bufferSize: "4" },
        wrong: "the configured bufferSize is ignored: 2 is used",
    }),
    one("flushInterval in the body", paced(1, 0, { body: { flushInterval: 50 } }), { settle: 400, wrong: TAIL }),
    one("flushInterval configured", paced(1, 0), { settle: 400, config: { flushInterval: "50" }, wrong: TAIL }),
    one(
        "no size",
        burst(2).map(({ msg: { size, ...msg } }) => ({ wait: 0, msg })),
        { wrong: "without msg.size done never comes" },
    ),
    one(
        "size as text",
        burst(2).map(({ msg }) => ({ wait: 0, msg: { ...msg, size: "2" } })),
        { wrong: "msg.size is compared strictly: as text done never comes" },
    ),
    one(
        "size too large",
        burst(2).map(({ msg }) => ({ wait: 0, msg: { ...msg, size: 5 } })),
        { drops: true, note: "right to wait: fewer came than told" },
    ),
    one(
        "msg.parts.count is not read",
        burst(2).map(({ msg: { size, ...msg } }, i) => ({ wait: 0, msg: { ...msg, parts: { id: "p", index: i, count: 2 } } })),
        { wrong: "without msg.size done never comes" },
    ),
    one("from, to, controlId in the body", burst(2, { body: { from: "2025-01-01", to: "2025-12-31", controlId: 42 } })),
    one("from, to, controlId null in the body", burst(2, { body: { from: null, to: null, controlId: null } }), {
        note: "null counts as given",
    }),
    one("controlId empty", burst(2), {
        config: { controlId: "" },
        wrong: 'an empty controlId is sent as "", which the backend\'s integer column refuses',
    }),
    one("no from and to", burst(2), { config: { from: "", to: "" } }),
    one("controlId as text", burst(2), { note: "the editor's text goes out as text" }),
    one(
        "no computationGroup",
        burst(2).map(({ msg }) => {
            delete msg.req.body.computationGroup;
            return { wait: 0, msg };
        }),
        { wrong: SILENT },
    ),
    one("no evidences, no scope", burst(2, { payload: { evidences: undefined, scope: undefined } })),
    one("no result", burst(2, { payload: { result: undefined } }), { wrong: "an item without result goes out without value" }),
    one("result a text", burst(2, { payload: { result: "true" } }), { wrong: "a result that is no boolean goes out as it is" }),
    one("empty evidences", burst(2, { payload: { evidences: [] } })),
    one("token of the cookie", burst(2, { req: { headers: {}, cookies: { accessToken: "cookie-token" } } })),
    one(
        "header before cookie",
        burst(2, { req: { headers: { "x-access-token": "header-token" }, cookies: { accessToken: "cookie-token" } } }),
    ),
    one("configured token", burst(2, { req: { headers: {} } }), { config: { accessToken: "configured-token" } }),
    one("no token", burst(2, { req: { headers: {} } })),
    one("request without headers", burst(2, { req: { headers: undefined } }), {
        wrong: "a request without headers makes the node fail",
    }),
    one(
        "no req, all configured",
        burst(2).map(({ msg: { req, ...msg } }) => ({ wait: 0, msg })),
        {
            config: { backendUrl: URL, accessToken: "configured-token" },
            wrong: `without a request there is no computationGroup; ${SILENT}`,
        },
    ),
    one("configured backendUrl", burst(2, { body: { backendUrl: undefined } }), { config: { backendUrl: URL } }),
    one("body's backendUrl over the configured", burst(2), { config: { backendUrl: "{{backend}}/elsewhere" } }),
    one("empty backendUrl in the body", burst(2, { body: { backendUrl: "" } }), { config: { backendUrl: URL } }),
    one("no backendUrl", burst(2, { body: { backendUrl: undefined } }), {
        wrong: `the default address is never reached, for the editor writes ""; ${SILENT}`,
    }),
    ...[400, 401, 413, 429, 500].map((status) =>
        one(`status ${status}`, burst(2), { backend: { delay: 0, fail: { 1: status } }, wrong: SILENT }),
    ),
    one("4, the first batch fails", burst(4), {
        backend: { delay: 0, fail: { 1: 500 } },
        wrong: `${SILENT}; the caller gets two answers`,
    }),
    one("4, the second batch fails", burst(4), { backend: { delay: 0, fail: { 2: 500 } }, wrong: SILENT }),
    one("backend unreachable", burst(2, { body: { backendUrl: "http://127.0.0.1:9/x" } }), {
        http: [{ method: "POST", url: "http://127.0.0.1:9/x", error: "connect ECONNREFUSED" }],
        wrong: SILENT,
    }),
    one("batch over 100 kB", burst(2, { payload: { scope: { text: "x".repeat(60000) } } }), {
        wrong: `batches are not cut by size; ${SILENT}`,
    }),
    one("payload null", [{ wait: 0, msg: { ...item(0, 1), payload: null } }]),
    one("no payload", [{ wait: 0, msg: { ...item(0, 1), payload: undefined } }]),
    one("all else is kept, of the batch's last message", [
        { wait: 0, msg: { ...item(0, 2), topic: "one" } },
        { wait: 0, msg: { ...item(1, 2), topic: "two", index: 1 } },
    ]),
];
