// What probity.h offers, on the generated bindings of plugin.h.
#include "probity.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

// ---- memory of a call ----------------------------------------------------------------------------------------------

typedef struct block {
  struct block *before;
  max_align_t bytes[];
} block;
static block *blocks;

static void *checked(void *memory) {
  // The engine tells the author of a plugin that needs more than it may have.
  if (memory == NULL) __builtin_trap();
  return memory;
}

void *probity_alloc(size_t len) {
  block *made = checked(calloc(1, sizeof(block) + len));
  made->before = blocks;
  blocks = made;
  return made->bytes;
}

static void free_blocks(void) {
  while (blocks != NULL) {
    block *before = blocks->before;
    free(blocks);
    blocks = before;
  }
}

static char *copy_n(const void *bytes, size_t len) {
  char *copy = probity_alloc(len + 1);
  if (len > 0) memcpy(copy, bytes, len);
  return copy;
}

// Texts of ours for the host, which only reads them.
static plugin_string_t lent(const char *text) {
  if (text == NULL) text = "";
  return (plugin_string_t){(uint8_t *)text, strlen(text)};
}

// A text of the host, which is ours to free.
static char *taken(plugin_string_t *text) {
  char *copy = copy_n(text->ptr, text->len);
  plugin_string_free(text);
  return copy;
}

static char *taken_bytes(plugin_list_u8_t *bytes, size_t *len) {
  char *copy = copy_n(bytes->ptr, bytes->len);
  if (len != NULL) *len = bytes->len;
  plugin_list_u8_free(bytes);
  return copy;
}

static size_t count(const char *const *list) {
  size_t n = 0;
  while (list != NULL && list[n] != NULL) n++;
  return n;
}

// ---- text ----------------------------------------------------------------------------------------------------------

static char *format(const char *format, va_list values) {
  va_list again;
  va_copy(again, values);
  int len = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (len < 0) __builtin_trap();
  char *text = probity_alloc((size_t)len + 1);
  vsnprintf(text, (size_t)len + 1, format, values);
  return text;
}

#define FORMATTED(text, last) \
  va_list values;             \
  va_start(values, last);     \
  char *text = format(last, values); \
  va_end(values)

char *probity_format(const char *pattern, ...) {
  FORMATTED(text, pattern);
  return text;
}

void probity_append(char **to, const char *pattern, ...) {
  FORMATTED(text, pattern);
  size_t len = *to == NULL ? 0 : strlen(*to), more = strlen(text);
  char *joined = probity_alloc(len + more + 1);
  if (len > 0) memcpy(joined, *to, len);
  memcpy(joined + len, text, more);
  *to = joined;
}

char *probity_quoted(const char *text) {
  static const char *const hex = "0123456789abcdef";
  char *quoted = probity_alloc(6 * strlen(text) + 3), *to = quoted;
  *to++ = '"';
  for (const unsigned char *c = (const unsigned char *)text; *c != 0; c++) {
    if (*c == '"' || *c == '\\') *to++ = '\\';
    if (*c >= 0x20) {
      *to++ = (char)*c;
    } else {
      memcpy(to, "\\u00", 4);
      to[4] = hex[*c >> 4];
      to[5] = hex[*c & 15];
      to += 6;
    }
  }
  *to++ = '"';
  return quoted;
}

char *probity_number(double number) {
  if (number != number || number - number != 0) return probity_format("null");
  for (int digits = 15; digits < 17; digits++) {
    char *text = probity_format("%.*g", digits, number);
    if (strtod(text, NULL) == number) return text;
  }
  return probity_format("%.17g", number);
}

// ---- JSON ----------------------------------------------------------------------------------------------------------

static const char *past_space(const char *at) {
  while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
  return at;
}

// Behind the string that begins here; NULL when it does not end.
static const char *past_string(const char *at) {
  for (at++; *at != '"'; at++) {
    if (*at == 0 || (*at == '\\' && *++at == 0)) return NULL;
  }
  return at + 1;
}

// Behind the value that begins here; NULL when there is none. Without recursion: depth costs nothing.
static const char *past_value(const char *at) {
  size_t depth = 0;
  do {
    at = past_space(at);
    if (*at == '{' || *at == '[') {
      depth++;
      at++;
    } else if (*at == '}' || *at == ']') {
      if (depth == 0) return NULL;
      depth--;
      at++;
    } else if (*at == '"') {
      if ((at = past_string(at)) == NULL) return NULL;
    } else if (depth > 0 && (*at == ',' || *at == ':')) {
      at++;
    } else {
      const char *start = at;
      while (*at != 0 && strchr(" \t\n\r,:]}[{\"", *at) == NULL) at++;
      if (at == start) return NULL;
    }
  } while (depth > 0);
  return at;
}

static int hex4(const char *at) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

static char *utf8(char *to, uint32_t c) {
  if (c < 0x80) {
    *to++ = (char)c;
  } else if (c < 0x800) {
    *to++ = (char)(0xc0 | c >> 6);
    *to++ = (char)(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    *to++ = (char)(0xe0 | c >> 12);
    *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    *to++ = (char)(0x80 | (c & 0x3f));
  } else {
    *to++ = (char)(0xf0 | c >> 18);
    *to++ = (char)(0x80 | (c >> 12 & 0x3f));
    *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    *to++ = (char)(0x80 | (c & 0x3f));
  }
  return to;
}

const char *probity_json_string(const char *json) {
  if (json == NULL) return NULL;
  const char *at = past_space(json), *end;
  if (*at != '"' || (end = past_string(at)) == NULL) return NULL;
  char *text = probity_alloc((size_t)(end - at)), *to = text;
  for (at++; at < end - 1; at++) {
    if (*at != '\\') {
      *to++ = *at;
      continue;
    }
    static const char *const from = "\"\\/bfnrt", *const into = "\"\\/\b\f\n\r\t";
    const char *escape = strchr(from, *++at);
    if (escape != NULL) {
      *to++ = into[escape - from];
      continue;
    }
    int high = *at == 'u' ? hex4(at + 1) : -1;
    if (high <= 0) return NULL;
    at += 4;
    uint32_t c = (uint32_t)high;
    if (c >= 0xd800 && c < 0xdc00 && at[1] == '\\' && at[2] == 'u') {
      int low = hex4(at + 3);
      if (low >= 0xdc00 && low < 0xe000) {
        c = 0x10000 + ((c - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
        at += 6;
      }
    }
    // Half of a pair is no character.
    to = utf8(to, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
  }
  return text;
}

bool probity_json_number(const char *json, double *number) {
  if (json == NULL) return false;
  json = past_space(json);
  if (*json != '-' && (*json < '0' || *json > '9')) return false;
  char *end;
  double value = strtod(json, &end);
  // What strtod knows and JSON does not: 0x10, -inf.
  for (const char *c = json; c < end; c++) {
    if (strchr("+-.eE0123456789", *c) == NULL) return false;
  }
  if (end == json || *past_space(end) != 0) return false;
  *number = value;
  return true;
}

bool probity_json_bool(const char *json, bool *value) {
  if (json == NULL) return false;
  json = past_space(json);
  bool is_true = strncmp(json, "true", 4) == 0;
  if (!is_true && strncmp(json, "false", 5) != 0) return false;
  if (*past_space(json + (is_true ? 4 : 5)) != 0) return false;
  *value = is_true;
  return true;
}

const char *probity_json_next(const char **rest, const char **name) {
  const char *at = past_space(*rest);
  if (name != NULL) *name = NULL;
  // The rest begins with what stands before the next item: `[` or `{` at first, then `,`.
  if (*at != '[' && *at != '{' && *at != ',') return NULL;
  at = past_space(at + 1);
  if (*at == '"') {
    const char *end = past_string(at);
    if (end != NULL && *past_space(end) == ':') {
      if (name != NULL) *name = probity_json_string(copy_n(at, (size_t)(end - at)));
      at = past_space(past_space(end) + 1);
    }
  }
  const char *end = past_value(at);
  if (end == NULL) return NULL;
  *rest = past_space(end);
  return copy_n(at, (size_t)(end - at));
}

// The member or item of this name; of two members with one name the last, as everywhere.
static const char *inside(const char *json, const char *wanted, size_t len, bool index) {
  json = past_space(json);
  if (*json != (index ? '[' : '{')) return NULL;
  const char *found = NULL, *item, *name;
  size_t at = 0, number = index ? strtoul(wanted, NULL, 10) : 0;
  while ((item = probity_json_next(&json, &name)) != NULL) {
    if (index && at++ == number) return item;
    if (!index && name != NULL && strlen(name) == len && memcmp(name, wanted, len) == 0) found = item;
  }
  return found;
}

// Splits the first part off a path: its begin and length; false at the end, or when it is no path.
static bool part_of(const char **path, const char **part, size_t *len, bool *index) {
  const char *at = *path;
  *index = false;
  if (*at == '.') at++;
  if (*at == '[' && (at[1] == '"' || at[1] == '\'')) {
    const char *end = strchr(at + 2, at[1]);
    if (end == NULL || end[1] != ']') return false;
    *part = at + 2;
    *len = (size_t)(end - *part);
    *path = end + 2;
    return true;
  }
  if (*at == '[') {
    const char *end = strchr(at, ']');
    *index = true;
    *part = at + 1;
    if (end == NULL || end == *part || strspn(*part, "0123456789") != (size_t)(end - *part)) return false;
    *len = (size_t)(end - *part);
    *path = end + 1;
    return true;
  }
  *part = at;
  *len = strcspn(at, ".[");
  *path = at + *len;
  return *len > 0;
}

const char *probity_json_at(const char *json, const char *path) {
  while (json != NULL && *path != 0) {
    const char *part;
    size_t len;
    bool index;
    if (!part_of(&path, &part, &len, &index)) return NULL;
    json = inside(json, part, len, index);
  }
  return json;
}

// ---- failures ------------------------------------------------------------------------------------------------------

static char *failure_code, *failure_text;

static bool note_failure(const char *code, char *text) {
  failure_text = text;
  failure_code = code == NULL ? NULL : copy_n(code, strlen(code));
  return false;
}

// Notes what the host said.
static bool refused(probity_plugin_types_failure_t *failure) {
  char *text = copy_n(failure->message.ptr, failure->message.len);
  char *code = failure->code.is_some ? copy_n(failure->code.val.ptr, failure->code.val.len) : NULL;
  probity_plugin_types_failure_free(failure);
  return note_failure(code, text);
}

bool probity_fail(const char *pattern, ...) {
  FORMATTED(text, pattern);
  return note_failure(NULL, text);
}

bool probity_fail_with_code(const char *code, const char *pattern, ...) {
  FORMATTED(text, pattern);
  return note_failure(code, text);
}

const char *probity_failure(void) { return failure_text; }

// ---- messages ------------------------------------------------------------------------------------------------------

typedef struct change {
  struct change *next;
  const char *name;
  bool is_bytes, removed;
  const void *value;
  size_t len;
} change;

struct probity_message {
  // What came; NULL for a message from nothing.
  const exports_probity_plugin_handler_message_t *came;
  change *changes;
};

static bool named(plugin_string_t text, const char *name, size_t len) {
  return text.len == len && memcmp(text.ptr, name, len) == 0;
}

static change *changed(const probity_message *msg, const char *name, size_t len) {
  for (change *one = msg->changes; one != NULL; one = one->next) {
    if (strlen(one->name) == len && memcmp(one->name, name, len) == 0) return one;
  }
  return NULL;
}

static const probity_plugin_types_value_t *came(const probity_message *msg, const char *name, size_t len) {
  for (size_t i = 0; msg->came != NULL && i < msg->came->properties.len; i++) {
    const probity_plugin_types_property_t *property = &msg->came->properties.ptr[i];
    if (named(property->name, name, len)) return &property->value;
  }
  return NULL;
}

const char *probity_get(const probity_message *msg, const char *path) {
  const char *name;
  size_t len;
  bool index;
  if (!part_of(&path, &name, &len, &index) || index) return NULL;
  const change *one = changed(msg, name, len);
  if (one != NULL) return one->removed || one->is_bytes ? NULL : probity_json_at(one->value, path);
  const probity_plugin_types_value_t *value = came(msg, name, len);
  if (value == NULL || value->tag != PROBITY_PLUGIN_TYPES_VALUE_JSON) return NULL;
  return probity_json_at(copy_n(value->val.json.ptr, value->val.json.len), path);
}

const uint8_t *probity_get_bytes(const probity_message *msg, const char *name, size_t *len) {
  const change *one = changed(msg, name, strlen(name));
  if (one != NULL) {
    *len = one->len;
    return one->is_bytes ? one->value : NULL;
  }
  const probity_plugin_types_value_t *value = came(msg, name, strlen(name));
  if (value == NULL || value->tag != PROBITY_PLUGIN_TYPES_VALUE_BYTES) return NULL;
  *len = value->val.bytes.len;
  return (const uint8_t *)copy_n(value->val.bytes.ptr, value->val.bytes.len);
}

static void put(probity_message *msg, change what) {
  change *one = changed(msg, what.name, strlen(what.name));
  if (one == NULL) {
    one = probity_alloc(sizeof *one);
    one->next = msg->changes;
    msg->changes = one;
    what.name = copy_n(what.name, strlen(what.name));
  } else {
    what.name = one->name;
  }
  what.next = one->next;
  *one = what;
}

void probity_set(probity_message *msg, const char *name, const char *json) {
  size_t len = strlen(json);
  put(msg, (change){.name = name, .value = copy_n(json, len), .len = len});
}

void probity_set_bytes(probity_message *msg, const char *name, const void *bytes, size_t len) {
  put(msg, (change){.name = name, .is_bytes = true, .value = copy_n(bytes, len), .len = len});
}

void probity_remove(probity_message *msg, const char *name) { put(msg, (change){.name = name, .removed = true}); }

probity_message *probity_new_message(void) { return probity_alloc(sizeof(probity_message)); }

bool probity_emit(probity_message *msg, uint32_t port) {
  size_t n = 0;
  for (const change *one = msg->changes; one != NULL; one = one->next) n++;
  probity_plugin_types_property_t *set = probity_alloc(n * sizeof *set);
  plugin_string_t *removed = probity_alloc(n * sizeof *removed);
  probity_plugin_node_emission_t what = {.port = port, .keep = msg->came != NULL, .set = {set, 0}, .delete_ = {removed, 0}};
  for (const change *one = msg->changes; one != NULL; one = one->next) {
    if (one->removed) {
      removed[what.delete_.len++] = lent(one->name);
      continue;
    }
    probity_plugin_types_property_t *property = &set[what.set.len++];
    property->name = lent(one->name);
    property->value.tag = one->is_bytes ? PROBITY_PLUGIN_TYPES_VALUE_BYTES : PROBITY_PLUGIN_TYPES_VALUE_JSON;
    // Both are a pointer and a length.
    property->value.val.bytes = (plugin_list_u8_t){(uint8_t *)one->value, one->len};
  }
  probity_plugin_types_failure_t failure;
  return probity_plugin_node_emit(&what, &failure) || refused(&failure);
}

const char *probity_run(const probity_message *msg) {
  return msg->came == NULL ? "" : copy_n(msg->came->run.ptr, msg->came->run.len);
}

bool probity_has_caller(const probity_message *msg) { return msg->came != NULL && msg->came->caller; }

// ---- surroundings --------------------------------------------------------------------------------------------------

const char *probity_config(void) {
  plugin_string_t json;
  probity_plugin_node_config(&json);
  return taken(&json);
}

const char *probity_config_at(const char *path) { return probity_json_at(probity_config(), path); }

const char *probity_id(void) {
  plugin_string_t id;
  probity_plugin_node_id(&id);
  return taken(&id);
}

void probity_log(probity_level level, const char *pattern, ...) {
  FORMATTED(text, pattern);
  plugin_string_t line = lent(text);
  probity_plugin_node_log((probity_plugin_node_level_t)level, &line);
}

void probity_status(const char *fill, const char *shape, const char *text) {
  plugin_string_t fill_text = lent(fill), shape_text = lent(shape), words = lent(text);
  probity_plugin_node_status(fill == NULL ? NULL : &fill_text, shape == NULL ? NULL : &shape_text, &words);
}

bool probity_evidence(const char *key, const char *json, probity_outcome outcome, const char **id) {
  plugin_string_t key_text = lent(key), value = lent(json), made;
  bool is_for = outcome == PROBITY_FOR;
  probity_plugin_types_failure_t failure;
  if (!probity_plugin_evidence_attach(&key_text, &value, outcome == PROBITY_NEITHER ? NULL : &is_for, &made, &failure)) {
    return refused(&failure);
  }
  char *text = taken(&made);
  if (id != NULL) *id = text;
  return true;
}

uint64_t probity_now(void) { return probity_plugin_clock_now(); }

void probity_sleep(uint32_t ms) { probity_plugin_clock_sleep(ms); }

void probity_random(void *bytes, uint32_t len) {
  plugin_list_u8_t made;
  probity_plugin_random_bytes(len, &made);
  memcpy(bytes, made.ptr, made.len < len ? made.len : len);
  plugin_list_u8_free(&made);
}

const char *probity_secret(const char *name) {
  plugin_string_t text = lent(name), placeholder;
  probity_plugin_types_failure_t failure;
  if (probity_plugin_secrets_placeholder(&text, &placeholder, &failure)) return taken(&placeholder);
  refused(&failure);
  return NULL;
}

bool probity_http(const probity_request *request, probity_response *response) {
  size_t pairs = count(request->headers) / 2;
  plugin_tuple2_string_string_t *headers = probity_alloc(pairs * sizeof *headers);
  for (size_t i = 0; i < pairs; i++) {
    headers[i] = (plugin_tuple2_string_string_t){lent(request->headers[2 * i]), lent(request->headers[2 * i + 1])};
  }
  size_t len = request->body_len > 0 || request->body == NULL ? request->body_len : strlen(request->body);
  probity_plugin_http_request_t what = {
      .method = lent(request->method == NULL ? "GET" : request->method),
      .url = lent(request->url),
      .headers = {headers, pairs},
      .body = {(uint8_t *)request->body, len},
      .timeout_ms = {request->timeout_ms > 0, request->timeout_ms},
  };
  probity_plugin_http_response_t came;
  probity_plugin_types_failure_t failure;
  if (!probity_plugin_http_send(&what, &came, &failure)) return refused(&failure);
  const char **got = probity_alloc((2 * came.headers.len + 1) * sizeof *got);
  for (size_t i = 0; i < came.headers.len; i++) {
    got[2 * i] = copy_n(came.headers.ptr[i].f0.ptr, came.headers.ptr[i].f0.len);
    got[2 * i + 1] = copy_n(came.headers.ptr[i].f1.ptr, came.headers.ptr[i].f1.len);
  }
  *response = (probity_response){
      .status = came.status,
      .headers = got,
      .body = copy_n(came.body.ptr, came.body.len),
      .body_len = came.body.len,
  };
  probity_plugin_http_response_free(&came);
  return true;
}

const char *probity_state_get(probity_scope scope, const char *key, size_t *len) {
  plugin_string_t text = lent(key);
  plugin_list_u8_t value;
  if (!probity_plugin_state_get((probity_plugin_state_scope_t)scope, &text, &value)) return NULL;
  return taken_bytes(&value, len);
}

bool probity_state_set(probity_scope scope, const char *key, const void *value, size_t len) {
  plugin_string_t text = lent(key);
  plugin_list_u8_t bytes = {(uint8_t *)value, len};
  probity_plugin_types_failure_t failure;
  return probity_plugin_state_set((probity_plugin_state_scope_t)scope, &text, &bytes, &failure) || refused(&failure);
}

void probity_state_delete(probity_scope scope, const char *key) {
  plugin_string_t text = lent(key);
  probity_plugin_state_delete((probity_plugin_state_scope_t)scope, &text);
}

bool probity_state_swap(probity_scope scope, const char *key, const char *old, const char *text, bool *done) {
  plugin_string_t key_text = lent(key), old_text = lent(old), new_text = lent(text);
  plugin_list_u8_t was = {old_text.ptr, old_text.len}, is = {new_text.ptr, new_text.len};
  probity_plugin_types_failure_t failure;
  return probity_plugin_state_compare_and_set((probity_plugin_state_scope_t)scope, &key_text, old == NULL ? NULL : &was,
                                              text == NULL ? NULL : &is, done, &failure) ||
         refused(&failure);
}

bool probity_evaluate(const char *kind, const char *text, const char **json) {
  plugin_string_t kind_text = lent(kind), what = lent(text);
  probity_plugin_typed_input_option_value_t value;
  probity_plugin_types_failure_t failure;
  if (!probity_plugin_typed_input_evaluate(&kind_text, &what, &value, &failure)) return refused(&failure);
  *json = NULL;
  if (!value.is_some) return true;
  char *made = copy_n(value.val.val.bytes.ptr, value.val.val.bytes.len);
  *json = value.val.tag == PROBITY_PLUGIN_TYPES_VALUE_JSON ? made : probity_quoted(made);
  probity_plugin_types_value_free(&value.val);
  return true;
}

bool probity_context_get(probity_context of, const char *path, const char **json) {
  plugin_string_t text = lent(path);
  probity_plugin_context_option_json_t value;
  probity_plugin_types_failure_t failure;
  if (!probity_plugin_context_get((probity_plugin_context_level_t)of, &text, &value, &failure)) return refused(&failure);
  *json = value.is_some ? taken(&value.val) : NULL;
  return true;
}

bool probity_context_set(probity_context of, const char *path, const char *json) {
  plugin_string_t text = lent(path), value = lent(json);
  probity_plugin_types_failure_t failure;
  return probity_plugin_context_set((probity_plugin_context_level_t)of, &text, json == NULL ? NULL : &value, &failure) ||
         refused(&failure);
}

const char *probity_read_file(const char *path, size_t *len) {
  plugin_string_t text = lent(path);
  plugin_list_u8_t content;
  probity_plugin_types_failure_t failure;
  if (probity_plugin_files_read(&text, &content, &failure)) return taken_bytes(&content, len);
  refused(&failure);
  return NULL;
}

// ---- what the engine calls -----------------------------------------------------------------------------------------

static plugin_string_t owned(const char *text, const char *fallback) {
  plugin_string_t copy;
  plugin_string_dup(&copy, text == NULL ? fallback : text);
  return copy;
}

static plugin_list_string_t owned_list(const char *const *list) {
  size_t n = count(list);
  plugin_list_string_t copy = {n == 0 ? NULL : checked(calloc(n, sizeof(plugin_string_t))), n};
  for (size_t i = 0; i < n; i++) copy.ptr[i] = owned(list[i], "");
  return copy;
}

void exports_probity_plugin_handler_describe(exports_probity_plugin_handler_list_description_t *ret) {
  ret->len = 0;
  while (probity_nodes[ret->len] != NULL) ret->len++;
  ret->ptr = checked(calloc(ret->len + 1, sizeof *ret->ptr));
  for (size_t i = 0; i < ret->len; i++) {
    const probity_node *node = probity_nodes[i];
    ret->ptr[i] = (exports_probity_plugin_handler_description_t){
        .node_type = owned(node->type, ""),
        .version = owned(node->version, "1.0.0"),
        .category = owned(node->category, "plugins"),
        .color = owned(node->color, "#a6bbcf"),
        .icon = owned(node->icon, "fa-puzzle-piece"),
        .summary = owned(node->summary, ""),
        .help = owned(node->help, ""),
        .inputs = node->no_input ? 0 : 1,
        .outputs = owned_list(node->outputs == NULL ? PROBITY_LIST("") : node->outputs),
        .config = owned(node->config, "{\"type\":\"object\"}"),
        .wants = {node->wants != NULL, owned_list(node->wants)},
        .capabilities = owned_list(node->capabilities),
        .at_run_end = node->run_end != NULL,
    };
  }
}

static bool called(plugin_string_t *type, exports_probity_plugin_handler_message_t *input, bool at_end,
                   exports_probity_plugin_handler_failure_t *err) {
  const probity_node *node = NULL;
  for (size_t i = 0; probity_nodes[i] != NULL; i++) {
    if (named(*type, probity_nodes[i]->type, strlen(probity_nodes[i]->type))) node = probity_nodes[i];
  }
  failure_text = failure_code = NULL;
  bool (*handler)(probity_message *) = node == NULL ? NULL : at_end ? node->run_end : node->process;
  probity_message msg = {.came = input};
  bool done = handler == NULL ? probity_fail("the plugin has no such node type") : handler(&msg);
  if (!done) {
    err->message = owned(failure_text, "the node failed and did not say why");
    err->code.is_some = failure_code != NULL;
    if (failure_code != NULL) err->code.val = owned(failure_code, "");
  }
  free_blocks();
  plugin_string_free(type);
  exports_probity_plugin_handler_message_free(input);
  return done;
}

bool exports_probity_plugin_handler_process(plugin_string_t *node_type, exports_probity_plugin_handler_message_t *input,
                                            exports_probity_plugin_handler_failure_t *err) {
  return called(node_type, input, false, err);
}

bool exports_probity_plugin_handler_run_end(plugin_string_t *node_type, exports_probity_plugin_handler_message_t *last,
                                            exports_probity_plugin_handler_failure_t *err) {
  return called(node_type, last, true, err);
}
