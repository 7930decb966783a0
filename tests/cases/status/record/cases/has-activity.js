const { attr, body, event, events, evidence, shapes } = require("../messages.js");

const FUZZY = "the search is fuzzy (Fuse.js, threshold 0.3): a similar name counts as the activity";
const config = { conceptName: "A", attribute: "concept:name", value: "", storeEvidences: true };
const named = (...names) => ({ events: names.map((n) => event(n, "2024-03-01T10:00:00Z")) });
const one = (title, payload, more = {}) => ({
    title: `has-activity: ${title}`,
    msg: { payload },
    ...more,
    config: { ...config, ...more.config },
});
const find = (conceptName, payload, more = {}) =>
    one(
        `${JSON.stringify(conceptName)} in ${payload.events.map((e) => JSON.stringify(e.string[1].$.value)).join(", ")}`,
        payload,
        { ...more, config: { conceptName, ...more.config } },
    );
const flat = (...rows) => ({ events: rows });
const at = { attribute: "activity", value: "activity" };
const UNREAD = { wrong: "an unreadable trace is reported as false, not as unknown" };

module.exports = [
    ...Object.entries(shapes([event("Approve"), event("Pay")])).map(([place, payload]) =>
        one(`activity in ${place}`, payload, { config: { conceptName: "Approve" } }),
    ),
    find("Approve", named("Approve")),
    find("Approve", named("Pay", "Ship")),
    find("Approve", named("approve"), { wrong: FUZZY }),
    find("approve", named("APPROVE"), { wrong: FUZZY }),
    find("Approve", named("Approve order"), { wrong: FUZZY }),
    find("Approve order", named("Approve")),
    find("Intermediat", named("Intermediate"), { wrong: FUZZY }),
    find("Aprove", named("Approve"), { wrong: FUZZY }),
    find("Approve", named("Aprove"), { wrong: FUZZY }),
    find("Approve", named("Improve"), { wrong: FUZZY }),
    find("Reject", named("Project"), { wrong: FUZZY }),
    find("Pay", named("Payment", "Repay", "Pay", "Play"), {
        wrong: "true is right, yet the evidence lists similar names as hits",
    }),
    find("Send fine", named("Send invoice"), { wrong: FUZZY }),
    find("Send fine", named("We shall at some later time Send fine"), { wrong: FUZZY }),
    find("A", named("B")),
    find("A", named("AB"), { wrong: FUZZY }),
    find("A", named("CASE"), { wrong: FUZZY }),
    find("Añadir", named("Anadir"), { wrong: FUZZY }),
    find("", named("A")),
    find(
        "A name that is very long, longer than thirty-two letters",
        named("A name that is very long, longer than thirty-two letters"),
    ),
    find(" A ", named("A")),
    one("no such attribute", named("A"), { config: { attribute: "nothing" } }),
    one("attribute empty", named("A"), { config: { attribute: "" } }),
    one("evidences off", named("A"), { config: { storeEvidences: false } }),
    one("evidences off, not found", named("Zebra"), { config: { storeEvidences: false, conceptName: "Pay" } }),
    one("other attributes are not searched", { events: [event("X")] }, { config: { conceptName: "Ana" } }),
    one("value a key of plain rows", flat({ activity: "Approve", who: "Ana" }, { activity: "Pay" }), {
        config: { ...at, conceptName: "Approve" },
    }),
    one("value another key of plain rows", flat({ activity: "Approve", who: "Ana" }), {
        config: { ...at, value: "who", conceptName: "Ana" },
    }),
    one("value empty on plain rows: the key `value`", flat({ activity: "Approve", value: "Pay" }), {
        config: { ...at, value: "", conceptName: "Pay" },
    }),
    one("value empty on plain rows without `value`", flat({ activity: "Approve" }), {
        config: { ...at, value: "", conceptName: "Approve" },
        wrong: "the help says the attribute itself is searched",
    }),
    one("value a path", flat({ activity: { name: "Approve" } }), {
        config: { ...at, value: "activity.name", conceptName: "Approve" },
    }),
    one("value a number in the data", flat({ activity: 12 }), { config: { ...at, conceptName: "12" } }),
    one("value a list in the data", flat({ activity: ["Approve", "Pay"] }), { config: { ...at, conceptName: "Pay" } }),
    one("row with the attribute's name as a value", flat({ kind: "activity", value: "Approve" }), {
        config: { ...at, value: "", conceptName: "Approve" },
    }),
    one("nested rows are not searched below a hit", flat({ activity: "Pay", sub: [{ activity: "Approve" }] }), {
        config: { ...at, conceptName: "Approve" },
    }),
    one("empty events", { events: [] }),
    one("event null", { events: [null, event("A")] }),
    one("events texts", { events: ["A", "B"] }),
    one("event.string one object", { events: [{ string: attr("concept:name", "A") }] }),
    one("evidences there are kept", { ...named("A"), evidences: [evidence("x", true)] }),
    one("body over config", null, {
        config: { conceptName: "x", attribute: "y", value: "z" },
        msg: body({ conceptName: "A", attribute: "concept:name", value: "" }, { payload: named("A") }),
    }),
    one("body over config: null does not win", null, {
        msg: body({ conceptName: null, attribute: null, value: null }, { payload: named("A") }),
    }),
    one("body: storeEvidences is not read from it", null, {
        config: { storeEvidences: false },
        msg: body({ storeEvidences: true }, { payload: named("A") }),
        wrong: "params advertise storeEvidences, yet the body's is ignored",
    }),
    one("conceptName a number in the body", null, { msg: body({ conceptName: 12 }, { payload: named("12") }) }),
    one("conceptName a list in the body", null, { msg: body({ conceptName: ["A"] }, { payload: named("A") }) }),
    one("payload an object without events", { foo: 1 }, UNREAD),
    one("payload a text", "A", { wrong: "result cannot be set on a text" }),
    one("payload a number", 5, { wrong: "result cannot be set on a number" }),
    one("payload null", null),
    { title: "has-activity: no payload", config, msg: {} },
    one("all else is kept", null, { msg: { topic: "t", payload: { ...named("A"), index: 1 } } }),
    one("three events", { events: events("A1 B2 A3") }),
];
