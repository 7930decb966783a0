// Write Probity plugins in C: nodes for flows that run sandboxed as WASM. See docs/plugins/c.md.
//
// Texts are UTF-8 and end with a NUL. All memory that these functions give is freed when the call of `process` or
// `run_end` is over. Functions that give `bool` or a pointer and can fail have noted why when they give `false` or
// NULL: pass it on with `return false;`.
#ifndef PROBITY_H
#define PROBITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- what a plugin is ----------------------------------------------------------------------------------------------

// A message on its way through a node.
typedef struct probity_message probity_message;

// A node type. What is left out has the default of its comment.
typedef struct {
  const char *type;                // as flows write it
  const char *version;             // MAJOR.MINOR.PATCH; "1.0.0"
  const char *category;            // where the palette shows it; "plugins"
  const char *color;               // "#rrggbb"
  const char *icon;                // Font Awesome 4
  const char *summary;             // one sentence
  const char *help;                // Markdown
  bool no_input;                   // a source of messages
  const char *const *outputs;      // PROBITY_LIST("label", …); one without a label
  const char *const *wants;        // message properties that are handed over, PROBITY_LIST("payload"); all
  const char *const *capabilities; // what it uses; each needs a [[capability]] in plugin.toml
  const char *config;              // JSON Schema of its properties, PROBITY_JSON({ … }); none
  bool (*process)(probity_message *msg);
  bool (*run_end)(probity_message *last); // called when a run in which it had a message is over
} probity_node;

// Once per plugin, in any of its files: PROBITY_PLUGIN(&first, &second);
#define PROBITY_PLUGIN(...) const probity_node *const probity_nodes[] = {__VA_ARGS__, NULL}
extern const probity_node *const probity_nodes[];

#define PROBITY_LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
// JSON written as it is, in place of a string full of backslashes.
#define PROBITY_JSON(...) #__VA_ARGS__

// ---- messages ------------------------------------------------------------------------------------------------------

// The JSON at a path such as "payload.items[0].name" or "headers[\"content-type\"]"; NULL when it is undefined.
const char *probity_get(const probity_message *msg, const char *path);
// The bytes (a Buffer) of a property; NULL when it is undefined or no Buffer.
const uint8_t *probity_get_bytes(const probity_message *msg, const char *name, size_t *len);
void probity_set(probity_message *msg, const char *name, const char *json);
void probity_set_bytes(probity_message *msg, const char *name, const void *bytes, size_t len);
void probity_remove(probity_message *msg, const char *name);
// A message from nothing.
probity_message *probity_new_message(void);
// Sends a message by an output, counted from 0; as often as you like. Of the message that came, what was not handed
// over (`wants`), dates and the way back to an HTTP caller go with it.
bool probity_emit(probity_message *msg, uint32_t port);
// The id of the run, and whether somebody waits for it.
const char *probity_run(const probity_message *msg);
bool probity_has_caller(const probity_message *msg);

// ---- JSON ----------------------------------------------------------------------------------------------------------

// The value at a path in a text; NULL when there is none. `json` may be NULL.
const char *probity_json_at(const char *json, const char *path);
// Whether it is a number, true or false, a string; then its value.
bool probity_json_number(const char *json, double *number);
bool probity_json_bool(const char *json, bool *value);
// NULL when it is no string, or one with a NUL in it.
const char *probity_json_string(const char *json);
// The items of an array or the members of an object, one after the other:
//   const char *rest = json, *item, *name;
//   while ((item = probity_json_next(&rest, &name))) …
// `name` may be NULL; of an array's items it is set to NULL.
const char *probity_json_next(const char **rest, const char **name);
// Writing: as printf, but into memory of its own. The other two are for its %s.
char *probity_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
// A string in JSON, quotes included.
char *probity_quoted(const char *text);
// A number in JSON, as short as it can be; "null" for what JSON has no number for.
char *probity_number(double number);
// A text that grows: char *list = probity_format("["); probity_append(&list, "%s", item);
void probity_append(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Memory for this call, filled with 0.
void *probity_alloc(size_t len);

// ---- the node and its surroundings ---------------------------------------------------------------------------------

// What went wrong, for catch nodes; gives false, so: return probity_fail("no card has the id %s", id);
bool probity_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
// The same with a code for msg.error.code.
bool probity_fail_with_code(const char *code, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The reason noted last, to go on in spite of it.
const char *probity_failure(void);

// The node's properties as JSON, with the defaults of its schema; or one of them.
const char *probity_config(void);
const char *probity_config_at(const char *path);
const char *probity_id(void);

typedef enum { PROBITY_DEBUG, PROBITY_INFO, PROBITY_WARN, PROBITY_ERROR } probity_level;
void probity_log(probity_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
// `fill`: red, green, yellow, blue, grey; `shape`: ring, dot; both may be NULL.
void probity_status(const char *fill, const char *shape, const char *text);

// Capability `evidence`: a fact a verdict rests on. Of `id` (a UUID) only if it is not NULL.
typedef enum { PROBITY_AGAINST, PROBITY_FOR, PROBITY_NEITHER } probity_outcome;
bool probity_evidence(const char *key, const char *json, probity_outcome outcome, const char **id);

// Capability `clock`: milliseconds since 1970; waiting.
uint64_t probity_now(void);
void probity_sleep(uint32_t ms);
// Capability `random`: at most 64 KiB.
void probity_random(void *bytes, uint32_t len);
// Capability `secret`: a placeholder that the engine replaces in URL, headers and body of a request.
const char *probity_secret(const char *name);

// Capability `http`. Headers are pairs with NULL at the end: PROBITY_LIST("accept", "text/csv").
typedef struct {
  const char *method; // "GET"
  const char *url;
  const char *const *headers;
  const void *body;
  size_t body_len;     // 0: the text in `body`, if there is one
  uint32_t timeout_ms; // 0: the engine's
} probity_request;
typedef struct {
  uint16_t status;
  const char *const *headers; // pairs, NULL at the end
  const char *body;           // with a NUL behind it
  size_t body_len;
} probity_response;
bool probity_http(const probity_request *request, probity_response *response);

// Capability `state`: what belongs to the run, or to the node across runs. Values are bytes with a NUL behind them.
typedef enum { PROBITY_RUN, PROBITY_NODE } probity_scope;
const char *probity_state_get(probity_scope scope, const char *key, size_t *len); // NULL: there is none; `len` may be NULL
bool probity_state_set(probity_scope scope, const char *key, const void *value, size_t len);
void probity_state_delete(probity_scope scope, const char *key);
// Sets the text (NULL deletes) if it is still `old` (NULL: there is none); `done` tells whether it was.
bool probity_state_swap(probity_scope scope, const char *key, const char *old, const char *text, bool *done);

// Capability `typed-input`: `json` is NULL when it is undefined; of bytes, a string of them.
bool probity_evaluate(const char *kind, const char *text, const char **json);
// Capability `context`; NULL is undefined.
typedef enum { PROBITY_OF_NODE, PROBITY_OF_FLOW, PROBITY_OF_GLOBAL } probity_context;
bool probity_context_get(probity_context of, const char *path, const char **json);
bool probity_context_set(probity_context of, const char *path, const char *json);
// Capability `files`: below the folders the operator named; with a NUL behind. NULL when it failed.
const char *probity_read_file(const char *path, size_t *len);

#ifdef __cplusplus
}
#endif
#endif
