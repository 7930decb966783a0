const { traceCases } = require("../traces.js");

const always = "payload.result is never written: only the evidence tells, and negated it is always false";
module.exports = traceCases({
    type: "response",
    config: { eventAName: "A", eventBName: "B" },
    always,
    orders: [
        ["A then B", "A1 B2"],
        ["B then A", "B1 A2"],
        ["A, C, B", "A1 C2 B3"],
        ["only A", "A1"],
        ["only B", "B1"],
        ["neither", "C1 D2"],
        ["A B A", "A1 B2 A3"],
        ["A A B", "A1 A2 B3"],
        ["A B B", "A1 B2 B3"],
        ["B A B", "B1 A2 B3"],
        ["A B A B", "A1 B2 A3 B4"],
        ["document order against time", "A5 B2"],
    ],
});
