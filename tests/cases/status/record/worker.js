// Runs cases of one node type in a real Node-RED and reports every event to its parent.
// Arguments: the type, then the numbers of the cases to run.
global.recorder = {};
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const intercept = require("./intercept.js");
intercept.start();
process.env.TZ = "UTC";
const { encode } = require("./encode.js");
const { backend } = require("./backend.js");
const { casesOf } = require("./cases.js");
const RED = require("node-red");

const [type, ...numbers] = process.argv.slice(2);
const tell = (event) => process.send(event);
process.on("uncaughtException", (error) => {
    // What red.js does: log, then end the process.
    process.send({ kind: "crashed", error: String(error?.message ?? error) }, () => process.exit(1));
});

let current = null;
const note = (event) => {
    if (!current?.live) return;
    current.last = Date.now();
    tell({ t: Date.now() - current.began, ...event });
};
const plain = (value) => encode(value, { known: current.known, since: current.began, texts: current.texts });
global.recorder.out = (id, msg) => note({ kind: "out", id, msg: plain(msg) });

RED.events.on("node-status", ({ id, status }) => id === "n" && current?.live && note({ kind: "status", status: plain(status) }));

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const started = () => new Promise((done) => RED.events.once("flows:started", done));

async function deploy(flows) {
    const up = started();
    await RED.runtime.flows.setFlows({ deploymentType: "full", flows: { flows } });
    await up;
}

// Errors and warnings as the node utters them; `caught` says whether a Catch node would see the message.
function listen(node) {
    for (const kind of ["error", "warn"]) {
        const utter = node[kind].bind(node);
        node[kind] = (what, msg) => {
            const event = { kind, text: plain(what instanceof Error ? `${what.name}: ${what.message}` : what) };
            if (kind === "error") event.with_msg = msg !== undefined && typeof msg === "object";
            note(event);
            utter(what, msg);
        };
    }
}

const RealDate = Date;
function standStill(iso) {
    if (!iso) return void (global.Date = RealDate);
    const at = RealDate.parse(iso);
    global.Date = class extends RealDate {
        constructor(...given) {
            super(...(given.length ? given : [at]));
        }
    };
}

async function run(number) {
    const one = casesOf(type)[number];
    const server = one.backend ? await backend(one.backend, note) : null;
    const files = one.files ? fs.mkdtempSync(path.join(os.tmpdir(), "status-")) : null;
    for (const [name, text] of Object.entries(one.files ?? {})) fs.writeFileSync(path.join(files, name), text);
    const texts = [
        [process.env.NRS_DIR, "{{nrs}}"],
        ...(server ? [[server.url, "{{backend}}"]] : []),
        ...(files ? [[files, "{{files}}"]] : []),
    ];
    const given = one.fresh();
    const filled = (v) =>
        !server && !files ? v : JSON.parse(texts.reduce((text, [to, from]) => text.split(from).join(to), JSON.stringify(v)));
    await deploy([]);
    current = { began: Date.now(), last: Date.now(), known: JSON.stringify(given.inputs.map((i) => i.msg ?? null)), texts };
    intercept.expect(one.http ?? [], (event) => note({ kind: "request", ...event }), server ? [server.url] : []);
    process.env.TZ = one.tz ?? "UTC";
    for (const [key, value] of Object.entries(one.env ?? {})) process.env[key] = value;
    await deploy(filled(given.flow));
    const node = global.recorder.nodeById("n");
    if (!node) throw new Error(`${type} did not start`);
    listen(node);
    for (const [key, value] of Object.entries(one.flowContext ?? {})) node.context().flow.set(key, value);
    for (const [key, value] of Object.entries(one.globalContext ?? {})) node.context().global.set(key, value);
    current.began = current.last = Date.now();
    current.live = true;
    tell({ kind: "begin", case: number });
    standStill(one.now);
    for (const { wait, msg } of given.inputs) {
        if (wait) await sleep(wait);
        note({ kind: "inject", id: "n", msg: encode(msg, { known: current.known }) });
        node.receive(filled(msg));
    }
    // The first evidence of a process waits for a module to load.
    const quiet = one.settle ?? (one.http ? 300 : given.flow[1].storeEvidences ? 250 : 80);
    const busy = () => intercept.pending() + (server?.pending() ?? 0) > 0;
    while (RealDate.now() - current.last < quiet || busy()) await sleep(10);
    standStill(null);
    const asked = (one.askGlobal ?? []).map((key) => [key, plain(node.context().global.get(key))]);
    current.live = false;
    tell({ kind: "end", case: number, stored: server?.stored(), asked: one.askGlobal && Object.fromEntries(asked) });
    current = null;
    server?.stop();
}

async function main() {
    RED.init({
        userDir: process.env.NRS_DIR,
        nodesDir: path.join(__dirname, "node"),
        flowFile: "no-such-flows.json",
        readOnly: true,
        httpAdminRoot: false,
        httpNodeRoot: false,
        logging: { quiet: { level: "off", handler: () => () => {} } },
    });
    const up = started();
    await RED.start();
    await up;
    for (const number of numbers) await run(Number(number));
    process.exit(0);
}
main().catch((error) => process.send({ kind: "failed", error: error.stack }, () => process.exit(2)));
