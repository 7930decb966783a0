const { body } = require("../messages.js");

const TYPE = "reads config.type (the node's own type) in place of config.valueType: a configured node never passes anything";
const EQUAL = ["Clasification", "Importance", "ContentType", "State", "ActivityPipe", "AssetPipe", "ActorPipe"];
const config = { attribute: "kind", value: "Urgent" };
const one = (title, more) => ({ title: `filter-by: ${title}`, ...more, config: { ...config, ...more.config } });
const asked = (valueType, payload, more = {}) => body({ valueType, ...more }, { payload });
const dropped = { drops: true, note: "dropped: an HTTP caller gets no answer" };
const monthsAgo = (title, date, value, more = {}) =>
    one(`DateFromToday by the body: ${title}`, {
        now: "2024-03-31T12:00:00.000Z",
        msg: asked("DateFromToday", { date }),
        ...more,
        config: { attribute: "date", value },
    });
const kind = (title, payload, more = {}) => one(`State by the body: ${title}`, { msg: asked("State", payload), ...more });

module.exports = [
    ...[...EQUAL, "DateFromToday"].map((valueType) =>
        one(`${valueType} configured`, {
            config: valueType === "DateFromToday" ? { valueType, attribute: "date", value: "1200" } : { valueType },
            msg: { payload: { kind: "Urgent", date: "2024-03-01" } },
            wrong: TYPE,
        }),
    ),
    ...EQUAL.flatMap((valueType) => [
        one(`${valueType} by the body, equal`, { msg: asked(valueType, { kind: "Urgent", other: 1 }) }),
        one(`${valueType} by the body, not equal`, { msg: asked(valueType, { kind: "Low" }), ...dropped }),
    ]),
    kind("case counts", { kind: "urgent" }, dropped),
    kind("attribute missing", {}, dropped),
    kind("attribute null", { kind: null }, dropped),
    kind("attribute a list", { kind: ["Urgent"] }, dropped),
    kind(
        "number in the data, text configured",
        { kind: 5 },
        { ...dropped, config: { value: "5" }, wrong: "a configured value is always a text and never equals a number" },
    ),
    kind("number in data and body", { kind: 5 }, { msg: asked("State", { kind: 5 }, { value: 5 }) }),
    kind("boolean in data and body", { kind: false }, { msg: asked("State", { kind: false }, { value: false }) }),
    kind("empty value equals empty", { kind: "" }, { msg: asked("State", { kind: "" }, { value: "" }) }),
    kind("value null in the body falls back", { kind: "Urgent" }, { msg: asked("State", { kind: "Urgent" }, { value: null }) }),
    kind("attribute by the body", {}, { msg: asked("State", { level: "Urgent" }, { attribute: "level" }) }),
    kind("attribute is no path", {}, { msg: asked("State", { a: { b: "Urgent" } }, { attribute: "a.b" }), ...dropped }),
    kind("attribute empty", {}, { msg: asked("State", { "": "Urgent" }, { attribute: "" }) }),
    kind("NaN never equals", {}, { msg: asked("State", { kind: NaN }, { value: NaN }), ...dropped }),
    kind(
        "both missing: undefined equals undefined",
        {},
        { config: { value: undefined }, wrong: "without value and attribute everything passes" },
    ),
    kind(
        "inherited attribute",
        {},
        { msg: asked("State", "Urgent", { attribute: "length", value: 6 }), note: "works on a text's length" },
    ),
    kind("payload null", null, { drops: true }),
    kind("payload a number", 5, dropped),
    one("State by the body, no payload", { msg: body({ valueType: "State" }), drops: true }),
    one("unknown type by the body", { msg: asked("Other", { kind: "Urgent" }), ...dropped }),
    one("Classification, as the help spells it", {
        msg: asked("Classification", { kind: "Urgent" }),
        drops: true,
        wrong: "the help's Classification is not known; the node says Clasification",
    }),
    one("empty type by the body", { msg: asked("", { kind: "Urgent" }), ...dropped }),
    one("null type by the body", { msg: asked(null, { kind: "Urgent" }), drops: true, wrong: TYPE }),
    monthsAgo("inside", "2024-03-15", "1"),
    monthsAgo("outside", "2024-01-15", "1", dropped),
    monthsAgo("in the future", "2030-01-01", "1"),
    monthsAgo("one month before 31 March is 31 February, so 2 March", "2024-03-01T12:00:00Z", "1", {
        ...dropped,
        wrong: "a month before 31 March overflows to 2 March",
    }),
    monthsAgo("the overflowed boundary itself", "2024-03-02T12:00:00.000Z", "1"),
    monthsAgo("boundary, three months", "2023-12-31T12:00:00.000Z", "3"),
    monthsAgo("a millisecond before the boundary", "2023-12-31T11:59:59.999Z", "3", dropped),
    monthsAgo("zero months", "2024-03-31T12:00:00.000Z", "0"),
    monthsAgo("zero months, earlier", "2024-03-31T11:59:59.999Z", "0", dropped),
    monthsAgo("negative months: only from a month on", "2024-04-15", "-1", dropped),
    monthsAgo("months with a fraction are cut", "2024-03-15", "1.9"),
    monthsAgo("months as number", "2024-03-15", 1),
    monthsAgo("months with a word", "2024-03-15", "2 months"),
    monthsAgo("months no number", "2024-03-15", "some", dropped),
    monthsAgo("months empty", "2024-03-15", "", dropped),
    monthsAgo("date unreadable", "last week", "1", dropped),
    monthsAgo("date missing", undefined, "1", dropped),
    monthsAgo("date null is 1970", null, "1", dropped),
    monthsAgo("date in milliseconds", 1711800000000, "1"),
    monthsAgo("date with zone", "2023-12-31T14:00:00+02:00", "3"),
    monthsAgo("across the change to summer time, in Madrid", "2024-02-29T12:00:00.000Z", "1", {
        tz: "Europe/Madrid",
        now: "2024-03-31T12:00:00.000Z",
        ...dropped,
        wrong: "a month before 31 March overflows to 2 March",
    }),
    one("all else is kept", { msg: { ...asked("State", { kind: "Urgent", evidences: [] }), topic: "t" } }),
];
