const { body, event, events, shapes } = require("../messages.js");

const NEVER = "reads body.data and timestampProperty, which the editor never sets: the configured activity is never looked for";
const one = (title, msg, more = {}) => ({
    title: `last-timestamp: ${title}`,
    msg,
    ...more,
    config: { activity: "A", position: 1, ...more.config },
});
const data = () => [{ at: "2024-03-01T10:00:00Z" }, { at: "2024-03-02T12:00:00+02:00" }, { at: "2024-02-01" }];
const told = (more, msg = { payload: {} }) => body({ data: data(), timestampProperty: "at", ...more }, msg);
const as = { wrong: "only reachable with body.data and body.timestampProperty, which no editor field tells of" };

module.exports = [
    ...Object.entries(shapes(events("A1 B2 A3"))).map(([place, payload]) =>
        one(`activity in ${place}`, { payload }, { wrong: NEVER }),
    ),
    one(
        "activity missing in the trace",
        { payload: { events: events("B1") } },
        { note: "null is right here, though by accident" },
    ),
    one("empty events", { payload: { events: [] } }, { note: "null is right here, though by accident" }),
    one("A not last in the document", { payload: { events: events("A5 A1 B9") } }, { wrong: NEVER }),
    one("without timestamps", { payload: { events: [event("A")] } }, { note: "null is right here, though by accident" }),
    one("position as text", { payload: { events: events("A1") } }, { config: { position: "2" }, wrong: NEVER }),
    one("position empty", { payload: { events: events("A1") } }, { config: { position: "" }, wrong: NEVER }),
    one("body over config: position", body({ position: 2 }, { payload: { events: events("A1") } }), { wrong: NEVER }),
    one("body over config: position 0", body({ position: 0 }, { payload: { events: events("A1") } }), { wrong: NEVER }),
    one("body over config: activity", body({ activity: "B" }, { payload: { events: events("A1 B2") } }), { wrong: NEVER }),
    one("body.data, the latest counts", told({}), as),
    one("body.data, nested", told({ data: { list: [{ deep: data() }] } }), as),
    one("body.data, first date unreadable", told({ data: [{ at: "soon" }, ...data()] }), {
        wrong: "an unreadable first date stays the latest: NaN",
    }),
    one("body.data, later date unreadable", told({ data: [...data(), { at: "soon" }] }), as),
    one("body.data, milliseconds", told({ data: [{ at: 1709287200000 }, { at: 1 }] }), as),
    one("body.data, a value equal to the property's name", told({ data: [{ key: "at", value: "2024-03-01" }] }), {
        wrong: "an object with the name as value is taken, but has no such property: NaN",
    }),
    one("body.data empty", told({ data: [] }), as),
    one("body.data without timestampProperty", body({ data: data() }, { payload: {} }), as),
    one("payload.time there is overwritten", { payload: { time: 5, events: [] } }),
    one("all else is kept", { topic: "t", position: 9, payload: { events: [], evidences: [], scope: { a: 1 } } }),
    one("payload a text", { payload: "abc" }, { wrong: "time cannot be set on a payload that is no object" }),
    one("payload null", { payload: null }, { drops: true }),
    one("no payload", {}, { drops: true }),
];
