const { pairCases } = require("../pairs.js");
const { evidence } = require("../messages.js");

const r = (result, status, more = {}) => ({
    ...(status === undefined ? {} : { req: { query: { status } } }),
    payload: { result, ...more },
});
const cases = pairCases("implies");
for (const [a, b] of [
    [true, true],
    [true, false],
    [false, true],
    [false, false],
]) {
    const holds = !a || b;
    for (const status of ["true", "false", "", "maybe"]) {
        const more =
            status === "false"
                ? { wrong: holds ? "status=false sends a result that is true; the help says only false ones" : undefined }
                : status === "true"
                  ? { drops: true, note: "by the help a result the status does not ask for is not sent" }
                  : { wrong: "any other status suppresses every result" };
        cases.push({
            title: `implies: ${a}, ${b}, status ${JSON.stringify(status)}`,
            msgs: [r(a, status), r(b, status)],
            ...more,
        });
    }
}
cases.push(
    { title: "implies: status of the second message counts", msgs: [r(true, "true"), r(false, "false")] },
    {
        title: "implies: status only on the first message",
        msgs: [r(true, "true"), r(false)],
        note: "the status is read from the message that completes the pair",
    },
    {
        title: "implies: after a suppressed result a new pair begins",
        msgs: [r(true, "true"), r(false, "true"), r(false), r(false)],
    },
    {
        title: "implies: the first message's evidence array is not copied",
        msgs: [r(true, undefined, { evidences: [evidence("a", true)] }), r(true)],
        config: { storeEvidences: true },
    },
    {
        title: "implies: status as a list",
        msgs: [r(true, ["true"]), r(true, ["true"])],
        wrong: "any other status suppresses every result",
    },
);
module.exports = cases;
