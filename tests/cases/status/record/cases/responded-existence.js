const { traceCases } = require("../traces.js");
const { attr, event } = require("../messages.js");

const note = "compares the last A with the last B by time; Declare's responded existence asks only whether B occurs where A does";
const last = { wrong: "only the last A and the last B are compared: the B after the first A is overlooked" };
const config = { eventAName: "A", eventBName: "B" };
const on = { ...config, storeEvidences: true };
const at = (a, b) => ({ payload: { events: [event("A", a), event("B", b)] } });
const one = (title, msg, more) => ({ title: `responded-existence: ${title}`, config: on, msg, ...more });

module.exports = [
    ...traceCases({
        type: "responded-existence",
        config,
        dated: true,
        orders: [
            ["A then B", "A1 B2", { note }],
            ["B then A", "B1 A2", { note }],
            ["A, C, B", "A1 C2 B3"],
            ["only A", "A1"],
            ["only B", "B1", { note: "Declare's constraint holds vacuously without A" }],
            ["neither", "C1 D2", { note: "Declare's constraint holds vacuously without A" }],
            ["A B A", "A1 B2 A3", last],
            ["A A B", "A1 A2 B3"],
            ["A B B", "A1 B2 B3"],
            ["B A B", "B1 A2 B3"],
            ["document order against time", "B5 A2"],
            ["last in the document, not in time", "A1 B5 A9 B4 A2", last],
        ],
    }),
    one("the same instant", at("2024-03-01T10:00:00Z", "2024-03-01T10:00:00Z")),
    one("one millisecond later", at("2024-03-01T10:00:00.000Z", "2024-03-01T10:00:00.001Z")),
    one("zones: same instant", at("2024-03-01T12:00:00+02:00", "2024-03-01T10:00:00Z")),
    one("zones: later by clock, earlier in fact", at("2024-03-01T10:00:00Z", "2024-03-01T11:00:00+02:00")),
    one("local time without zone, read in UTC", at("2024-03-01T10:00:00", "2024-03-01T10:30:00Z")),
    one("local time without zone, read in New York", at("2024-03-01T10:00:00", "2024-03-01T10:30:00Z"), {
        tz: "America/New_York",
        wrong: "a time without zone depends on the server's zone",
    }),
    one("date only", at("2024-03-01", "2024-03-01T00:00:01Z")),
    one("a date that is none", at("yesterday", "2024-03-01T10:00:00Z"), {
        wrong: "an unreadable time counts as order violated, not as unknown",
    }),
    one(
        "no timestamps",
        { payload: { events: [event("A"), event("B")] } },
        { wrong: "missing times count as false, not as unknown" },
    ),
    one(
        "another key than time:timestamp",
        {
            payload: {
                events: ["A", "B"].map((n, i) => ({ ...event(n), date: [attr("time:start", `2024-03-01T10:0${i}:00Z`)] })),
            },
        },
        { wrong: "missing times count as false, not as unknown" },
    ),
    one("date is one object", {
        payload: { events: ["A", "B"].map((n, i) => ({ ...event(n), date: attr("time:timestamp", `2024-03-01T10:0${i}:00Z`) })) },
    }),
    one("date is an empty array", { payload: { events: [{ ...event("A"), date: [] }, event("B", "2024-03-01T10:00:00Z")] } }),
    one(
        "the time is the second date",
        {
            payload: {
                events: ["A", "B"].map((n, i) => ({
                    ...event(n),
                    date: [attr("other", "2020-01-01"), attr("time:timestamp", `2024-03-01T10:0${i}:00Z`)],
                })),
            },
        },
        { wrong: "only the first date of an event is looked at" },
    ),
];
