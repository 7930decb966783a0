const { body } = require("../messages.js");
const { github } = require("../vendors.js");

const TDZ = "an inner `const config` shadows the node's: whatever the body leaves out cannot be read from the configuration";
const full = { username: "octo", repoName: "repo", path: "docs", token: "gh-dummy" };
const url = "https://api.github.com/repos/octo/repo/contents/docs";
const one = (title, answer, more = {}) => ({
    title: `github-collector: ${title}`,
    config: full,
    msg: body(full, { payload: "in" }),
    http: answer ? [{ url, ...answer }] : [],
    ...more,
});
const listing = ["docs/a.md", "docs/b.pdf"]
    .map((p) => github.entry("octo", "repo", p))
    .concat(github.entry("octo", "repo", "docs/old", "dir"));
const but = (key, value) => ({ ...full, [key]: value });
const FAILS = { drops: true, note: "an error with the message: a Catch node sees it" };

module.exports = [
    one("folder", { body: listing }),
    one(
        "file",
        { body: github.content("octo", "repo", "docs/a.md") },
        {
            msg: body(but("path", "docs/a.md")),
            http: [{ url: `${url}/a.md`, body: github.content("octo", "repo", "docs/a.md") }],
        },
    ),
    one("empty folder", { body: [] }),
    one("path with blanks", null, {
        msg: body(but("path", "my docs")),
        http: [{ url: "https://api.github.com/repos/octo/repo/contents/my%20docs", body: [] }],
    }),
    one("path with a leading slash", null, {
        msg: body(but("path", "/docs")),
        http: [{ url: "https://api.github.com/repos/octo/repo/contents//docs", body: [] }],
    }),
    one("text in place of JSON", { text: "<html>" }),
    one("status 203", { status: 203, body: [] }, { wrong: "any other 2xx gives payload false" }),
    one(
        "status 302",
        { status: 302, headers: { location: "https://api.github.com/repositories/1/contents/docs" } },
        {
            ...FAILS,
            http: [
                { url, status: 302, headers: { location: "https://api.github.com/repositories/1/contents/docs" } },
                { url: "https://api.github.com/repositories/1/contents/docs", body: listing },
            ],
            drops: undefined,
            note: undefined,
        },
    ),
    ...[
        [401, "Bad credentials"],
        [403, "API rate limit exceeded"],
        [404, "Not Found"],
        [429, "Too many requests"],
        [500, "Server Error"],
        [503, "Unavailable"],
    ].map(([status, message]) =>
        one(
            `status ${status}`,
            { status, body: github.error(message), headers: status === 429 ? { "retry-after": "1" } : {} },
            FAILS,
        ),
    ),
    one("connection refused", { error: "connect ECONNREFUSED" }, FAILS),
    one(
        "a cut body",
        { text: '[{"name": "a', headers: { "content-type": "application/json" } },
        { wrong: "a cut body is put out as text" },
    ),
    one("all from the configuration", null, { msg: body({}), wrong: TDZ }),
    one("username from the configuration", null, { msg: body({ ...full, username: undefined }), wrong: TDZ }),
    one("path from the configuration", null, { msg: body({ ...full, path: undefined }), wrong: TDZ }),
    one("path empty in the body", null, { msg: body(but("path", "")), wrong: TDZ }),
    one("token from the configuration", null, { msg: body({ ...full, token: undefined }), wrong: TDZ }),
    one("no body", null, { msg: { req: {} }, wrong: "without a body the node fails; the configuration should do" }),
    one("no req", null, { msg: { payload: "in" }, wrong: "without a request the node fails; the configuration should do" }),
    one("all else is kept", { body: [] }, { msg: body(full, { topic: "t", scope: { a: 1 } }) }),
];
