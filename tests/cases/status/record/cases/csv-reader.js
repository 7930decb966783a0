const { body } = require("../messages.js");

const SAME = "one message object is sent for every row: all rows that are read together arrive as the last one";
const one = (title, text, more = {}) => ({
    title: `csv-reader: ${title}`,
    files: { "rows.csv": text },
    msg: { payload: "in" },
    wrong: SAME,
    ...more,
    config: { path: "{{files}}/rows.csv", ...more.config },
});
const quiet = { drops: true, note: "an error without a message: a Catch node does not see it" };
const fewer = { wrong: "a row with fewer columns than the header ends the whole Node-RED process" };

module.exports = [
    one("one row", "name,age,city\nAlice,30,New York\n"),
    one("two rows", "name,age,city\nAlice,30,New York\nBob,25,Los Angeles\n"),
    one("no newline at the end", "a,b\n1,2"),
    one("CRLF", "a,b\r\n1,2\r\n3,4\r\n"),
    one("CR", "a,b\r1,2\r3,4\r"),
    one("quoted comma", 'a,b\n"x, y",2\n'),
    one("quoted quote", 'a,b\n"say ""hi""",2\n', { wrong: `${SAME}; doubled quotes stay doubled` }),
    one("quoted header", '"a","b"\n1,2\n'),
    one("quoted comma in the header", '"a,b",c\n1,2\n', { wrong: "the header is split at every comma, quoted or not" }),
    one("newline in quotes", 'a,b\n"x\ny",2\n', {
        wrong: "a newline in quotes ends the row; the short row ends the whole process",
    }),
    one("blanks around", " a , b \n 1 , 2 \n"),
    one("blanks in quotes", 'a,b\n" 1 "," 2"\n'),
    one("empty fields", "a,b,c\n1,,3\n,,\n"),
    one("more columns than the header", "a,b\n1,2,3,4\n"),
    one("fewer columns than the header", "a,b,c\n1,2\n", fewer),
    one("blank line with one column", "a\n1\n\n2\n"),
    one("blank line with two columns", "a,b\n1,2\n\n3,4\n", fewer),
    one("blank line at the end", "a,b\n1,2\n\n", fewer),
    one("header only", "a,b\n", { wrong: undefined }),
    one("empty file", "", { wrong: undefined }),
    one("blank first line", "\na,b\n1,2\n", { wrong: "a blank first line is the header" }),
    one("double header name: the later column counts", "a,a\n1,2\n"),
    one("semicolons", "a;b\n1;2\n"),
    one("numbers stay text", "a\n1.50\n"),
    one("byte order mark", "\ufeffa,b\n1,2\n", { wrong: `${SAME}; the mark stays in the first key` }),
    one("UTF-8", "naïve,b\nAño,€\n"),
    one("open quote", 'a,b\n"1,2\n', { wrong: SAME }),
    one("header __proto__", "__proto__,b\n1,2\n"),
    one("body over config", "a\n1\n", {
        config: { path: "/nowhere.csv" },
        msg: body({ path: "{{files}}/rows.csv" }),
        note: "any path of the host may come from the request's body: a hole",
    }),
    one("body over config: null wins", "a\n1\n", { msg: body({ path: null }), drops: true, wrong: undefined }),
    one("body over config: empty wins", "a\n1\n", { msg: body({ path: "" }), drops: true, wrong: undefined }),
    one("no path", "", { config: { path: "" }, drops: true, wrong: undefined }),
    one("file missing", "", { config: { path: "{{files}}/none.csv" }, wrong: undefined, ...quiet }),
    one("path a folder", "", { config: { path: "{{files}}" }, wrong: undefined, ...quiet }),
    one("all else is kept", "a\n1\n", { msg: { topic: "t", req: { body: {} }, payload: "in" } }),
    one("no payload", "a\n1\n", { msg: {} }),
].map((c) => ({ ...c, settle: 120 }));
