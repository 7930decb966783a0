// The C library on what a plugin is given. printf goes to the log; time() and getentropy() need the capabilities `clock`
// and `random`; there are no files, no environment and no arguments. The library's other system calls stay imports
// that the engine does not have: it says so by their names.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "probity.h"

// Defined here, the library's imports of these names are no imports any more.
#define CALL(name) __imported_wasi_snapshot_preview1_##name
enum { SUCCESS = 0, BADF = 8, SPIPE = 70 };
enum { CHARACTER_DEVICE = 2 };
enum { LINE_LEN_MAX = 4096 };

typedef struct {
  const char *bytes;
  size_t len;
} piece;

int32_t CALL(fd_write)(int32_t fd, int32_t pieces, int32_t n, int32_t written) {
  static char line[LINE_LEN_MAX + 1];
  static size_t len;
  if (fd != 1 && fd != 2) return BADF;
  size_t all = 0;
  for (const piece *p = (const piece *)pieces; n > 0; p++, n--) {
    for (size_t i = 0; i < p->len; i++) {
      if (p->bytes[i] != '\n') line[len++] = p->bytes[i];
      if (p->bytes[i] == '\n' || len == LINE_LEN_MAX) {
        line[len] = 0;
        len = 0;
        probity_log(fd == 1 ? PROBITY_INFO : PROBITY_WARN, "%s", line);
      }
    }
    all += p->len;
  }
  *(size_t *)written = all;
  return SUCCESS;
}

// A terminal: the library hands lines over as they end.
int32_t CALL(fd_fdstat_get)(int32_t fd, int32_t stat) {
  if (fd != 1 && fd != 2) return BADF;
  memset((void *)stat, 0, 24);
  *(uint8_t *)stat = CHARACTER_DEVICE;
  return SUCCESS;
}

int32_t CALL(fd_close)(int32_t fd) {
  (void)fd;
  return SUCCESS;
}

int32_t CALL(fd_seek)(int32_t fd, int64_t offset, int32_t whence, int32_t to) {
  (void)fd, (void)offset, (void)whence, (void)to;
  return SPIPE;
}

int32_t CALL(fd_read)(int32_t fd, int32_t pieces, int32_t n, int32_t read) {
  (void)fd, (void)pieces, (void)n, (void)read;
  return BADF;
}

static int32_t none(int32_t count, int32_t len) {
  *(size_t *)count = 0;
  *(size_t *)len = 0;
  return SUCCESS;
}
int32_t CALL(environ_sizes_get)(int32_t count, int32_t len) { return none(count, len); }
int32_t CALL(args_sizes_get)(int32_t count, int32_t len) { return none(count, len); }
int32_t CALL(environ_get)(int32_t list, int32_t texts) {
  (void)list, (void)texts;
  return SUCCESS;
}
int32_t CALL(args_get)(int32_t list, int32_t texts) {
  (void)list, (void)texts;
  return SUCCESS;
}

int32_t CALL(clock_time_get)(int32_t clock, int64_t precision, int32_t ns) {
  (void)clock, (void)precision;
  *(uint64_t *)ns = probity_now() * 1000000;
  return SUCCESS;
}

int32_t CALL(random_get)(int32_t bytes, int32_t len) {
  probity_random((void *)bytes, (uint32_t)len);
  return SUCCESS;
}

_Noreturn void CALL(proc_exit)(int32_t code) {
  (void)code;
  __builtin_trap();
}
