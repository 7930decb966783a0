const { body, evidence } = require("../messages.js");
const { github, graph } = require("../vendors.js");

const EVIDENCE = "with evidences on, no evidence of a failure is kept: the payload it would go on has no list";
const FALSE = "a source that does not answer is reported as result false, not as unknown";
const rest = (config = {}, id = "rest") => ({ id, definitionId: "rest-api", config: { baseUrl: "http://api.test", ...config } });
const gh = (config = {}) => ({
    id: "gh",
    definitionId: "github-api",
    config: { baseUrl: "https://api.github.com", personalAccessToken: "gh-dummy", ...config },
});
const ms = (config = {}) => ({
    id: "ms",
    definitionId: "microsoft-graph",
    config: { tenantId: "tenant", clientId: "client", clientSecret: "secret-dummy", ...config },
});
const linker = (...datasources) => JSON.stringify({ datasources });
const one = (title, config, http, more = {}) => ({
    title: `databinder: ${title}`,
    config,
    http,
    msg: { payload: "in" },
    ...more,
});
const api = (title, http, more = {}, ds = {}) =>
    one(
        `REST, ${title}`,
        null,
        http.map((a) => ({ url: "http://api.test/data", ...a })),
        { ...more, config: { datasourceId: "rest", linker: linker(rest(ds)), ...more.config } },
    );
const rows = {
    body: [
        { id: 1, name: "a" },
        { id: 2, name: "b" },
    ],
};
const fetching = (fetchOptions, msg = {}) => ({ msg: { payload: "in", fetchOptions, ...msg } });
const retried = (status, more = {}) =>
    Array.from({ length: 3 }, () => ({
        status,
        statusText: more.statusText ?? "Status",
        body: { message: "x" },
        headers: more.headers,
    }));
const on = { storeEvidences: true };
const slow = { settle: 1500 };
const bad = (title, config, more) => one(title, config, [], more);
const hub = (title, methodName, path, answer, more = {}) =>
    one(
        `GitHub, ${title}`,
        { datasourceId: "gh", methodName, linker: linker(gh(more.ds)) },
        [{ url: `https://api.github.com${path}`, ...answer }],
        more,
    );
const token = { method: "POST", url: "https://login.microsoftonline.com/tenant/oauth2/v2.0/token", body: graph.token };
const office = (title, methodName, http, more = {}) =>
    one(`Graph, ${title}`, { datasourceId: "ms", methodName, linker: linker(ms(more.ds)) }, http, more);
const NOPATH = "an endpoint with a leading slash replaces the base address's path: Graph's /v1.0 is lost";

module.exports = [
    api("default", [rows]),
    api("default, evidences on", [rows], { config: on }),
    api("one object", [{ body: { id: 1 } }], { config: on }),
    api("empty list", [{ body: [] }], { config: on }),
    api("null", [{ body: null }], { config: on }),
    api("text in place of JSON", [{ text: "oops" }], {
        wrong: "a body that is no JSON becomes an empty object, and the result is true",
    }),
    api("a cut body", [{ text: '[{"id":', headers: { "content-type": "application/json" } }], {
        wrong: "a body that is no JSON becomes an empty object, and the result is true",
    }),
    api("status 204", [{ status: 204 }], { wrong: "a body that is no JSON becomes an empty object, and the result is true" }),
    api("batch", [rows], { config: { responseFormat: "batch" } }),
    api("batch of the batch size: another page is promised", [rows], { config: { responseFormat: "batch", batchSize: 2 } }),
    api("batch, items in the answer", [{ body: { items: [1, 2], totalItems: 9 } }], { config: { responseFormat: "batch" } }),
    api("batch, data in the answer", [{ body: { data: [1] } }], { config: { responseFormat: "batch" } }),
    api("batch, one object", [{ body: { id: 1 } }], { config: { responseFormat: "batch" } }),
    api("iterator for one source", [rows], {
        config: { responseFormat: "iterator" },
        note: "the format is ignored for one source",
    }),
    api("stream", [rows], { config: { responseFormat: "stream" }, wrong: "a stream object goes into the payload" }),
    api("unknown format", [], { config: { responseFormat: "other" }, wrong: FALSE }),
    api("batchSize no number", [], { config: { batchSize: "many" }, wrong: FALSE }),
    api("batchSize 0", [], { config: { batchSize: 0 }, wrong: FALSE }),
    api("batchSize as text", [rows], { config: { batchSize: "50" } }),
    api("default endpoint", [{ url: "http://api.test/items", ...rows }], {}, { defaultEndpoint: "/items" }),
    api(
        "base address with a path, endpoint with a slash",
        [{ url: "http://api.test/items", ...rows }],
        { wrong: "an endpoint with a leading slash replaces the base address's path" },
        { baseUrl: "http://api.test/v1", defaultEndpoint: "/items" },
    ),
    api(
        "base address with a path and a slash, endpoint without",
        [{ url: "http://api.test/v1/items", ...rows }],
        {},
        { baseUrl: "http://api.test/v1/", defaultEndpoint: "items" },
    ),
    api("endpoint by fetchOptions", [{ url: "http://api.test/other", ...rows }], fetching({ endpoint: "/other" })),
    api(
        "named endpoint",
        [{ url: "http://api.test/people/all", ...rows }],
        {},
        { defaultEndpoint: "people", endpoints: { people: "/people/all" } },
    ),
    api(
        "endpoint with two query parameters",
        [{ url: "http://api.test/data?a=1b=2", ...rows }],
        { wrong: "& is taken out of the endpoint: two parameters melt into one" },
        { defaultEndpoint: "/data?a=1&b=2" },
    ),
    api(
        "endpoint with an apostrophe",
        [
            { url: "http://api.test/OData('x')", ...rows },
            { url: "http://api.test/OData(x)", ...rows },
        ],
        { wrong: "' is taken out of the endpoint" },
        { defaultEndpoint: "/OData('x')" },
    ),
    api("search", [{ url: "http://api.test/search", ...rows }], { config: { methodName: "search" } }),
    api("getById without id", [], { config: { methodName: "getById" }, wrong: FALSE }),
    api("getById", [{ url: "http://api.test/data/7", body: { id: 7 } }], {
        config: { methodName: "getById" },
        ...fetching({ id: "7" }),
    }),
    api("getById with endpoint: the id is lost", [{ url: "http://api.test/items", ...rows }], {
        config: { methodName: "getById" },
        ...fetching({ id: "7", endpoint: "/items" }),
        wrong: "with an endpoint given the id is not asked for",
    }),
    api("unknown method", [], { config: { methodName: "fetchAll" }, wrong: FALSE }),
    api("methodName by the body", [{ url: "http://api.test/search", ...rows }], { msg: body({ methodName: "search" }) }),
    api("method and body by fetchOptions", [{ method: "POST", ...rows }], fetching({ method: "POST", body: { q: 1 } })),
    api("filters", [{ url: "http://api.test/data?state=open&q=a%2520b", ...rows }], {
        ...fetching({ query: { filters: { state: "open", q: "a b" } } }),
        wrong: "filter values are encoded twice",
    }),
    api(
        "sort",
        [{ url: "http://api.test/data?sort=a%3Adesc%2Cb%3Aasc", ...rows }],
        fetching({
            query: {
                sort: [
                    { field: "a", direction: "desc" },
                    { field: "b", direction: "asc" },
                ],
            },
        }),
    ),
    api(
        "pagination",
        [{ url: "http://api.test/data?page=2&pageSize=10", ...rows }],
        fetching({ pagination: { enabled: true, startPage: 2, pageSize: 10 } }),
    ),
    api("next link is not followed", [{ ...rows, headers: { link: '<http://api.test/data?page=2>; rel="next"' } }], {
        note: "one page only",
    }),
    api("headers", [rows], fetching({ headers: { "x-access-token": "two" } }), { headers: { Accept: "text/csv" } }),
    api("bearer", [rows], {}, { auth: { type: "bearer", token: "dummy" } }),
    api("basic", [rows], {}, { auth: { type: "basic", username: "u", password: "p" } }),
    api("cookies", [rows], fetching({ cookies: { b: "2" } }), { auth: { type: "cookie", cookies: { a: "x y", b: "1" } } }),
    api("custom header", [rows], {}, { auth: { type: "custom", headerName: "x-access-token", headerValue: "dummy" } }),
    api("authOverride", [rows], fetching({ authOverride: { type: "bearer", token: "other-dummy" } }), {
        auth: { type: "basic", username: "u", password: "p" },
    }),
    api("fullResponse", [{ ...rows, headers: { "x-a": "1" } }], fetching({ responseOptions: { fullResponse: true } })),
    api("throwHttpErrors off", [{ status: 404, statusText: "Not Found", body: { message: "x" } }], {
        ...fetching({ responseOptions: { throwHttpErrors: false } }),
        note: "result is true",
    }),
    api("status 401", [retried(401, { statusText: "Unauthorized" })[0]], { wrong: FALSE }),
    api("status 403", [retried(403, { statusText: "Forbidden" })[0]], { wrong: FALSE }),
    api("status 404", [retried(404, { statusText: "Not Found" })[0]], { wrong: FALSE }),
    api("status 400 is asked three times", retried(400, { statusText: "Bad Request" }), {
        ...slow,
        wrong: "a client error is retried",
    }),
    api("status 429 with Retry-After", retried(429, { statusText: "Too Many Requests", headers: { "retry-after": "7" } }), {
        ...slow,
        wrong: "Retry-After is not heeded",
    }),
    api("status 500 three times", retried(500, { statusText: "Internal Server Error" }), { ...slow, wrong: FALSE }),
    api("status 503 once, then well", [retried(503)[0], rows], slow),
    api("status 401, evidences on", [retried(401, { statusText: "Unauthorized" })[0]], { config: on, wrong: EVIDENCE }),
    api(
        "connection refused three times",
        Array.from({ length: 3 }, () => ({ error: "connect ECONNREFUSED" })),
        { ...slow, wrong: FALSE },
    ),
    api(
        "timeout",
        [{ ...rows, delay: 400 }],
        {
            settle: 2500,
            http: Array.from({ length: 3 }, () => ({ url: "http://api.test/data", ...rows, delay: 400 })),
            wrong: FALSE,
        },
        { timeout: 50 },
    ),
    one("all", { datasourceId: "all", linker: linker(rest(), rest({ baseUrl: "http://api2.test" }, "two")) }, [
        { url: "http://api.test/data", ...rows },
        { url: "http://api2.test/data", body: { x: 1 } },
    ]),
    one(
        "all, evidences on",
        { ...on, datasourceId: "all", linker: linker(rest(), rest({ baseUrl: "http://api2.test" }, "two")) },
        [
            { url: "http://api.test/data", ...rows },
            { url: "http://api2.test/data", body: { x: 1 } },
        ],
        { wrong: "with all sources dataCount is 1, whatever came" },
    ),
    one(
        "all, one fails",
        { datasourceId: "all", linker: linker(rest(), rest({ baseUrl: "http://api2.test" }, "two")) },
        [
            { url: "http://api.test/data", ...rows },
            { url: "http://api2.test/data", status: 404, body: {} },
        ],
        { wrong: "one source's failure loses the others' answers" },
    ),
    one("all, iterator", { datasourceId: "all", responseFormat: "iterator", linker: linker(rest()) }, [], {
        wrong: "an iterator object goes into the payload; JSON makes {} of it",
    }),
    one(
        "propertyMapping",
        {
            datasourceId: "rest",
            linker: JSON.stringify({
                datasources: [rest()],
                datasourceConfigs: {
                    rest: { id: "rest", propertyMapping: { name: "title" }, methodConfig: { methodName: "search" } },
                },
            }),
        },
        [{ url: "http://api.test/data", ...rows }],
        { wrong: "propertyMapping and methodConfig are ignored" },
    ),
    one(
        "defaultMethodName",
        { datasourceId: "rest", linker: JSON.stringify({ datasources: [rest()], defaultMethodName: "search" }) },
        [{ url: "http://api.test/data", ...rows }],
        { wrong: "defaultMethodName is ignored" },
    ),
    bad("no datasourceId", { linker: linker(rest()) }, { wrong: FALSE }),
    bad("no datasourceId, evidences on", { ...on, linker: linker(rest()) }, { wrong: EVIDENCE }),
    bad("unknown datasourceId", { datasourceId: "other", linker: linker(rest()) }, { wrong: FALSE }),
    bad("no linker", { datasourceId: "rest" }, { wrong: FALSE }),
    bad("linker broken", { datasourceId: "rest", linker: "{" }, { wrong: FALSE }),
    bad("linker null", { datasourceId: "rest", linker: "null" }, { wrong: FALSE }),
    bad("linker a number", { datasourceId: "rest", linker: "5" }, { wrong: FALSE }),
    bad("linker a list", { datasourceId: "rest", linker: "[]" }, { wrong: FALSE }),
    bad("no sources", { datasourceId: "rest", linker: "{}" }, { wrong: FALSE }),
    bad("no sources, evidences on", { ...on, datasourceId: "rest", linker: "{}" }, { wrong: EVIDENCE }),
    bad(
        "source without config",
        { datasourceId: "rest", linker: linker({ id: "rest", definitionId: "rest-api" }) },
        { wrong: FALSE },
    ),
    bad(
        "definitionId of the shipped examples",
        { datasourceId: "rest", linker: linker({ ...rest(), definitionId: "RestApiDatasource" }) },
        { wrong: "the shipped examples' definition ids are not the registered ones" },
    ),
    bad(
        "no baseUrl",
        { datasourceId: "rest", linker: linker({ id: "rest", definitionId: "rest-api", config: {} }) },
        { wrong: FALSE },
    ),
    bad("baseUrl a number", { datasourceId: "rest", linker: linker(rest({ baseUrl: 5 })) }, { wrong: FALSE }),
    bad("baseUrl no address", { datasourceId: "rest", linker: linker(rest({ baseUrl: "nowhere" })) }, { wrong: FALSE }),
    bad(
        "ownCloud",
        {
            datasourceId: "oc",
            linker: linker({
                id: "oc",
                definitionId: "owncloud",
                config: { baseUrl: "http://oc.test", username: "u", password: "p" },
            }),
        },
        { wrong: "the library has ownCloud from 1.1 on; the node registers three definitions only" },
    ),
    bad("timeout as text", { datasourceId: "rest", linker: linker(rest({ timeout: "50" })) }, { wrong: FALSE }),
    one(
        "one source ill-formed, the other well",
        { datasourceId: "rest", linker: linker(rest(), { ...rest({}, "x"), definitionId: "nothing" }) },
        [{ url: "http://api.test/data", ...rows }],
    ),
    one("linker and datasourceId by the body", {}, [{ url: "http://api.test/data", ...rows }], {
        msg: body({ datasourceId: "rest", linker: { datasources: [rest()] } }),
    }),
    one("linker and datasourceId by the message, configuration empty", {}, [], {
        msg: { datasourceId: "rest", linker: { datasources: [rest()] } },
        wrong: "the editor's empty texts stand before msg.datasourceId and msg.linker",
    }),
    one("linker and datasourceId by the message, configuration absent", {}, [{ url: "http://api.test/data", ...rows }], {
        without: ["datasourceId", "linker"],
        msg: { datasourceId: "rest", linker: { datasources: [rest()] } },
    }),
    one("body before the configuration", { datasourceId: "x", linker: "{" }, [{ url: "http://api.test/data", ...rows }], {
        msg: body({ datasourceId: "rest", linker: linker(rest()) }),
    }),
    api("all else is kept, the payload is replaced", [rows], {
        config: on,
        msg: { topic: "t", payload: { evidences: [evidence("a", true)], scope: { a: 1 } } },
        wrong: "earlier evidences and the scope are lost with the payload",
    }),
    hub(
        "default",
        "default",
        "/data",
        { status: 404, statusText: "Not Found", body: github.error("Not Found") },
        { wrong: "the default method asks /data, which GitHub does not have" },
    ),
    hub(
        "getRepositories of an organisation",
        "getRepositories",
        "/orgs/octo/repos",
        { body: [github.repository("octo", "one")] },
        { ds: { defaultOrg: "octo" } },
    ),
    hub("getRepositories of the user", "getRepositories", "/user/repos", { body: [] }),
    hub(
        "getIssues",
        "getIssues",
        "/repos/octo/repo/issues",
        { body: [github.issue(1, "open", "First")] },
        { ds: { defaultOrg: "octo", defaultRepo: "repo" } },
    ),
    hub(
        "getIssues by options",
        "getIssues",
        "/repos/octo/repo/issues?state=closedsort=updateddirection=desclabels=a%2Cb",
        { body: [] },
        {
            ...fetching({ owner: "octo", repo: "repo", state: "closed", sort: "updated", direction: "desc", labels: ["a", "b"] }),
            wrong: "& is taken out of the endpoint: the parameters melt into one",
        },
    ),
    hub("getIssues without repo", "getIssues", "/", {}, { wrong: FALSE }),
    hub(
        "getIssue",
        "getIssue",
        "/repos/octo/repo/issues/1",
        { body: github.issue(1, "open", "First") },
        fetching({ owner: "octo", repo: "repo", issueNumber: 1 }),
    ),
    hub(
        "getPullRequest",
        "getPullRequest",
        "/repos/octo/repo/pulls/2",
        { body: { number: 2, state: "open" } },
        fetching({ owner: "octo", repo: "repo", pullNumber: 2 }),
    ),
    hub(
        "getContents",
        "getContents",
        "/repos/octo/repo/contents/docs/a.md",
        { body: github.content("octo", "repo", "docs/a.md") },
        fetching({ owner: "octo", repo: "repo", path: "docs/a.md" }),
    ),
    hub(
        "searchIssues",
        "searchIssues",
        "/search/issues?q=is%3Aopen",
        { body: { total_count: 0, incomplete_results: false, items: [] } },
        {
            ...fetching({ query: "is:open" }),
            wrong: "the query must be a text for the method and an object for the options' check: it never passes",
        },
    ),
    hub("getUser", "getUser", "/users/ana", { body: { login: "ana", id: 2 } }, fetching({ username: "ana" })),
    hub(
        "status 401",
        "getUser",
        "/user",
        { status: 401, statusText: "Unauthorized", body: github.error("Bad credentials") },
        { wrong: FALSE },
    ),
    hub(
        "status 403, limit reached",
        "getUser",
        "/user",
        {
            status: 403,
            statusText: "Forbidden",
            body: github.error("API rate limit exceeded"),
            headers: { "x-ratelimit-remaining": "0" },
        },
        { wrong: FALSE },
    ),
    one(
        "GitHub, without baseUrl",
        { datasourceId: "gh", methodName: "getUser", linker: linker({ id: "gh", definitionId: "github-api", config: {} }) },
        [],
        { wrong: "baseUrl is asked for, though a default exists" },
    ),
    office(
        "getSiteIdByPath",
        "getSiteIdByPath",
        [token, { url: "https://graph.microsoft.com/sites/contoso.sharepoint.com:/sites/team", body: graph.site("contoso,1,2") }],
        { ...fetching({ sitePath: "contoso.sharepoint.com:/sites/team" }), wrong: NOPATH },
    ),
    office(
        "listSiteItems",
        "listSiteItems",
        [token, { url: "https://graph.microsoft.com/sites/s1/drive/root:/Policies%2F2024:/children", body: graph.children }],
        { ...fetching({ siteId: "s1", folderPath: "Policies/2024" }), wrong: NOPATH },
    ),
    office("listSiteItems without folder", "listSiteItems", [token], { ...fetching({ siteId: "s1" }), wrong: FALSE }),
    office("default", "default", [], { wrong: "the editor's default method does not exist for Graph" }),
    office(
        "token refused",
        "getSiteIdByPath",
        [
            {
                ...token,
                status: 401,
                statusText: "Unauthorized",
                body: { error: "invalid_client", error_description: "AADSTS7000215: Invalid client secret provided." },
            },
        ],
        { ...fetching({ sitePath: "x" }), wrong: FALSE, ...slow },
    ),
    office("without secret", "getSiteIdByPath", [], { ds: { clientSecret: "" }, wrong: FALSE }),
    office(
        "status 404",
        "getSiteIdByPath",
        [
            token,
            {
                url: "https://graph.microsoft.com/sites/x",
                status: 404,
                statusText: "Not Found",
                body: graph.error("itemNotFound", "The site is not there."),
            },
        ],
        { ...fetching({ sitePath: "x" }), wrong: NOPATH },
    ),
];
