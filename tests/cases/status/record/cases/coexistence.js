const { traceCases } = require("../traces.js");

const vacuous = { note: "Declare's co-existence holds when neither occurs; the node's help asks for both" };
module.exports = traceCases({
    type: "coexistence",
    config: { eventAName: "A", eventBName: "B" },
    orders: [
        ["A then B", "A1 B2"],
        ["B then A", "B1 A2"],
        ["A, C, B", "A1 C2 B3"],
        ["only A", "A1"],
        ["only B", "B1"],
        ["neither", "C1 D2", vacuous],
        ["A B A", "A1 B2 A3"],
    ],
});
