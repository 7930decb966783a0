// Runs one tab of a flow file in a real Node-RED, pulls its triggers one after the other, reports what happens.
// Arguments: the flow file, the tab's id, then the numbers of the triggers to pull.
const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
global.recorder = { out() {} };
const intercept = require("./intercept.js");
intercept.start();
process.env.TZ = "UTC";
const { encode } = require("./encode.js");
const { backend } = require("./backend.js");
const RED = require("node-red");

const [file, tab, ...numbers] = process.argv.slice(2);
const QUIET_MS = 1500; // longer than the timeout of the one join in these flows
const PATIENCE_MS = 2500; // a caller waits this long for a reply
let current = null;

process.on("uncaughtException", (error) =>
    process.send({ kind: "crashed", error: String(error?.message ?? error) }, () => process.exit(1)),
);
const note = (event) => {
    if (!current) return;
    current.last = Date.now();
    process.send({ t: Date.now() - current.began, ...event });
};
const plain = (v) => encode(v, { since: current.began, known: current.known, texts: current.texts });

// The request as the nodes read it; the reply's handle is nobody's data.
function shown({ req, res, ...msg }) {
    if (!req?.socket) return req === undefined ? msg : { ...msg, req };
    const { body, query, params, cookies } = req;
    return { ...msg, req: { body, query, params, cookies } };
}

// The triggers of a tab, in the order of the file.
function triggers(entries) {
    return entries.filter((n) => n.z === tab && ["inject", "http in"].includes(n.type) && !n.d);
}

function ask(node, origin, given) {
    const url = new URL(origin + node.url);
    const body = node.method === "get" ? null : JSON.stringify(given.body);
    const headers = { ...(body ? { "content-type": "application/json" } : {}), ...given.headers };
    return new Promise((done) => {
        const request = http.request(url, { method: node.method.toUpperCase(), headers, timeout: PATIENCE_MS }, async (reply) => {
            const chunks = [];
            for await (const chunk of reply) chunks.push(chunk);
            const text = Buffer.concat(chunks).toString();
            const type = reply.headers["content-type"] ?? null;
            let value = text;
            try {
                if (type?.includes("json")) value = JSON.parse(text);
            } catch {
                /* stays text */
            }
            note({ kind: "reply", status: reply.statusCode, type, body: plain(value) });
            done();
        });
        request.on("timeout", () => request.destroy(new Error("no reply")));
        request.on("error", () => (note({ kind: "no reply" }), done()));
        request.end(body);
    });
}

const REQUEST = (url) => ({
    headers: { "x-access-token": "caller-token" },
    body:
        url === "/test"
            ? {
                  backendUrl: "{{backend}}/api/v1/computations/bulk",
                  computationGroup: "11111111-1111-4111-8111-111111111111",
                  from: "2025-01-01",
                  to: "2025-01-31",
                  controlId: 7,
              }
            : ["/example", "/ai"].includes(url)
              ? { userInput: "What is compliance?" }
              : {},
});

async function pull(node, origin, server) {
    const texts = [
        [server.url, "{{backend}}"],
        [process.env.NRS_DIR, "{{nrs}}"],
    ];
    const given = node.type === "inject" ? null : REQUEST(node.url);
    current = { began: Date.now(), last: Date.now(), known: JSON.stringify([given, node]), texts };
    intercept.expect([], (event) => note({ kind: "request", ...event }), [server.url, origin]);
    process.send({ kind: "begin", trigger: node.id });
    if (node.type === "inject") {
        note({ kind: "inject", id: node.id });
        global.recorder.nodeById(node.id).receive();
    } else {
        note({
            kind: "call",
            id: node.id,
            method: node.method.toUpperCase(),
            url: node.url,
            ...(node.method === "get" ? {} : given),
        });
        await ask(
            node,
            origin,
            node.method === "get"
                ? { headers: given.headers }
                : JSON.parse(JSON.stringify(given).split("{{backend}}").join(server.url)),
        );
    }
    while (Date.now() - current.last < QUIET_MS || intercept.pending() + server.pending() > 0)
        await new Promise((d) => setTimeout(d, 20));
    current = null;
    process.send({ kind: "end" });
}

async function main() {
    const entries = JSON.parse(fs.readFileSync(file));
    const names = Object.fromEntries(entries.map((n) => [n.id, n]));
    const heard = ({ level, type, id, msg }) => {
        if (level === 20 || level === 30)
            current &&
                note({ kind: level === 20 ? "error" : "warn", id, type, text: plain(msg instanceof Error ? String(msg) : msg) });
    };
    RED.init({
        userDir: process.env.NRS_DIR,
        nodesDir: path.join(__dirname, "node"),
        flowFile: "no-such-flows.json",
        readOnly: true,
        httpAdminRoot: false,
        httpNodeRoot: "/",
        logging: { recorder: { level: "info", metrics: false, handler: () => heard } },
    });
    RED.hooks.add("onReceive", ({ msg, destination }) => {
        if (names[destination.id]?.type === "debug" && current)
            note({ kind: "debug", id: destination.id, msg: plain(shown(msg)) });
    });
    const started = () => new Promise((done) => RED.events.once("flows:started", done));
    let up = started();
    await RED.start();
    await up;
    const web = http.createServer((req, res) => RED.httpNode(req, res));
    await new Promise((done) => web.listen(0, "127.0.0.1", done));
    const origin = `http://127.0.0.1:${web.address().port}`;
    const server = await backend({ delay: 0 }, note);
    up = started();
    const own = entries.filter((n) => n.id === tab || n.z === tab || (n.type !== "tab" && !n.z));
    // An inject that fires by itself would blur what its trigger does; it is pulled like the others.
    await RED.runtime.flows.setFlows({
        deploymentType: "full",
        flows: { flows: own.map((n) => (n.type === "inject" ? { ...n, once: false, repeat: "", crontab: "" } : n)) },
    });
    await up;
    const all = triggers(entries);
    for (const number of numbers) await pull(all[number], origin, server);
    process.exit(0);
}

if (require.main === module) main().catch((error) => process.send({ kind: "failed", error: error.stack }, () => process.exit(2)));
