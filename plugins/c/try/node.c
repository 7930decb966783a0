// Node types that try what sdk/ offers; the templates' test builds them with the template's build.sh.
#include "probity.h"

#include <stdio.h>
#include <time.h>

// What the C layer reads at msg.path of the text in msg.payload.
static bool read(probity_message *msg) {
  const char *text = probity_json_string(probity_get(msg, "payload"));
  const char *path = probity_json_string(probity_get(msg, "path"));
  if (text == NULL || path == NULL) return probity_fail_with_code("no-text", "payload and path must be texts");
  const char *found = probity_json_at(text, path), *string = probity_json_string(found);
  double number;
  bool flag;
  char *made = probity_format("{\"found\": %s", found == NULL ? "null" : probity_quoted(found));
  if (string != NULL) probity_append(&made, ", \"string\": %s", probity_quoted(string));
  if (probity_json_number(found, &number)) probity_append(&made, ", \"number\": %s", probity_number(number));
  if (probity_json_bool(found, &flag)) probity_append(&made, ", \"bool\": %s", flag ? "true" : "false");
  char *names = probity_format("[");
  const char *rest = found == NULL ? "" : found, *item, *name;
  while ((item = probity_json_next(&rest, &name)) != NULL) {
    const char *comma = names[1] == 0 ? "" : ", ";
    probity_append(&names, "%s%s", comma, name == NULL ? item : probity_quoted(name));
  }
  probity_append(&made, ", \"items\": %s]}", names);
  probity_set(msg, "payload", made);
  return probity_emit(msg, 0);
}

// One of each thing a node may do.
static bool all(probity_message *msg) {
  long long now = time(NULL);
  printf("printed %d\n", 1);
  probity_log(PROBITY_WARN, "logged %d", 2);
  probity_status("green", "dot", "busy");
  uint8_t random[4];
  probity_random(random, sizeof random);
  const char *counted = probity_state_get(PROBITY_NODE, "count", NULL), *id;
  double count = 0;
  probity_json_number(counted, &count);
  const char *next = probity_number(count + 1);
  bool swapped;
  if (!probity_state_swap(PROBITY_NODE, "count", counted, next, &swapped)) return false;
  if (!swapped) return probity_fail("somebody else counted");
  const char *token = probity_secret("TOKEN"), *input, *before;
  if (token == NULL) return false;
  probity_request request = {
      .method = "POST",
      .url = "http://shop.test/orders",
      .headers = PROBITY_LIST("authorization", probity_format("Bearer %s", token)),
      .body = "hello",
  };
  probity_response response;
  if (!probity_http(&request, &response)) return false;
  if (!probity_evidence("order", response.body, PROBITY_NEITHER, &id)) return false;
  if (!probity_evaluate("jsonata", "payload + 1", &input)) return false;
  if (!probity_context_set(PROBITY_OF_FLOW, "seen", next)) return false;
  if (!probity_context_get(PROBITY_OF_FLOW, "seen", &before) || before == NULL) return false;
  if (probity_read_file("gone.txt", NULL) != NULL) return probity_fail("there is no gone.txt");
  probity_message *made = probity_new_message();
  probity_set(made, "payload", probity_format(
      "{\"status\": %d, \"body\": %s, \"evaluated\": %s, \"seen\": %s, \"time\": %lld, \"config\": %s}", response.status,
      response.body, input, before, now, probity_config_at("list[1]")));
  probity_set_bytes(made, "bytes", "a\0b", 3);
  probity_set(msg, "later", "1");
  probity_set(msg, "later", "2");
  probity_remove(msg, "topic");
  return probity_emit(made, 1) && probity_emit(msg, 0);
}

// A mistake of the author's; its line is told.
static bool trap(probity_message *msg) {
  volatile const int *beyond = (volatile const int *)0xfffffff0;
  return *beyond == 0 && probity_emit(msg, 0);
}

static const probity_node reads = {.type = "c-read", .summary = "Reads JSON.", .process = read};
static const probity_node does = {
    .type = "c-all",
    .summary = "Does one of each thing.",
    .outputs = PROBITY_LIST("same", "new"),
    .capabilities = PROBITY_LIST("clock", "random", "secret", "http", "state", "evidence", "typed-input", "context", "files"),
    .config = PROBITY_JSON({"type": "object", "properties": {"list": {"type": "array", "default": [1, "zwei"]}}}),
    .process = all,
};
static const probity_node traps = {.type = "c-trap", .summary = "Traps.", .process = trap};

PROBITY_PLUGIN(&reads, &does, &traps);
