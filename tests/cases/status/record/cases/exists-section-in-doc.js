const { body, evidence } = require("../messages.js");
const { github, pdf } = require("../vendors.js");

const TEXT = 'result is the text "true" or "false", not a boolean; evidence is added after the message is sent';
const PDF = "importing pdf-parse fails (its ES module misses a file): no PDF is ever read";
const base = { section: "Section One", valueType: "URL", url: "http://files.test/doc.txt" };
const viaGithub = {
    ...base,
    valueType: "GithubUrl",
    user: "octo",
    repo: "repo",
    path: "docs",
    docName: "Policy",
    githubToken: "gh-dummy",
};
const api = "https://api.github.com/repos/octo/repo/contents/docs/Policy.pdf";
const file = github.content("octo", "repo", "docs/Policy.pdf");
const on = { storeEvidences: true };
const one = (title, more) => ({ title: `exists-section-in-doc: ${title}`, msg: { payload: {} }, http: [], ...more });
const at = (title, answer, more = {}) =>
    one(`URL, ${title}`, {
        wrong: TEXT,
        http: answer ? [{ url: (more.config ?? base).url ?? base.url, ...answer }] : [],
        ...more,
        config: { ...base, ...more.config },
    });
const gh = (title, http, more = {}) => one(`GitHub, ${title}`, { http, ...more, config: { ...viaGithub, ...more.config } });
const doc = { text: "Title\n\nSection One\nText\nSection Two\n" };
const kept = { msg: { payload: { evidences: [] } } };
const unknown = { wrong: "a document that cannot be read is reported as false, not as unknown" };

module.exports = [
    at("found", doc),
    at("not found", doc, { config: { section: "Section Three" } }),
    at("case counts", doc, { config: { section: "section one" } }),
    at("part of a line", doc, { config: { section: "ion O" } }),
    at("across lines", doc, { config: { section: "One\nText" } }),
    at("section empty", doc, { config: { section: "" }, wrong: `${TEXT}; an empty section is always there` }),
    at("text empty", { text: "" }),
    at("found, evidences on", doc, { ...kept, config: on }),
    at("not found, evidences on", doc, { ...kept, config: { ...on, section: "Section Nine" } }),
    at("found, evidences on, none there", doc, { config: on }),
    at("evidences there", doc, { msg: { payload: { evidences: [evidence("a", true)] } }, config: on }),
    at("text that is JSON", { text: '{"a":"Section One"}' }, { wrong: "text that looks like JSON is parsed, then not searched" }),
    at("text that is a number", { text: "12" }, { wrong: "text that looks like JSON is parsed, then not searched" }),
    at(
        "text that is a JSON list",
        { text: '["Section One"]' },
        { wrong: "text that looks like JSON is parsed; a list is searched for an equal element" },
    ),
    ...[401, 404, 429, 500].map((status) => at(`status ${status}`, { status, text: "x" }, unknown)),
    at("status 404, evidences on", { status: 404, text: "x" }, { ...kept, config: on, ...unknown }),
    at("status 404, evidences on, none there", { status: 404, text: "x" }, { config: on }),
    at("refused", { error: "connect ECONNREFUSED" }, unknown),
    at("PDF", { base64: pdf("Section One") }, { config: { url: "http://files.test/doc.pdf" }, wrong: PDF }),
    at(
        "PDF, evidences on",
        { base64: pdf("Section One") },
        { ...kept, config: { ...on, url: "http://files.test/doc.pdf" }, wrong: PDF },
    ),
    at("PDF status 404", { status: 404, text: "x" }, { config: { url: "http://files.test/doc.pdf" }, ...unknown }),
    at("PDF in capitals", null, {
        config: { url: "http://files.test/doc.PDF" },
        wrong: "the ending is compared by case; the payload is replaced by a text",
    }),
    at("TXT with a query", null, {
        config: { url: "http://files.test/doc.txt?x=1" },
        wrong: "a query hides the ending; the payload is replaced by a text",
    }),
    at("other kind", null, { config: { url: "http://files.test/doc.md" }, wrong: "the payload is replaced by a text" }),
    at("none", null, { config: { url: "" }, ...unknown }),
    at("none, evidences on", null, { ...kept, config: { ...on, url: "" }, ...unknown }),
    at("none, evidences on, none there", null, { config: { ...on, url: "" } }),
    at("body over config", null, {
        msg: body({ url: "http://files.test/b.txt", section: "B" }, { payload: {} }),
        http: [{ url: "http://files.test/b.txt", text: "A B" }],
    }),
    at("body over config: empty url wins", null, { msg: body({ url: "" }, { payload: {} }), ...unknown }),
    at("body over config: null does not win", doc, { msg: body({ url: null, section: null, valueType: null }, { payload: {} }) }),
    at("body over config: section 5", doc, { msg: body({ section: 5 }, { payload: {} }) }),
    at("body: storeEvidences is not read from it", doc, { msg: body({ storeEvidences: true }, { payload: { evidences: [] } }) }),
    at("url a number in the body", null, { msg: body({ url: 5 }, { payload: {} }) }),
    at("payload a text", doc, {
        msg: { payload: "in" },
        wrong: "nothing can be set on a text: the text is searched for in the old payload's result",
    }),
    at("payload null", null, { config: { url: "" }, msg: { payload: null } }),
    at("no payload", doc, { msg: {} }),
    at("all else is kept", doc, { msg: { topic: "t", payload: { index: 1, scope: { a: 1 } } } }),
    gh(
        "PDF",
        [
            { url: api, body: file },
            { url: file.download_url, base64: pdf("Section One") },
        ],
        { wrong: PDF },
    ),
    gh(
        "PDF, evidences on",
        [
            { url: api, body: file },
            { url: file.download_url, base64: pdf("Section One") },
        ],
        { config: on, wrong: PDF },
    ),
    gh(
        "name with blanks",
        [
            { url: "https://api.github.com/repos/octo/repo/contents/docs/My%20policy.pdf", body: file },
            { url: file.download_url, base64: pdf("x") },
        ],
        { config: { docName: "My policy" }, wrong: PDF },
    ),
    ...["user", "repo", "path", "githubToken"].map((key) => gh(`no ${key}`, [], { config: { ...on, [key]: "" }, ...unknown })),
    gh(
        "no docName",
        [{ url: "https://api.github.com/repos/octo/repo/contents/docs/.pdf", status: 404, body: github.error("Not Found") }],
        { config: { docName: "" }, wrong: "a missing name is not noticed; the payload is replaced by a text" },
    ),
    ...[401, 403, 404, 429, 500].map((status) =>
        gh(`contents status ${status}`, [{ url: api, status, body: github.error("x") }], {
            wrong: "the payload is replaced by a text",
        }),
    ),
    gh("contents refused", [{ url: api, error: "connect ECONNREFUSED" }], { wrong: "the payload is replaced by a text" }),
    gh(
        "download status 404",
        [
            { url: api, body: file },
            { url: file.download_url, status: 404, text: "x" },
        ],
        { config: on, ...unknown },
    ),
    gh("contents: a folder", [{ url: api, body: [] }], { config: on, ...unknown }),
    gh("body over config", [{ url: "https://api.github.com/repos/u/r/contents/p/d.pdf", status: 404, body: github.error("x") }], {
        msg: body({ user: "u", repo: "r", path: "p", docName: "d", githubToken: "t" }, { payload: {} }),
        wrong: "the payload is replaced by a text",
    }),
    one("unknown valueType", { config: { ...base, valueType: "FTP" } }),
    one("valueType by the body", {
        config: viaGithub,
        msg: body({ valueType: "URL" }, { payload: {} }),
        http: [{ url: base.url, ...doc }],
        wrong: TEXT,
    }),
];
