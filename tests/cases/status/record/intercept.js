// Answers every request that leaves the machine from a case's list; the nodes' own code does the asking.
const { BatchInterceptor } = require("@mswjs/interceptors");
const { ClientRequestInterceptor } = require("@mswjs/interceptors/ClientRequest");
const { FetchInterceptor } = require("@mswjs/interceptors/fetch");

const KEPT = ["accept", "authorization", "content-type", "cookie", "x-access-token", "x-goog-api-key"];

const interceptor = new BatchInterceptor({
    name: "status",
    interceptors: [new ClientRequestInterceptor(), new FetchInterceptor()],
});

let answers = [];
let onRequest = () => {};
let local = []; // origins of the recorder's own servers, which are really asked
let pending = 0;

interceptor.on("request", async ({ request, controller }) => {
    const url = new URL(request.url);
    if (local.includes(url.origin)) return;
    pending += 1;
    try {
        const text = await request.clone().text();
        const headers = Object.fromEntries([...request.headers].filter(([k]) => KEPT.includes(k)));
        const event = { method: request.method, url: request.url, headers };
        if (text) event.body = asJson(text);
        const i = answers.findIndex((a) => (a.method ?? "GET") === request.method && a.url === request.url);
        if (i < 0) event.unanswered = true;
        onRequest(event);
        if (i < 0) {
            return controller.errorWith(Object.assign(new Error(`getaddrinfo ENOTFOUND ${url.hostname}`), { code: "ENOTFOUND" }));
        }
        const answer = answers[i];
        if (!answer.always) answers.splice(i, 1);
        if (answer.delay) await new Promise((done) => setTimeout(done, answer.delay));
        if (answer.error) {
            return controller.errorWith(Object.assign(new Error(answer.error), { code: answer.error.split(" ").pop() }));
        }
        const type = answer.body !== undefined ? { "content-type": "application/json; charset=utf-8" } : {};
        const bytes =
            answer.base64 !== undefined
                ? Buffer.from(answer.base64, "base64")
                : answer.text !== undefined
                  ? answer.text
                  : JSON.stringify(answer.body);
        controller.respondWith(
            new Response(answer.status === 204 ? null : bytes, {
                status: answer.status ?? 200,
                statusText: answer.statusText ?? "",
                headers: { ...type, ...answer.headers },
            }),
        );
    } finally {
        pending -= 1;
    }
});

function asJson(text) {
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}

module.exports = {
    start: () => interceptor.apply(),
    expect(list, listener, origins = []) {
        answers = list.map((a) => ({ ...a }));
        onRequest = listener;
        local = origins;
    },
    pending: () => pending,
};
