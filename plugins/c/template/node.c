// {{Title}}: compares a number with a limit.
#include "probity.h"

static bool process(probity_message *msg) {
  double number, limit;
  if (!probity_json_number(probity_get(msg, "payload.number"), &number)) {
    return probity_fail("msg.payload.number is not a number");
  }
  // A caller may send another limit in the body of its request.
  if (!probity_json_number(probity_get(msg, "req.body.limit"), &limit) &&
      !probity_json_number(probity_config_at("limit"), &limit)) {
    return probity_fail("limit is not a number");
  }
  bool result = number >= limit;
  const char *found = probity_number(number);
  if (!probity_evidence("number", found, result ? PROBITY_FOR : PROBITY_AGAINST, NULL)) return false;
  probity_set(msg, "payload", probity_format("{\"number\": %s, \"limit\": %s, \"result\": %s}", found,
                                             probity_number(limit), result ? "true" : "false"));
  return probity_emit(msg, result ? 0 : 1);
}

static const probity_node node = {
    .type = "{{name}}",
    .category = "validation",
    .color = "#7aa2c4",
    .icon = "fa-balance-scale",
    .summary = "Compares the number in the payload with a limit.",
    .help = "A number that is large enough leaves by the first output, any other by the second. A caller may send "
            "another `limit` in the body of its request.",
    .outputs = PROBITY_LIST("large enough", "too small"),
    .wants = PROBITY_LIST("payload", "req"),
    // Each needs an entry in plugin.toml.
    .capabilities = PROBITY_LIST("evidence"),
    // JSON Schema of the node's properties: the editor's form, checks and defaults.
    .config = PROBITY_JSON({
      "type": "object",
      "properties": {
        "limit": {
          "type": "number",
          "default": 10,
          "title": "Limit",
          "description": "The smallest number that is large enough"
        }
      }
    }),
    .process = process,
};

PROBITY_PLUGIN(&node);
