const { body } = require("../messages.js");

const config = { attribute: "date", startDate: "2024-03-01", endDate: "2024-03-31" };
const one = (title, payload, more = {}) => ({
    title: `filter-by-date: ${title}`,
    msg: { payload },
    ...more,
    config: { ...config, ...more.config },
});
const dropped = { drops: true, note: "dropped: an HTTP caller gets no answer" };
const SAME = "one message object is sent for every hit, so all receivers see the last hit";

module.exports = [
    one("inside", { date: "2024-03-15T10:00:00Z", name: "x" }),
    one("before", { date: "2024-02-29T23:59:59.999Z" }, dropped),
    one("after", { date: "2024-04-01" }, dropped),
    one("the start itself", { date: "2024-03-01T00:00:00.000Z" }),
    one("a millisecond before the start", { date: "2024-02-29T23:59:59.999Z" }, dropped),
    one("the end itself", { date: "2024-03-31T00:00:00.000Z" }),
    one(
        "a millisecond after the end",
        { date: "2024-03-31T00:00:00.001Z" },
        { drops: true, wrong: "an end date without time is its first instant: the day chosen in the editor is excluded" },
    ),
    one(
        "later on the end day",
        { date: "2024-03-31T18:00:00Z" },
        { drops: true, wrong: "an end date without time is its first instant: the day chosen in the editor is excluded" },
    ),
    one("date only", { date: "2024-03-31" }),
    one("with zone", { date: "2024-03-01T01:00:00+02:00" }, dropped),
    one("zone on the other side", { date: "2024-02-29T23:00:00-02:00" }),
    one("without zone, read in UTC", { date: "2024-03-01T00:30:00" }),
    one(
        "without zone, read in Madrid",
        { date: "2024-03-01T00:30:00" },
        { ...dropped, tz: "Europe/Madrid", wrong: "a time without zone depends on the server's zone" },
    ),
    one(
        "start and end with time and zone",
        { date: "2024-03-10T09:00:00Z" },
        { config: { startDate: "2024-03-10T10:00:00+01:00", endDate: "2024-03-10T10:00:00+01:00" } },
    ),
    one("start after end", { date: "2024-03-15" }, { ...dropped, config: { startDate: "2024-04-01", endDate: "2024-03-01" } }),
    one("other date formats", { date: "March 15, 2024" }),
    one("RFC 2822", { date: "Fri, 15 Mar 2024 10:00:00 GMT" }),
    one("day first", { date: "15/03/2024" }, dropped),
    one(
        "milliseconds as number",
        { date: 1710496800000 },
        { drops: true, wrong: "Date.parse does not read milliseconds, unlike filter-by's date" },
    ),
    one("a Date", null, { make: () => ({ msg: { payload: { date: new Date("2024-03-15T10:00:00Z") } } }) }),
    one("unreadable", { date: "soon" }, dropped),
    one("missing", { name: "x" }, dropped),
    one("null", { date: null }, dropped),
    one("empty", { date: "" }, dropped),
    one(
        "no start",
        { date: "2024-03-15" },
        { drops: true, config: { startDate: "" }, wrong: "an open start or end lets nothing through" },
    ),
    one(
        "no end",
        { date: "2024-03-15" },
        { drops: true, config: { endDate: "" }, wrong: "an open start or end lets nothing through" },
    ),
    one(
        "unreadable start",
        { date: "2024-03-15" },
        { drops: true, config: { startDate: "soon" }, wrong: "an unreadable start is not reported" },
    ),
    one("no attribute", { date: "2024-03-15" }, { ...dropped, config: { attribute: "" } }),
    one("attribute is no path", { a: { date: "2024-03-15" } }, { ...dropped, config: { attribute: "a.date" } }),
    one("array, one hit", [
        { date: "2024-02-01", n: 1 },
        { date: "2024-03-15", n: 2 },
        { date: "2024-05-01", n: 3 },
    ]),
    one(
        "array, two hits",
        [
            { date: "2024-03-15", n: 1 },
            { date: "2024-02-01", n: 2 },
            { date: "2024-03-16", n: 3 },
        ],
        { wrong: SAME },
    ),
    one("array, no hit", [{ date: "2024-02-01" }], dropped),
    one("empty array", [], dropped),
    one("array with texts", ["2024-03-15"], dropped),
    one("array with null first", [null, { date: "2024-03-15" }], {
        wrong: "an element that is null ends the rest with an error and sends the whole array on",
    }),
    one("array with null after a hit", [{ date: "2024-03-15", n: 1 }, null], {
        wrong: "an element that is null: error, and the hit is sent twice",
    }),
    one("array of arrays", [[{ date: "2024-03-15" }]], dropped),
    one("payload null", null, { wrong: "an unreadable payload passes the filter" }),
    one("payload a text", "2024-03-15", dropped),
    one("payload a number", 5, dropped),
    { title: "filter-by-date: no payload", config, msg: {}, wrong: "an unreadable payload passes the filter" },
    one("body over config", null, {
        config: { attribute: "x", startDate: "1999-01-01", endDate: "1999-12-31" },
        msg: body({ attribute: "date", startDate: "2024-03-01", endDate: "2024-03-31" }, { payload: { date: "2024-03-15" } }),
    }),
    one("body over config: null does not win", null, {
        msg: body({ attribute: null, startDate: null, endDate: null }, { payload: { date: "2024-03-15" } }),
    }),
    one("body over config: empty wins", null, {
        drops: true,
        msg: body({ startDate: "" }, { payload: { date: "2024-03-15" } }),
        wrong: "an open start or end lets nothing through",
    }),
    one("body: milliseconds as start", null, { msg: body({ startDate: 1709251200000 }, { payload: { date: "2024-03-15" } }) }),
    one("all else is kept", null, { msg: { topic: "t", payload: { date: "2024-03-15", evidences: [] } } }),
];
