// @ts-check
/// <reference path="./probity.d.ts" />
// {{Title}}: compares a number with a limit.

/** @type {probity.Node} */
export const node = {
  type: "{{name}}",
  category: "validation",
  color: "#7aa2c4",
  icon: "fa-balance-scale",
  summary: "Compares the number in the payload with a limit.",
  help: `A number that is large enough leaves by the first output, any other by the second. A caller may send
another \`limit\` in the body of its request.`,
  outputs: ["large enough", "too small"],
  // JSON Schema of the node's properties: the editor's form, checks and defaults.
  config: {
    limit: { type: "number", default: 10, title: "Limit", description: "The smallest number that is large enough" },
  },
  // Properties of the message that are handed over; leave it out for all.
  wants: ["payload", "req"],
  // What the node may use; each needs an entry in plugin.toml.
  capabilities: ["evidence"],

  process(msg, node) {
    const limit = msg.req?.body?.limit ?? node.config.limit;
    const number = msg.payload?.number;
    if (typeof number !== "number") throw new TypeError("msg.payload.number is not a number");
    const result = number >= limit;
    node.evidence("number", number, result);
    msg.payload = { number, limit, result };
    return result ? [msg, null] : [null, msg];
  },
};
