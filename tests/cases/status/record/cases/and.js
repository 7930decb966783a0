const { pairCases } = require("../pairs.js");
module.exports = pairCases("and");
