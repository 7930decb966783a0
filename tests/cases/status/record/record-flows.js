// Records what the shipped flow files do into ../flows/<file>: every tab, every inject and http in once.
// Needs NRS_DIR (see record.js) and FLOWS_DIR: a folder with the flow files, named as in ../flows.
const fs = require("node:fs");
const path = require("node:path");
const { fork } = require("node:child_process");

const FILES = [
    "infrastructure__config__default_flows.json",
    "node-red-status-starter__flows.json",
    "node-red-status__flows.json",
    ...["ai", "control-flow", "extraction", "filtering", "logic", "status", "validation"].map(
        (p) => `node-red-status__packages__${p}__flows.json`,
    ),
];

// Why a trigger's outcome is not what the flow's maker meant; the others are right.
const TYPELESS = "the node has no valueType (it is older than that option), so it drops the message and the caller waits";
const SHIPPED = "the shipped example's definition id is not the one the library registers";
const WRONG = {
    "1786c3e5a22144a7": "github-collector cannot run without a request",
    "2d178a0362158736": "filter-by reads the node's type in place of valueType",
    bb43ac25c5c5f51a: "a Trello error without an answer ends the whole process",
    "2c0b4ff258abdc91": "filter-by-date is not configured: nothing passes",
    "01830a18ba2e2491": "no valueType: the caller waits",
    "9b545e850df2f908": "a GET has no body, which ends the whole process",
    "074a543b69090a8e": "an object is never a valid address for exists-url",
    "03db9e26af802098": "a GET has no body, which project-to-url needs",
    "756cd61b1d6d494a": TYPELESS,
    ae3e68b55384dc68: TYPELESS,
    dbc76a0ae0e876fb: TYPELESS,
    "7b8ea985b0902dfa": "a wire to the empty id: nothing is connected",
    bf71fe40b7f70b3d: "an object is never a valid address for exists-url",
    "13b9ee2f76db0205": "the function's items carry `value`, but status-storer reads `result`: the rows have no value",
    "06ffb75fd9570b94": "a failure is answered with 200",
    "6d0dae394c0d7620": "a failure is answered with 200",
    "529586adf9f2ec44": "response writes no payload.result",
    a1b2c3d4e5f6g7h8: "a service that does not answer is reported as result false",
    "9bd68e9747fb4d53": "last-timestamp never reads the configured activity",
    d4671da30291ef44: "the payload is lost without find-object before",
    a8f5b3c2d9e4f1a7: "the payload is lost without find-object before",
    fb236ca012f4916e: "filter-by reads the node's type in place of valueType",
    cac1c5f58c405b38: "without a payload the node ends the whole process; PDFs are never read",
    ...Object.fromEntries(
        ["http_in_rest_api", "http_in_github", "http_in_msgraph", "http_in_multi"].map((id) => [
            id,
            "a failure is answered with 200; no evidence of it is kept",
        ]),
    ),
    ...Object.fromEntries(
        ["http_in_todos", "test_rest_api", "test_github_api", "test_msgraph_api", "test_multi_api", "test_todos_api"].map(
            (id) => [id, SHIPPED],
        ),
    ),
    test_simple_api: "the mock source does not exist",
};

function session(file, tab, numbers, done) {
    return new Promise((end, fail) => {
        const child = fork(path.join(__dirname, "flow-worker.js"), [file, tab, ...numbers.map(String)], { silent: true });
        let open = null;
        let noise = "";
        child.stderr.on("data", (d) => (noise += d));
        child.stdout.on("data", () => {});
        child.on("message", (m) => {
            if (m.kind === "failed") fail(new Error(m.error));
            else if (m.kind === "begin") done.push((open = { trigger: m.trigger, events: [] }));
            else if (m.kind === "end") open = null;
            else if (m.kind === "crashed") open ? (open.crashed = m.error) : fail(new Error(m.error));
            else open?.events.push(m);
        });
        child.on("exit", (code) => (code === 0 || done.at(-1)?.crashed ? end() : fail(new Error(noise))));
    });
}

async function main() {
    fs.mkdirSync(path.join(__dirname, "..", "flows"), { recursive: true });
    for (const name of FILES) {
        const file = path.join(process.env.FLOWS_DIR, name);
        const entries = JSON.parse(fs.readFileSync(file));
        const tabs = [];
        for (const { id, label } of entries.filter((n) => n.type === "tab")) {
            const count = entries.filter((n) => n.z === id && ["inject", "http in"].includes(n.type) && !n.d).length;
            const steps = [];
            while (steps.length < count)
                await session(
                    file,
                    id,
                    Array.from({ length: count - steps.length }, (_, i) => steps.length + i),
                    steps,
                );
            for (const step of steps) {
                step.original = WRONG[step.trigger] ? "wrong" : "right";
                if (WRONG[step.trigger]) step.why = WRONG[step.trigger];
            }
            const outside = steps
                .flatMap((s) => s.events)
                .filter((e) => e.unanswered)
                .map((e) => new URL(e.url).host);
            tabs.push({
                tab: id,
                label,
                flow: entries.filter((n) => n.id === id || n.z === id),
                needs: [...new Set(outside)],
                steps,
            });
            console.log(
                `${name} ${label}: ${steps.length} triggers, ${steps.filter((s) => s.crashed).length} crash, needs ${[...new Set(outside)]}`,
            );
        }
        const lines = tabs.map((t) => JSON.stringify(t));
        fs.writeFileSync(path.join(__dirname, "..", "flows", name), `[\n${lines.join(",\n")}\n]\n`);
    }
}
main().catch((error) => {
    console.error(error);
    process.exit(1);
});
