const zlib = require("node:zlib");
const { body, events } = require("../messages.js");
const { xes } = require("../vendors.js");

const XML = "fast-xml-parser 5 has no `parse`: XML logs never work";
const log = () => ({ log: { trace: [{ event: events("A1 B2") }, { event: events("A3") }] } });
const at = (name) => `http://files.test/${name}`;
const gz = (text) => zlib.gzipSync(text, { level: 9 }).toString("base64");
const one = (title, name, answer, more = {}) => ({
    title: `log-getter: ${title}`,
    msg: { payload: "in" },
    http: answer ? [{ url: at(name), ...answer }] : [],
    ...more,
    config: { logUrl: at(name), ...more.config },
});
const SENT = "`done` is Node-RED's send here: on an error the error itself is sent as a message";
const fails = { wrong: SENT };

module.exports = [
    one("JSON by name", "log.json", { body: log() }),
    one("JSON by name, content type text", "log.json", { text: JSON.stringify(log()) }),
    one("JSON, a list", "log.json", { text: "[1,2]" }),
    one("JSON, a number", "log.json", { text: "5" }),
    one("JSON with a byte order mark", "log.json", { text: "\ufeff{}" }, fails),
    one("JSON broken", "log.json", { text: "{" }, fails),
    one("JSON empty", "log.json", { text: "" }, fails),
    one("JSON by name, but gzip", "log.json", { base64: gz("{}") }, fails),
    one("JSON by content", "log", { text: JSON.stringify(log()) }),
    one("JSON by content, blanks before", "log", { text: '  \n {"a":1}' }),
    one("JSON by content, query after the name", "log.json?x=1", { text: '{"a":1}' }),
    one("broken by content", "log", { text: "hello" }, fails),
    one("empty", "log", { text: "" }, fails),
    one("gzip JSON", "log.json.gz", { base64: gz(JSON.stringify({ log: { trace: [] } })) }),
    one("gzip cut", "log.gz", { base64: gz(JSON.stringify(log())).slice(0, 40) }, fails),
    one("XML", "log.xes", { text: xes }, { wrong: XML }),
    one("XML, gzip", "log.xes.gz", { base64: gz(xes) }, { wrong: XML }),
    one("XML, blanks before", "log.xml", { text: `\n ${xes}` }, { wrong: XML }),
    one("XML broken", "log.xes", { text: "<log><trace>" }, { wrong: XML }),
    one("an HTML error page", "log", { text: "<!doctype html><p>sorry" }, { wrong: XML }),
    ...[401, 404, 429, 500].map((status) => one(`status ${status}`, "log.json", { status, body: {} }, fails)),
    one("connection refused", "log.json", { error: "connect ECONNREFUSED" }, fails),
    one("unknown host", "log.json", null, fails),
    one("redirect", "log.json", null, {
        http: [
            { url: at("log.json"), status: 302, headers: { location: at("new.json") } },
            { url: at("new.json"), text: '{"moved":true}' },
        ],
    }),
    one("body over config", "x", null, { msg: body({ logUrl: at("b.json") }), http: [{ url: at("b.json"), text: "{}" }] }),
    one("body over config: null wins", "log.json", null, { msg: body({ logUrl: null }), drops: true }),
    one("body over config: empty wins", "log.json", null, { msg: body({ logUrl: "" }), ...fails }),
    one("no URL configured", "", null, { config: { logUrl: "" }, ...fails }),
    one("URL not a text", "", null, { msg: body({ logUrl: 5 }), drops: true }),
    one("relative URL", "", null, { config: { logUrl: "log.json" }, ...fails }),
    one("file URL", "", null, { config: { logUrl: "file:///etc/hostname" }, ...fails }),
    one(
        "conceptName is put into the global context",
        "log.json",
        { text: "{}" },
        { msg: body({ conceptName: "A" }), askGlobal: ["conceptName"] },
    ),
    one("conceptName configured", "log.json", { text: "{}" }, { config: { conceptName: "B" }, askGlobal: ["conceptName"] }),
    one(
        "all else is kept",
        "log.json",
        { text: "{}" },
        { msg: { topic: "t", log: "old", payload: { a: 1 }, req: { body: {} } } },
    ),
];
