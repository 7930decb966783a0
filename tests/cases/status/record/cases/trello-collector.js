const { body } = require("../messages.js");
const { trello } = require("../vendors.js");

const config = { boardId: "board1", key: "trello-key", token: "trello-token" };
const url = "https://api.trello.com/1/boards/board1/actions?key=trello-key&token=trello-token";
const one = (title, answer, more = {}) => ({
    title: `trello-collector: ${title}`,
    config,
    msg: { payload: "in" },
    http: answer ? [{ url, ...answer }] : [],
    ...more,
});
const act = (...list) =>
    list.map(([card, attachment], i) =>
        trello.action(`act${i}`, attachment ? "addAttachmentToCard" : "updateCard", card, attachment),
    );
const gh = (name) => `https://github.com/octo/${name}`;
const text = { wrong: "a failure is put out as an ordinary text payload" };

module.exports = [
    one("one card", { body: act(["c1", gh("one")]) }),
    one("two cards, one without attachment", { body: act(["c1", gh("one")], ["c2"]) }),
    one("cards in order of first mention", { body: act(["c2"], ["c1", gh("one")], ["c2", gh("two")]) }),
    one("two attachments of one card: the first counts", { body: act(["c1", gh("one")], ["c1", gh("two")]) }),
    one(
        "an attachment that is no GitHub address",
        { body: act(["c1", "https://example.org/x.png"]) },
        { wrong: "any attachment counts, not only GitHub's; the help says GitHub" },
    ),
    one("actions without card", { body: act([null], ["c1", gh("one")]) }),
    one("null among the actions", { body: [null, ...act(["c1", gh("one")])] }),
    one(
        "only actions without card",
        { body: act([null]) },
        { drops: true, note: "an error with the message: a Catch node sees it" },
    ),
    one("no actions", { body: [] }, { drops: true, note: "an error with the message: a Catch node sees it" }),
    one("action without data", { body: [{ id: "x" }] }, text),
    one("not a list", { body: { message: "x" } }, text),
    one("text in place of JSON", { text: "invalid id" }, text),
    ...[401, 404, 429, 500].map((status) => one(`status ${status}`, { status, text: "x" }, text)),
    one("connection refused", { error: "connect ECONNREFUSED" }),
    one("body over config", null, {
        msg: body({ boardId: "b2", key: "k2", token: "t2" }),
        http: [{ url: "https://api.trello.com/1/boards/b2/actions?key=k2&token=t2", body: act(["c1", gh("one")]) }],
    }),
    one("body over config: empty and null win", null, {
        msg: body({ boardId: "", key: null }),
        http: [{ url: "https://api.trello.com/1/boards//actions?key=null&token=trello-token", status: 404, text: "x" }],
        wrong: "null goes into the address as a word",
    }),
    one(
        "fifty actions, the first page",
        { body: Array.from({ length: 50 }, (_, i) => act([`c${i}`, gh(`r${i}`)])[0]) },
        { wrong: "only the first page (Trello's default is 50 actions) is read" },
    ),
    one("all else is kept", { body: act(["c1", gh("one")]) }, { msg: { topic: "t", req: { body: {} }, payload: { a: 1 } } }),
];
