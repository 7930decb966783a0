// Builders for the messages of the cases: XES events as xml2js gives them, traces in every place a node looks.
const attr = (key, value) => ({ $: { key, value } });

// `date` undefined: an event without a time.
function event(name, date, more = {}) {
    const made = { string: [attr("org:resource", "Ana"), attr("concept:name", name)] };
    if (date !== undefined) made.date = [attr("time:timestamp", date)];
    return { ...made, ...more };
}

// "A1 B2": A at minute 1, B at minute 2 of a fixed hour.
const events = (text) =>
    (text ? text.split(" ") : []).map((word) => event(word[0], `2024-03-01T10:${word.slice(1).padStart(2, "0")}:00.000Z`));

const shapes = (list) => ({
    "payload.trace.event": { trace: { event: list } },
    "payload.event": { event: list },
    "payload.events": { events: list },
    payload: list,
});

const body = (given, msg = {}) => ({ req: { body: given }, ...msg });

const evidence = (key, result) => ({ id: `given-${key}`, key, value: key, result });

module.exports = { attr, body, event, events, evidence, shapes };
