const { body } = require("../messages.js");
const { github, pdf } = require("../vendors.js");

const PDF = "importing pdf-parse fails (its ES module misses a file): no PDF is ever read";
const FALLS = 'the URL branch falls through: "Invalid filter type" is warned of each time';
const text = { wrong: "a failure is put out as an ordinary text payload" };
const viaGithub = {
    valueType: "GithubUrl",
    user: "octo",
    repo: "repo",
    path: "docs",
    docName: "Policy",
    githubToken: "gh-dummy",
};
const api = "https://api.github.com/repos/octo/repo/contents/docs/Policy.pdf";
const file = github.content("octo", "repo", "docs/Policy.pdf");
const one = (title, more) => ({ title: `url-to-doc: ${title}`, msg: body({}, { payload: "in" }), http: [], ...more });
const gh = (title, http, more = {}) => one(`GitHub, ${title}`, { http, ...more, config: { ...viaGithub, ...more.config } });
const at = (title, url, answer, more = {}) =>
    one(`URL, ${title}`, {
        note: FALLS,
        http: answer ? [{ url, ...answer }] : [],
        ...more,
        config: { valueType: "URL", url, ...more.config },
    });

module.exports = [
    gh(
        "PDF",
        [
            { url: api, body: file },
            { url: file.download_url, base64: pdf("Section One") },
        ],
        { wrong: PDF },
    ),
    gh(
        "PDF that is none",
        [
            { url: api, body: file },
            { url: file.download_url, text: "no pdf" },
        ],
        { wrong: PDF },
    ),
    gh(
        "name with blanks and umlaut",
        [
            { url: "https://api.github.com/repos/octo/repo/contents/docs/Mi%20pol%C3%ADtica.pdf", body: file },
            { url: file.download_url, base64: pdf("x") },
        ],
        { config: { docName: "Mi política" }, wrong: PDF },
    ),
    gh(
        "name with the ending",
        [
            {
                url: "https://api.github.com/repos/octo/repo/contents/docs/Policy.pdf.pdf",
                status: 404,
                body: github.error("Not Found"),
            },
        ],
        { config: { docName: "Policy.pdf" }, ...text },
    ),
    gh(
        "no path",
        [
            { url: "https://api.github.com/repos/octo/repo/contents//Policy.pdf", body: file },
            { url: file.download_url, base64: pdf("x") },
        ],
        { config: { path: "" }, wrong: PDF },
    ),
    gh("no user", [], { config: { user: "" }, ...text }),
    gh(
        "no repo",
        [{ url: "https://api.github.com/repos/octo//contents/docs/Policy.pdf", status: 404, body: github.error("Not Found") }],
        { config: { repo: "" }, ...text },
    ),
    ...[401, 403, 404, 429, 500].map((status) =>
        gh(`contents status ${status}`, [{ url: api, status, body: github.error("x") }], text),
    ),
    gh("contents: a folder", [{ url: api, body: [] }], text),
    gh("contents refused", [{ url: api, error: "connect ECONNREFUSED" }], text),
    gh(
        "download status 404",
        [
            { url: api, body: file },
            { url: file.download_url, status: 404, text: "404" },
        ],
        text,
    ),
    gh(
        "download without token",
        [
            { url: api, body: file },
            { url: file.download_url, base64: pdf("x") },
        ],
        { wrong: PDF, note: "the token goes to the API only, not to the download" },
    ),
    at("TXT", "http://files.test/doc.txt", { text: "Section One\nText" }),
    at("TXT that is JSON", "http://files.test/doc.txt", { text: '{"a":1}' }, { wrong: "text that looks like JSON is parsed" }),
    at("TXT empty", "http://files.test/doc.txt", { text: "" }),
    at("TXT status 404", "http://files.test/doc.txt", { status: 404, text: "x" }, text),
    at("TXT refused", "http://files.test/doc.txt", { error: "connect ECONNREFUSED" }, text),
    at(
        "TXT in Latin-1",
        "http://files.test/doc.txt",
        {
            base64: Buffer.from("Año", "latin1").toString("base64"),
            headers: { "content-type": "text/plain; charset=iso-8859-1" },
        },
        { wrong: "the charset is not heeded" },
    ),
    at("PDF", "http://files.test/doc.pdf", { base64: pdf("Section One") }, { wrong: PDF }),
    at("PDF status 500", "http://files.test/doc.pdf", { status: 500, text: "x" }, text),
    at("PDF in capitals", "http://files.test/doc.PDF", null, text),
    at("PDF with a query", "http://files.test/doc.pdf?v=1", null, text),
    at("other kind", "http://files.test/doc.docx", null, text),
    at("no ending", "http://files.test/doc", null, text),
    at("none", "", null, text),
    at("body over config", "http://files.test/doc.txt", null, {
        msg: body({ url: "http://files.test/b.txt" }),
        http: [{ url: "http://files.test/b.txt", text: "b" }],
    }),
    at("body over config: empty does not win", "http://files.test/doc.txt", { text: "c" }, { msg: body({ url: "" }) }),
    at("url a number in the body", "http://files.test/doc.txt", null, { msg: body({ url: 5 }) }),
    gh(
        "body over config",
        [{ url: "https://api.github.com/repos/u/r/contents/p/d.pdf", status: 404, body: github.error("Not Found") }],
        { msg: body({ user: "u", repo: "r", path: "p", docName: "d", githubToken: "t" }), ...text },
    ),
    one("valueType by the body", {
        config: viaGithub,
        msg: body({ valueType: "URL", url: "http://files.test/doc.txt" }),
        http: [{ url: "http://files.test/doc.txt", text: "x" }],
        note: FALLS,
    }),
    one("unknown valueType", { config: { valueType: "FTP" } }),
    one("no body", { config: viaGithub, msg: { req: {} } }),
    one("no req", { config: viaGithub, msg: { payload: 1 } }),
    at(
        "all else is kept",
        "http://files.test/doc.txt",
        { text: "x" },
        { msg: body({}, { topic: "t", payload: { evidences: [] } }) },
    ),
];
