// The cases that every node over the events of a trace shares; `rules` says what the nodes differ in.
const { attr, body, event, events, evidence, shapes } = require("./messages.js");

// `rules`: {type, config, orders: [[title, events, {config?, wrong?, note?}]], always: why every case is wrong}
function traceCases({ type, config, orders, always, dated }) {
    const cases = [];
    const add = (title, one) => cases.push({ title: `${type}: ${title}`, config, wrong: always, ...one });
    const merged = (more) => ({ ...config, ...more });
    for (const [title, text, more = {}] of orders) {
        for (const negate of [false, true]) {
            add(`${title}${negate ? ", negated" : ""}`, {
                ...more,
                wrong: more.wrong ?? always,
                config: merged({ negate, storeEvidences: true, ...more.config }),
                msg: { payload: { trace: { event: events(text) } } },
            });
        }
    }
    const ab = () => events("A1 B2");
    for (const [place, payload] of Object.entries(shapes(ab()))) {
        for (const storeEvidences of [false, true]) {
            add(`events in ${place}, evidences ${storeEvidences ? "on" : "off"}`, {
                config: merged({ storeEvidences }),
                msg: { payload },
                wrong: place === "payload" ? (always ?? undefined) : always,
            });
        }
    }
    add("payload.trace without events, payload.events used", { msg: { payload: { trace: { name: "t" }, events: ab() } } });
    add("trace before event before events", { msg: { payload: { trace: { event: ab() }, event: events("C1"), events: [] } } });
    add("empty trace.event array is used", {
        config: merged({ storeEvidences: true }),
        msg: { payload: { trace: { event: [] }, event: ab() } },
    });
    add("empty events", { config: merged({ storeEvidences: true }), msg: { payload: { events: [] } } });
    add("empty events, negated", { config: merged({ storeEvidences: true, negate: true }), msg: { payload: { events: [] } } });
    add("event.string is one object", { msg: { payload: { events: ab().map((e) => ({ ...e, string: e.string[1] })) } } });
    add("event without string", { msg: { payload: { events: [{ date: ab()[0].date }, ...ab()] } } });
    add("event without concept:name", { msg: { payload: { events: [{ string: [attr("org:resource", "A")] }, ...ab()] } } });
    add("two concept:name, the first counts", {
        msg: {
            payload: {
                events: [
                    event("A", "2024-03-01T10:01:00Z"),
                    event("C", "2024-03-01T10:02:00Z", { string: [attr("concept:name", "C"), attr("concept:name", "B")] }),
                ],
            },
        },
    });
    add("names differ in case", { msg: { payload: { events: events("a1 b2") } } });
    add("name with blanks", {
        msg: { payload: { events: [event("A ", "2024-03-01T10:01:00Z"), event("B", "2024-03-01T10:02:00Z")] } },
    });
    add("A and B the same name", {
        config: merged({ eventBName: "A", storeEvidences: true }),
        msg: { payload: { events: events("A1 A2") } },
        wrong: always ?? "with one name for A and B the node never sees a B",
    });
    add("names empty", { config: merged({ eventAName: "", eventBName: "" }), msg: { payload: { events: ab() } } });
    add("evidences there are kept", {
        config: merged({ storeEvidences: true }),
        msg: { payload: { events: ab(), evidences: [evidence("before", true)] } },
    });
    add("evidences there, none stored", { msg: { payload: { events: ab(), evidences: [evidence("before", true)] } } });
    add("evidences not an array", {
        config: merged({ storeEvidences: true }),
        msg: { payload: { events: ab(), evidences: "none" } },
    });
    add("other payload properties are kept", { msg: { topic: "t", payload: { events: ab(), scope: { team: "x" }, index: 3 } } });
    add("result there is overwritten", { msg: { payload: { events: [], result: "old" } } });
    add("body over config: names", {
        config: merged({ eventAName: "X", eventBName: "Y", storeEvidences: true }),
        msg: body({ eventAName: "A", eventBName: "B" }, { payload: { events: ab() } }),
    });
    add("body over config: one name", {
        config: merged({ eventBName: "Y", storeEvidences: true }),
        msg: body({ eventBName: "B" }, { payload: { events: ab() } }),
    });
    add("body over config: empty name wins", {
        config: merged({ storeEvidences: true }),
        msg: body({ eventAName: "" }, { payload: { events: ab() } }),
    });
    add("body over config: null does not win", {
        config: merged({ storeEvidences: true }),
        msg: body({ eventAName: null, negate: null }, { payload: { events: ab() } }),
    });
    add("body over config: negate true", { msg: body({ negate: true }, { payload: { events: ab() } }) });
    add("body over config: negate false", {
        config: merged({ negate: true }),
        msg: body({ negate: false }, { payload: { events: ab() } }),
    });
    add('body over config: negate the text "false"', {
        msg: body({ negate: "false" }, { payload: { events: ab() } }),
        wrong: always ?? 'the text "false" negates',
    });
    add("body: storeEvidences is not read from it", {
        msg: body({ storeEvidences: true }, { payload: { events: ab() } }),
        wrong: always ?? "params advertise storeEvidences, yet the body's is ignored",
    });
    add("no body", { msg: { req: {}, payload: { events: ab() } } });
    add("query is not read", { msg: { req: { query: { eventAName: "C" }, body: {} }, payload: { events: ab() } } });
    const unlike = [
        ["an object without events", { foo: 1 }],
        ["trace.event one object", { trace: { event: ab()[0] } }],
        ["events a text", { events: "A,B" }],
        ["a text", "A,B"],
        ["a number", 5],
        ["false", false],
        ["true", true],
    ];
    for (const [title, payload] of unlike)
        add(`payload ${title}`, {
            config: merged({ storeEvidences: true }),
            msg: { payload },
            wrong:
                always ??
                (typeof payload === "object"
                    ? "an unreadable trace is reported as false, not as unknown"
                    : "result cannot be set on a payload that is no object"),
        });
    add("payload null", { msg: { payload: null } });
    add("no payload", { msg: {} });
    add("event null", { msg: { payload: { events: [null, ...ab()] } } });
    add("string item without $", { msg: { payload: { events: [{ string: [{ key: "concept:name", value: "A" }] }, ...ab()] } } });
    if (!dated) add("no timestamps", { msg: { payload: { events: [event("A"), event("B")] } } });
    return cases;
}

module.exports = { traceCases };
