// Records the cases of all node types, or of those named on the command line, into ../<type>.json.
// Needs NRS_DIR: a folder with node-red-status's `packages` and, in `node_modules`, what those depend on.
const fs = require("node:fs");
const path = require("node:path");
const { fork } = require("node:child_process");
const { casesOf, registration, types } = require("./cases.js");

const LONGEST_MS = 15000; // a case that takes longer blocks the process

// Runs the cases from `numbers` until all have ended or one ends the process; returns what happened to each.
function session(type, numbers, results) {
    return new Promise((done, fail) => {
        const child = fork(path.join(__dirname, "worker.js"), [type, ...numbers.map(String)], { silent: true });
        let noise = "";
        child.stderr.on("data", (d) => (noise += d));
        child.stdout.on("data", () => {});
        let open = null;
        let timer = null;
        const watch = () => {
            clearTimeout(timer);
            timer = setTimeout(() => {
                if (open) open.blocked = true;
                child.kill("SIGKILL");
            }, LONGEST_MS);
        };
        watch();
        child.on("message", (m) => {
            if (m.kind === "failed") return fail(new Error(`${type}: ${m.error}`));
            if (m.kind === "begin") {
                open = { events: [] };
                results.set(m.case, open);
                watch();
            } else if (m.kind === "end") {
                if (m.stored) open.stored = m.stored;
                if (m.asked) open.asked = m.asked;
                open.ended = true;
                open = null;
            } else if (m.kind === "crashed") {
                if (open) open.crashed = m.error;
                else fail(new Error(`${type}: crashed between cases: ${m.error}`));
            } else if (open) open.events.push(m);
        });
        child.on("exit", (code) => {
            clearTimeout(timer);
            if (code !== 0 && ![...results.values()].some((r) => r.crashed || r.blocked))
                return fail(new Error(`${type}: ${noise}`));
            done();
        });
    });
}

function written(one, result) {
    const { flow } = one.fresh();
    const outs = result.events.filter((e) => e.kind === "out");
    const record = { title: one.title, flow, events: result.events };
    if (one.http) record.http = one.http;
    if (one.backend) record.backend = { ...one.backend, stored: result.stored };
    for (const key of ["env", "flowContext", "globalContext", "now", "tz", "files"]) if (one[key]) record[key] = one[key];
    if (result.asked) record.globalAfter = result.asked;
    if (result.crashed) record.crashed = result.crashed;
    if (result.blocked) record.blocks = true;
    if (outs.length === 0 && !result.crashed) record.hangs = true;
    if (one.note) record.note = one.note;
    const why = record.crashed || record.blocks ? automatic(one, record, outs) : (one.wrong ?? automatic(one, record, outs));
    record.original = why ? "wrong" : "right";
    if (why) record.why = why;
    return record;
}

function automatic(one, record, outs) {
    if (record.crashed) return "this message ends the whole Node-RED process";
    if (record.blocks) return "one message blocks the whole Node-RED process";
    const lost = outs.some(({ msg }) => msg.payload?.$t === "array");
    if (lost) return "result and evidences are set on the array object, where JSON and clones lose them";
    if (record.hangs && !one.drops) return "nothing is sent, so an HTTP caller waits for ever";
    return null;
}

async function main() {
    const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(types());
    for (const type of wanted) {
        const cases = casesOf(type);
        const results = new Map();
        for (;;) {
            const left = cases.map((_, i) => i).filter((i) => !results.has(i));
            if (left.length === 0) break;
            await session(type, left, results);
        }
        const records = cases.map((one, i) => JSON.stringify(written(one, results.get(i))));
        fs.writeFileSync(path.join(__dirname, "..", `${type}.json`), `[\n${records.join(",\n")}\n]\n`);
        const count = (test) => records.filter((r) => test(JSON.parse(r))).length;
        console.log(
            `${type}: ${cases.length} cases, ${count((r) => r.original === "wrong")} wrong, ` +
                `${count((r) => r.crashed)} crash, ${count((r) => r.hangs)} hang`,
        );
    }
    const editor = Object.keys(types())
        .sort()
        .map((t) => `${JSON.stringify(t)}: ${JSON.stringify(registration(t))}`);
    fs.writeFileSync(path.join(__dirname, "editor.json"), `{\n${editor.join(",\n")}\n}\n`);
}
main().catch((error) => {
    console.error(error);
    process.exit(1);
});
