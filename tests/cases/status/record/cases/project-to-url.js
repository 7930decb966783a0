const { body } = require("../messages.js");
const { trello } = require("../vendors.js");

const config = { cardId: "card1", apiKey: "trello-key", trelloToken: "trello-token" };
const url = "https://api.trello.com/1/cards/card1/attachments?key=trello-key&token=trello-token";
const one = (title, answer, more = {}) => ({
    title: `project-to-url: ${title}`,
    config,
    msg: body({}, { payload: "in" }),
    http: answer ? [{ url, ...answer }] : [],
    ...more,
});
const att = (...urls) => urls.map((u, i) => trello.attachment(`a${i}`, u));
const text = { wrong: "a failure is put out as an ordinary text payload" };
const OTHER = { wrong: 'any address with "github" in it is taken for a repository' };

module.exports = [
    one("a repository", { body: att("https://github.com/octo/repo") }),
    one("the first of two", { body: att("https://example.org", "https://github.com/octo/one", "https://github.com/octo/two") }),
    one("another host with github in it", { body: att("https://notgithub.example/x") }, OTHER),
    one("GitHub Pages", { body: att("https://octo.github.io/repo") }, OTHER),
    one("GITHUB in capitals", { body: att("https://GITHUB.com/octo/repo") }, { wrong: "the host is compared by case" }),
    one("none", { body: att("https://example.org") }, text),
    one("no attachments", { body: [] }, text),
    ...[401, 404, 429, 500].map((status) =>
        one(`status ${status}`, { status, text: status === 401 ? "unauthorized permission requested" : "x" }, text),
    ),
    one("attachment without url", { body: [{ id: "a" }] }),
    one("not a list", { body: { message: "x" } }),
    one("text in place of JSON", { text: "invalid id" }),
    one("connection refused", { error: "connect ECONNREFUSED" }),
    one("body over config", null, {
        msg: body({ cardId: "c2", apiKey: "k2", trelloToken: "t2" }),
        http: [
            { url: "https://api.trello.com/1/cards/c2/attachments?key=k2&token=t2", body: att("https://github.com/octo/repo") },
        ],
    }),
    one(
        "body over config: empty does not win",
        { body: att("https://github.com/octo/repo") },
        { msg: body({ cardId: "", apiKey: "", trelloToken: "" }) },
    ),
    one("no body", null, { msg: { req: {} }, wrong: "without a body the node fails; the configuration should do" }),
    one("no req", null, { msg: { payload: 1 }, wrong: "without a request the node fails; the configuration should do" }),
    one("card id with a slash", null, {
        msg: body({ cardId: "a/../b" }),
        http: [{ url: "https://api.trello.com/1/cards/b/attachments?key=trello-key&token=trello-token", body: [] }],
        wrong: "values go into the URL unescaped",
    }),
    one("all else is kept", { body: att("https://github.com/octo/repo") }, { msg: body({}, { topic: "t", payload: { a: 1 } }) }),
];
