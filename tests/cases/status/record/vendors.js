// Canned answers of the services the nodes call: the fields the vendors publish, with values of our own.
// Read on 2026-11-22 from stored copies of
//   GitHub   https://docs.github.com/en/rest/repos/contents and .../rest/repos/repos, .../rest/issues/issues
//   Trello   https://developer.atlassian.com/cloud/trello/guides/rest-api/object-definitions (action, attachment)
//   Gemini   https://hexdocs.pm/geminix (generated from Google's discovery document of generativelanguage v1beta)
//   Graph    https://learn.microsoft.com/en-us/onedrive/developer/rest-api/resources/site and
//            https://learn.microsoft.com/en-us/graph/api/driveitem-list-children
const sha = "3d21ec53a331a6f037a91c368710b99387d012c1";

const github = {
    content(owner, repo, path, text = "hello") {
        const name = path.split("/").pop();
        const url = `https://api.github.com/repos/${owner}/${repo}/contents/${path}`;
        const html = `https://github.com/${owner}/${repo}/blob/main/${path}`;
        const git = `https://api.github.com/repos/${owner}/${repo}/git/blobs/${sha}`;
        return {
            name,
            path,
            sha,
            size: text.length,
            url,
            html_url: html,
            git_url: git,
            download_url: `https://raw.githubusercontent.com/${owner}/${repo}/main/${path}`,
            type: "file",
            content: Buffer.from(text).toString("base64"),
            encoding: "base64",
            _links: { self: url, git, html },
        };
    },
    entry(owner, repo, path, type = "file") {
        const { content, encoding, ...entry } = github.content(owner, repo, path);
        return { ...entry, type, size: type === "dir" ? 0 : 5, download_url: type === "dir" ? null : entry.download_url };
    },
    repository: (owner, name) => ({
        id: 1296269,
        node_id: "R_1296269",
        name,
        full_name: `${owner}/${name}`,
        private: false,
        owner: { login: owner, id: 1, type: "Organization" },
        html_url: `https://github.com/${owner}/${name}`,
        description: null,
        fork: false,
        default_branch: "main",
        visibility: "public",
    }),
    issue: (number, state, title) => ({
        id: 1000 + number,
        number,
        state,
        title,
        body: null,
        user: { login: "ana", id: 2 },
        labels: [{ id: 7, name: "bug" }],
        comments: 0,
        created_at: "2024-03-01T10:00:00Z",
        updated_at: "2024-03-02T10:00:00Z",
        closed_at: null,
    }),
    error: (message) => ({ message, documentation_url: "https://docs.github.com/rest", status: "" }),
};

const trello = {
    attachment: (id, url, more = {}) => ({
        id,
        bytes: null,
        date: "2024-03-01T10:00:00.000Z",
        edgeColor: null,
        idMember: "5191197f9433cf5507006338",
        isUpload: false,
        mimeType: "",
        name: url,
        previews: [],
        url,
        pos: 16384,
        ...more,
    }),
    action: (id, type, card, attachment) => ({
        id,
        idMemberCreator: "5191197f9433cf5507006338",
        type,
        date: "2024-03-01T10:00:00.000Z",
        data: {
            board: { id: "54a17d76d4a5072e3931736b", name: "Projects", shortLink: "BdarzfKF" },
            ...(card ? { card: { id: card, name: `Card ${card}`, idShort: 2, shortLink: card } } : {}),
            ...(attachment ? { attachment: { id: `att-${id}`, name: attachment, url: attachment } } : {}),
        },
        memberCreator: { id: "5191197f9433cf5507006338", fullName: "Ana", username: "ana" },
    }),
};

const gemini = {
    answer: (text, more = {}) => ({
        candidates: [{ content: { parts: [{ text }], role: "model" }, finishReason: "STOP", index: 0, ...more }],
        usageMetadata: { promptTokenCount: 8, candidatesTokenCount: 4, totalTokenCount: 12 },
        modelVersion: "gemini-2.5-flash",
    }),
    blocked: { promptFeedback: { blockReason: "SAFETY" }, usageMetadata: { promptTokenCount: 8, totalTokenCount: 8 } },
    error: (code, status, message) => ({ error: { code, message, status } }),
};

const graph = {
    token: { token_type: "Bearer", expires_in: 3599, ext_expires_in: 3599, access_token: "graph-token" },
    site: (id) => ({
        id,
        name: "team",
        displayName: "Team",
        webUrl: "https://contoso.sharepoint.com/sites/team",
        createdDateTime: "2024-01-01T00:00:00Z",
    }),
    children: {
        value: [
            {
                id: "01A",
                name: "Policy.pdf",
                size: 1024,
                file: { mimeType: "application/pdf" },
                webUrl: "https://contoso.sharepoint.com/Policy.pdf",
            },
            { id: "01B", name: "Drafts", folder: { childCount: 2 }, webUrl: "https://contoso.sharepoint.com/Drafts" },
        ],
    },
    error: (code, message) => ({ error: { code, message, innerError: { date: "2024-03-01T10:00:00" } } }),
};

// A one-page PDF with one line of text, written by hand.
function pdf(text) {
    const stream = `BT /F1 24 Tf 72 700 Td (${text}) Tj ET`;
    const objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        `<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`,
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ];
    let out = "%PDF-1.4\n";
    const at = objects.map((object, i) => {
        const start = out.length;
        out += `${i + 1} 0 obj\n${object}\nendobj\n`;
        return start;
    });
    const xref = out.length;
    out += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${at.map((a) => `${String(a).padStart(10, "0")} 00000 n \n`).join("")}`;
    out += `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${xref}\n%%EOF\n`;
    return Buffer.from(out, "latin1").toString("base64");
}

const xes = `<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1.0" xmlns="http://www.xes-standard.org/">
  <string key="concept:name" value="orders"/>
  <trace>
    <string key="concept:name" value="order 1"/>
    <event>
      <string key="org:resource" value="Ana"/>
      <string key="concept:name" value="A"/>
      <date key="time:timestamp" value="2024-03-01T10:01:00.000+00:00"/>
    </event>
    <event>
      <string key="concept:name" value="B &amp; C"/>
      <date key="time:timestamp" value="2024-03-01T10:02:00.000+00:00"/>
    </event>
  </trace>
  <trace>
    <string key="concept:name" value="order 2"/>
    <event><string key="concept:name" value="A"/><date key="time:timestamp" value="2024-03-02T10:01:00.000+00:00"/></event>
  </trace>
</log>
`;

module.exports = { gemini, github, graph, pdf, trello, xes };
