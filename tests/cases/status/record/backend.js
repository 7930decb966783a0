// A loopback server with the contract status-backend has for computations (status-backend develop@084f625).
const http = require("node:http");
const { encode } = require("./encode.js");

// `plan`: {delay: ms before a post is committed, or a list per post; fail: {"<post, from 1>": status}}.
function backend(plan, note) {
    const groups = new Map();
    const state = { posts: [], pending: 0 };
    const row = (c) => ({ ...c });
    const server = http.createServer(async (req, res) => {
        const chunks = [];
        for await (const chunk of req) chunks.push(chunk);
        const text = Buffer.concat(chunks).toString();
        const reply = (status, body) => {
            res.writeHead(status, { "content-type": "application/json" });
            res.end(JSON.stringify(body));
        };
        const path = new URL(req.url, "http://x").pathname;
        if (req.method === "GET") return get(path.split("/").pop(), reply);
        state.pending += 1;
        const number = state.posts.push(text);
        let body = null;
        try {
            body = JSON.parse(text);
        } catch {
            /* noted as text */
        }
        note({
            kind: "request",
            method: req.method,
            url: `{{backend}}${req.url}`,
            body: encode(body ?? text),
            headers: { "content-type": req.headers["content-type"], "x-access-token": req.headers["x-access-token"] },
        });
        const delay = Array.isArray(plan.delay) ? (plan.delay[number - 1] ?? 0) : (plan.delay ?? 0);
        if (delay) await new Promise((done) => setTimeout(done, delay));
        const [status, answer] = post(text, body, plan.fail?.[number]);
        note({ kind: "answer", post: number, status });
        state.pending -= 1;
        reply(status, answer);
    });
    function post(text, body, fail) {
        if (fail) return [fail, { message: "planned failure" }];
        if (Buffer.byteLength(text) > 100 * 1024) return [413, { message: "request entity too large" }];
        const list = body?.computations;
        if (!Array.isArray(list) || list.length === 0) return [400, { message: "Invalid computations" }];
        const group = list[0].computationGroup;
        if (!group) return [400, { message: "Invalid computations" }];
        const held = groups.get(group) ?? { rows: [], done: false };
        groups.set(group, held);
        held.rows.push(...list.map(row));
        held.done ||= body.done === true;
        return [201, { code: 201, message: "Computations created", computations: list }];
    }
    function get(group, reply) {
        const held = groups.get(group);
        if (!held) return reply(404, { message: "Computation not found" });
        if (!held.done) return reply(202, { message: "Not ready yet" });
        const all = held.rows.flatMap((r) => r.evidences ?? []);
        const value = all.length ? Math.round((100 * all.filter((e) => e.result === true).length) / all.length) : 0;
        const [{ scope, period, controlId }] = held.rows;
        reply(200, { code: 200, message: "OK", computations: [{ id: group, value, scope, evidences: all, period, controlId }] });
    }
    return new Promise((ready) =>
        server.listen(0, "127.0.0.1", () =>
            ready({
                url: `http://127.0.0.1:${server.address().port}`,
                pending: () => state.pending,
                stored: () =>
                    Object.fromEntries(
                        [...groups].map(([g, h]) => [
                            g,
                            {
                                rows: h.rows.length,
                                done: h.done,
                                ask: h.done ? 200 : 202,
                            },
                        ]),
                    ),
                stop: () => server.close(),
            }),
        ),
    );
}

module.exports = { backend };
