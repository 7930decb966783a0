// Records what Node-RED's parser nodes make of messages: see README.md.
const fs = require("fs"), path = require("path"), { createRequire } = require("module");
const load = createRequire(path.join(process.cwd(), "x.js"));
const util = load("@node-red/util").util;

const encode = (v) => {
    if (Buffer.isBuffer(v) || v instanceof Uint8Array) return { $t: "buffer", v: Buffer.from(v).toString("base64") };
    if (v instanceof Date) return { $t: "date", v: v.getTime() };
    if (v === undefined) return { $t: "undefined" };
    if (Object.is(v, -0)) return { $t: "number", v: "-0" };
    if (typeof v === "number" && !Number.isFinite(v)) return { $t: "number", v: String(v) };
    if (Array.isArray(v)) return v.map(encode);
    if (v && typeof v === "object") return Object.fromEntries(Object.keys(v).map((k) => [k, encode(v[k])]));
    return v;
};

/// Hands a node messages one after another; gives what it sent.
function run(file, config, msgs) {
    let make;
    const RED = { nodes: { createNode() {}, registerType: (_, f) => (make = f) }, util, settings: {}, _: (k) => k };
    load(file)(RED);
    const handlers = {}, out = [];
    let at = 0;
    const send = (m) => [m].flat(Infinity).forEach((m) => m && out.push({ t: at, kind: "out", id: "h", type: "helper", msg: encode(m) }));
    const node = { on: (e, f) => (handlers[e] = f), send, warn() {}, error() {}, status() {}, log() {} };
    make.call(node, { ...config });
    const events = [];
    return msgs.reduce(async (before, msg) => {
        await before;
        at += 10;
        events.push({ t: at, kind: "inject", id: "n", type: config.type, msg: encode(msg) });
        const given = util.cloneMessage(msg);
        given._msgid = "0123456789abcdef";
        const from = out.length;
        try { if (handlers.input) handlers.input.call(node, given, send, () => {}); } catch { /* an error sends nothing */ }
        await new Promise((done) => setTimeout(done, 2));
        events.push(...out.slice(from));
        return events;
    }, Promise.resolve());
}

const parser = (name) => `@node-red/nodes/core/parsers/70-${name}.js`;
const files = { csv: parser("CSV"), html: parser("HTML"), xml: parser("XML"), yaml: parser("YAML") };
const cases = { csv: [], html: [], xml: [], yaml: [] };
const add = (type, config, ...msgs) => cases[type].push({ config, msgs });

// csv: texts
const texts = [
    "a,b,c\n1,2,3\n", "a,b,c\r\n1,\"x, y\",3\r\n4,,6", "a,b\n\"q\"\"q\",' '\n\"\",0", "1,2\n\n3,4\n\n", "x", "", "\n", "a,b\n1",
    "a;b\n1;2", "a\tb\n1\t2\n", "007,+1,-01,1e3,0x10,1.,.5, 12 ,-", "a,b,a\n1,2,3", "\"a\nb\",c\n1,2", "# no\n# no\nh,i\n1,2\n",
    "é,😀\nü,\"ß\"\n", "1,2,3,4\n1,2\n", "a b, c \n1 , 2", "true,null,undefined,NaN,Infinity",
];
const readers = [
    { temp: "a,b,c" }, { hdrin: true, multi: "mult" }, { multi: "mult" }, { temp: "a,,c", multi: "mult" },
    { temp: "a,b,c", strings: false, include_empty_strings: true, include_null_values: true, multi: "mult" },
    { hdrin: true, skip: "2", multi: "mult" }, { sep: ";", hdrin: true, multi: "mult" }, { sep: "\\t", temp: "\"x, y\",z", multi: "mult" },
    { include_null_values: true, multi: "mult" },
];
for (const spec of ["", "rfc"]) for (const r of readers) for (const t of texts) add("csv", { type: "csv", spec, ...r }, { payload: t });
// csv: sequences of lines
const lines = ["h,i", "1,2", "3,\"x, y\""].map((payload, index, all) => ({ payload, parts: { id: "s", index, count: all.length } }));
for (const spec of ["", "rfc"]) for (const multi of ["one", "mult"]) for (const r of [{}, { hdrin: true }, { temp: "p,q" }, { hdrin: true, skip: "1" }])
    add("csv", { type: "csv", spec, multi, ...r }, ...lines);
// csv: objects
const rows = [
    { a: 1, b: "x" }, [{ a: 1, b: "x,y" }, { b: "q\"q", c: 3 }], [[1, "2", "a\nb"], ["x;y", 4]], [1, "two", 3.5, true], [{ a: null, b: false, c: { d: 1 } }],
    [{ a: [1, 2], b: "" }], [{ "x,y": 1, "z\"": 2 }], [{}],
];
const writers = [{}, { temp: "a,b,c" }, { hdrout: "all" }, { temp: "a,,b", hdrout: "all" }, { temp: "a,b", hdrout: "once", sep: ";" }, { temp: "a,b", ret: "\\r\\n", hdrout: true }];
for (const spec of ["", "rfc"]) for (const w of writers) for (const payload of rows) {
    add("csv", { type: "csv", spec, ...w }, { payload }, { payload });
    if (!w.temp) add("csv", { type: "csv", spec, ...w }, { payload, columns: "b,a" });
}
for (const spec of ["", "rfc"]) for (const msg of [{ payload: 1 }, { payload: true }, { other: 1 }, { reset: true }]) add("csv", { type: "csv", spec }, msg);

// html
const pages = [
    "<div id=a class='x y' data-q='a&quot;b<c>&amp;d'>  <p>café &amp; $5 'q' &nbsp;😀<br><img src=x alt='' width=2></p><!--c--><script>var a='<b>'&&1</script><table><tr><td>1<td>2</table></div>",
    "<ul><li class=x>one<li>two <b>bold<i>it</b>al</i><li></ul><ol><li>three</ol><h2>T</h2><a href='/x?a=1&b=2'>L</a>", "plain", "",
    "<!DOCTYPE html><html><head><title>T & t</title><style>p>a{}</style></head><body><form><input name=q value='1' disabled><textarea> t </textarea><select><option selected>o</select></form></body></html>",
];
const tags = ["p", "li", "td", "ul > li", "li:first", "li:last", "li:eq(1)", "li:gt(0)", "li:lt(2)", "li:even", "li:odd", "li:contains(\"o\")", "li, td", "li:not(.x)", "li:nth-child(2)", "[href]", "a[href^='/x']", "title", "input", "option", "textarea", "script", "*", "LI", "p:has(br)", "h1", "div p > img"];
for (const ret of ["html", "text", "attr", "compl"]) for (const as of ["single", "multi"]) for (const [i, payload] of pages.entries()) for (const tag of tags)
    if (as === "single" || (i < 2 && ["li", "p", "script"].includes(tag))) add("html", { type: "html", ret, as, tag }, { payload });
add("html", { type: "html", ret: "compl", chr: "c", tag: "li", outproperty: "out" }, { payload: pages[1] });
add("html", { type: "html" }, { payload: pages[1], select: "li" }, { payload: pages[1] }, { other: 1 });

// xml
const documents = [
    "<a x='1' y='&lt;'>t<b>1</b><b> </b><C/><d><![CDATA[<&]]></d>&amp;&#65;</a>", "<r><i>1</i><i k='v'>2</i></r>", "<a/>", "<a></a>", "<a> </a>", "<a k=''/>",
    "<?xml version='1.0'?><!DOCTYPE a><!-- c --><a><!-- d --><?pi x?>t</a>", "<p:a xmlns:p='urn:x' xmlns='urn:d' p:k='1' k='2'><b/></p:a>", "<a>\n  <b>  x   y  </b>\n  <b/>\n</a>",
    "<a><b></a>", "<a>", "x<a/>", "<a b=c/>", "<a>&nope;</a>", "<1/>", "", "  ", "<a/>tail", "<a k='1' k='2'/>", "<é>ü😀</é>", "<a>1<b/>2<b/>3</a>", "<a><![CDATA[]]></a>", "<a>]]></a>", "<a b/>", "<a>&#x1F600;</a>",
];
const options = [
    undefined, { explicitArray: false }, { explicitRoot: false }, { ignoreAttrs: true }, { mergeAttrs: true }, { mergeAttrs: true, explicitArray: false }, { trim: true, normalize: true }, { normalizeTags: true },
    { explicitCharkey: true, attrkey: "@", charkey: "#" }, { emptyTag: null }, { emptyTag: {} }, { xmlns: true }, { explicitChildren: true }, { explicitChildren: true, preserveChildrenOrder: true },
    { explicitChildren: true, preserveChildrenOrder: true, charsAsChildren: true }, { explicitChildren: true, preserveChildrenOrder: true, charsAsChildren: true, includeWhiteChars: true, normalize: true }, { explicitChildren: true, charsAsChildren: true },
];
for (const payload of documents) for (const o of options) add("xml", { type: "xml" }, o ? { payload, options: o } : { payload });
add("xml", { type: "xml", attr: "at", chr: "ch", property: "p" }, { p: documents[0] });
const objects = [
    { a: { $: { x: "<\"&'\t\n", n: 1, u: null }, b: ["1", 2, true, null, { c: null }], _: "t>\r" } }, { a: 1, b: "" }, { a: { b: "1" } }, { a: { b: "<", c: "]]>" } }, { a: "" }, { a: null }, { a: [] }, { a: {} },
    [{ a: 1 }, { b: 2 }], { a: [{ b: 1 }, { c: 2 }] }, { a: ["x", "y"] }, { a: { b: [[1, 2]] } }, { "a b": 1 }, { a: "\u0001" }, { a: { _: "x", b: {} } }, { a: { b: { c: { d: "e" } } } }, [], {}, { é: "😀" }, { a: { b: "x", _: "t" } },
];
const renderings = [
    undefined, {}, { headless: true }, { headless: true, renderOpts: { pretty: true, indent: "\t", newline: "\r\n" } }, { cdata: true, renderOpts: { pretty: false } }, { rootName: "r", xmldec: { version: "1.0" } },
    { headless: true, renderOpts: { pretty: true, allowEmpty: true } }, { renderOpts: { spaceBeforeSlash: " " } }, { doctype: { sysID: "x.dtd" }, xmldec: { version: "1.0", encoding: "latin1", standalone: false } }, { attrkey: "_", charkey: "$", headless: true },
];
for (const payload of objects) for (const o of renderings) add("xml", { type: "xml" }, o ? { payload, options: o } : { payload });
for (const msg of [{ payload: 1 }, { other: 1 }]) add("xml", { type: "xml" }, msg);

// yaml
const long = "word ".repeat(40).trim();
const yamls = [
    "a: 1\nb: [x, \"y\", null, ~, true, 0x1f, 1e3, .5]", "- a\n- b: c\n  d: |\n    x\n    y\n- >\n  f\n  g\n", "base: &b {x: 1, y: 2}\nm:\n  <<: *b\n  y: 3\nl:\n  - *b", "!!binary aGVsbG8=", "!!set {a, b}", "!!omap [a: 1, b: 2]",
    "!!pairs [a: 1, a: 2]", "? [1,2]\n: x", "{a: 1, a: 2}", "--- a\n--- b", "# c", "~", "a: !foo x", "x: !!str", "x: !!int 5", "x: !!str 5", "! 5", "a: b: c", "\"\\u00e9\\n\"", "'it''s'", "a:\n - x\n  - y", "1: a\n1.5: b\ntrue: c\nnull: d",
    "a: *nope", "x: |+\n  t\n\n", "x: >-\n  a\n  b\n\n  c\n", "<<: {a: 1}\nb: 2", "<<: [{a: 1}, {a: 2, b: 3}]\nc: 4", "a: y\nb: no\nc: off", "a: 12:30:45", "a: 1_000", "foo: bar\n  baz: qux", "- - - x", "[a, b", "{a: b", "%YAML 1.2\n---\nx", "a: \"b", "a: `x`", "a: @x",
    "- \"a\n  b\"\n- c\n  d", "a: !!null \"\"", "a: !!float 5", "a: 0o17\nb: 017\nc: 0b11\nd: -0x1\ne: +1", "a: 2026-03-01\nb: 2001-12-14t21:59:43.10-05:00\nc: 2001-1-2 3:04:05", "...", "---\n", "a: [1, 2,]", "{a, b: }", "? a\n? b", "- ", "a:\n", "\ufeffa: 1", "a: 'x'y", "a : 1", "a:b", "\"a\": 1",
    "employees:\n-firstName: John\n- lastName: Smith\n", "a: # c\n  b # d\n", "&x a: *x", "k: &a [1]\nl: *a", "   ", " \n ", "- !!seq [1]\n- !!map {a: 1}", "a: !!bool yes", "a: |\n  tab\there\n", "a: \"\\x41\\u0042\\t\\/\"",
];
for (const payload of yamls) add("yaml", { type: "yaml" }, { payload });
const values = [
    { a: 1, b: [1, { c: null }], d: {}, e: [] }, [[1, [2]], { x: [] }], { long, lines: `${long}\n${long}\n  ind\n${long}`, indent: " x\ny", nl: "\n" }, { d: new Date(0), n: -0, big: 1e21, small: 1e-7, nan: NaN, inf: -Infinity, u: undefined }, [undefined, 1], { b: Buffer.from("hello") },
    { ["k ".repeat(600)]: 1 }, { "a b": 1, true: 3, "x\ny": 4, "": 5 }, { nested: { deep: { er: [{ a: 1, b: 2 }, [3]] } } }, [long], { a: [` ${long}`] }, { x: "\nfoo" }, { z: long.replace(/ /g, "  ") }, { a: `${"x".repeat(100)} y` }, [[], {}, [[]], [{}]], { a: { b: { c: { d: { e: { f: long } } } } } }, null,
    ["yes", "true", "1", "1.5", "null", "~", "", "a: b", "a #b", "a#b", "- x", "-x", "?", "? x", "it's", "\"q\"", "a\nb", "a\nb\n", "a\n\n", " lead", "trail ", "tab\tx", "é", "😀", "\u0001", "12:30", "12:30:45", "<<", "=", "@x", "%x", "`x", "2026-03-01", "0x1f", "a:", "a,b", "[x", "{x", "x]", "#x", "&x", "*x", "!x", "|x", ">x", "\u00a0", "\u2028", "\ufeff", "a\r\nb", "Yes", "yES", "---", "...", "-", "\n\n", " \n", "x\n\ny", "\u007f", "\u0085"],
];
for (const payload of values) add("yaml", { type: "yaml" }, { payload });
for (const msg of [{ payload: 1 }, { payload: true }, { payload: Buffer.from("a: 1") }, { other: 1 }]) add("yaml", { type: "yaml" }, msg);

(async () => {
    for (const [type, list] of Object.entries(cases)) {
        const lines = [];
        for (const [i, { config, msgs }] of list.entries()) {
            const events = await run(files[type], config, msgs);
            const flow = [{ id: "n", ...config, wires: [["h"]] }, { id: "h", type: "helper" }];
            lines.push(JSON.stringify({ title: `${i}`, flow, events }));
        }
        fs.writeFileSync(path.join(process.argv[2], `${type}.json`), `[\n${lines.join(",\n")}\n]\n`);
        console.log(type, lines.length);
    }
})();
