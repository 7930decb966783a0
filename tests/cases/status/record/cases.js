// Reads the case definitions in `cases/` and fills them out: editor defaults, flow, input messages.
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const NRS = process.env.NRS_DIR;
const METADATA = ["params", "secrets"];

function types() {
    const found = {};
    for (const pkg of fs.readdirSync(path.join(NRS, "packages"))) {
        const listed = JSON.parse(fs.readFileSync(path.join(NRS, "packages", pkg, "package.json")))["node-red"];
        for (const [type, file] of Object.entries(listed?.nodes ?? {})) {
            found[type] = { package: pkg, html: path.join(NRS, "packages", pkg, file.replace(/\.js$/, ".html")) };
        }
    }
    return found;
}

// What the editor writes for a new node, from the registration in the node's HTML file.
function registration(type) {
    const html = fs.readFileSync(types()[type].html, "utf8");
    let registered;
    const RED = {
        nodes: { registerType: (name, what) => name === type && (registered = what) },
        validators: new Proxy({}, { get: () => () => () => true }),
    };
    for (const [, script] of html.matchAll(/<script type="text\/javascript">([\s\S]*?)<\/script>/g)) {
        vm.runInNewContext(script, { RED, $: () => ({}) });
    }
    const values = Object.entries(registered.defaults).map(([key, d]) => [key, d.value]);
    return {
        package: types()[type].package,
        category: registered.category,
        color: registered.color,
        icon: registered.icon,
        inputs: registered.inputs,
        outputs: registered.outputs,
        defaults: JSON.parse(JSON.stringify(Object.fromEntries(values))),
    };
}

const memo = new Map();
function casesOf(type) {
    if (memo.has(type)) return memo.get(type);
    const { defaults, outputs } = registration(type);
    const config = Object.fromEntries(Object.entries(defaults).filter(([key]) => !METADATA.includes(key)));
    const outs = Array.from({ length: outputs }, (_, i) => `out${i + 1}`);
    const cases = require(`./cases/${type}.js`).map((one) => ({
        ...one,
        // Made anew for each use, for nodes change what they are given.
        fresh() {
            const again = one.make
                ? { ...one, ...one.make() }
                : structuredClone({ config: one.config, msgs: one.msgs, msg: one.msg });
            const node = { id: "n", type, z: "flow", ...config, ...again.config, x: 100, y: 100, wires: outs.map((o) => [o]) };
            for (const key of one.without ?? []) delete node[key];
            const helpers = outs.map((id, i) => ({ id, type: "helper", z: "flow", x: 200, y: 100 + 40 * i, wires: [] }));
            const inputs = (again.msgs ?? [again.msg]).map((m) => (m && "msg" in m ? m : { wait: 15, msg: m }));
            inputs[0].wait = 0;
            return { flow: [{ id: "flow", type: "tab", label: "case" }, node, ...helpers], inputs };
        },
    }));
    memo.set(type, cases);
    return cases;
}

module.exports = { casesOf, registration, types };
