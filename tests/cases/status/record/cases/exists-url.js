const { body, evidence } = require("../messages.js");
const { github, trello } = require("../vendors.js");

const NOWHERE = "payload must be the address itself, on which neither result nor evidences can be set";
const config = {
    urlType: "payload",
    cardId: "card1",
    apiKey: "trello-key",
    trelloToken: "trello-token",
    githubToken: "gh-dummy",
};
const card = "https://api.trello.com/1/cards/card1/attachments?key=trello-key&token=trello-token";
const repo = "https://api.github.com/repos/octo/repo";
const att = (...urls) => ({ url: card, body: urls.map((u, i) => trello.attachment(`a${i}`, u)) });
const one = (title, payload, http = [], more = {}) => ({
    title: `exists-url: ${title}`,
    msg: { payload },
    http,
    ...more,
    config: { ...config, ...more.config },
});
const on = { storeEvidences: true };
const site = "https://example.com";
const found = [att("https://github.com/octo/repo"), { url: repo, body: github.repository("octo", "repo") }];
const lost = { wrong: NOWHERE };

module.exports = [
    ...["payload", "body", "config"].map((urlType) =>
        one(`${urlType}, repository found`, site, found, { config: { urlType }, ...lost }),
    ),
    one("payload: the address itself is not asked for", site, found, {
        wrong: "with urlType payload the help asks for the payload's address; the Trello card is asked instead",
    }),
    one("repository found, evidences on", site, found, { config: on }),
    one("editor default urlType Payload", site, [], {
        config: { urlType: "Payload" },
        wrong: 'the editor\'s default "Payload" is none of the known types',
    }),
    one("editor default urlType Payload, evidences on", { url: site }, [], {
        config: { ...on, urlType: "Payload" },
        wrong: 'the editor\'s default "Payload" is none of the known types',
    }),
    one("payload an object", { url: site }, [], { wrong: "an object is never a valid address, so the result is always false" }),
    one("payload an object, evidences on", { url: site }, [], {
        config: on,
        wrong: "an object is never a valid address, so the result is always false",
    }),
    one("payload an object, urlType config", {}, [], {
        config: { ...on, urlType: "config" },
        wrong: "the card should be asked, whatever the payload",
    }),
    one("payload an object with evidences", { url: site, evidences: [evidence("a", true)] }, [], {
        config: on,
        wrong: "an object is never a valid address, so the result is always false",
    }),
    one("payload a list with an address", [site], found, { note: "a list of one address is read as the address" }),
    one("payload a list with an address, evidences on", [site], found, { config: on }),
    one("payload no address", "nothing", [], { ...lost }),
    one("payload no address, evidences on", "nothing", [], { config: on }),
    one("payload empty", "", [], lost),
    one("payload a number", 5, [], lost),
    one("payload null", null),
    { title: "exists-url: no payload", config, msg: {} },
    one("tree address", site, [att("https://github.com/octo/repo/tree/main"), found[1]], lost),
    one("address with a slash at the end", site, [att("https://github.com/octo/repo/"), found[1]], lost),
    one("address of a file", site, [att("https://github.com/octo/repo/blob/main/a.md")], lost),
    one("http address", site, [att("http://github.com/octo/repo")], lost),
    one("www address", site, [att("https://www.github.com/octo/repo")], lost),
    one(
        ".git address",
        site,
        [att("https://github.com/octo/repo.git"), { url: `${repo}.git`, status: 404, body: github.error("Not Found") }],
        lost,
    ),
    one("no GitHub attachment", site, [att("https://example.org")], lost),
    one("no attachments", site, [att()], lost),
    one(
        "first GitHub attachment counts",
        site,
        [att("https://github.com/octo/repo/issues/1", "https://github.com/octo/repo")],
        lost,
    ),
    ...[401, 403, 404, 429, 500].map((status) =>
        one(`GitHub status ${status}`, site, [found[0], { url: repo, status, body: github.error("x") }], lost),
    ),
    one("GitHub refused", site, [found[0], { url: repo, error: "connect ECONNREFUSED" }], lost),
    one("GitHub status 404, evidences on", site, [found[0], { url: repo, status: 404, body: github.error("x") }], { config: on }),
    ...[401, 404, 429, 500].map((status) => one(`Trello status ${status}`, site, [{ url: card, status, text: "x" }], lost)),
    one("Trello refused", site, [{ url: card, error: "connect ECONNREFUSED" }], lost),
    one("Trello: not a list", site, [{ url: card, body: { message: "x" } }], lost),
    one("Trello: attachment without url", site, [{ url: card, body: [{ id: "a" }] }], lost),
    one(
        "body over config",
        null,
        [{ url: "https://api.trello.com/1/cards/c2/attachments?key=k2&token=t2", body: found[0].body }, found[1]],
        {
            config: { urlType: "x" },
            msg: body({ urlType: "body", cardId: "c2", apiKey: "k2", trelloToken: "t2", githubToken: "g2" }, { payload: site }),
            ...lost,
        },
    ),
    one("body over config: null does not win", null, found, {
        msg: body({ urlType: null, cardId: null }, { payload: site }),
        ...lost,
    }),
    one("unknown urlType", site, [], { config: { urlType: "other" }, ...lost }),
];
