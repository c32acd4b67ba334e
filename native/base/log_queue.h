/* logq: log lines on their way from any thread to one reader.
 * Writers never wait: a full queue drops the line and counts it. */
#ifndef SS_LOGQ_H
#define SS_LOGQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cdef:begin */
typedef struct ss_logq ss_logq;

/* NULL when there is no memory. `bytes` is a power of two, at least 128 KiB. Counted: each
 * writer that may outlive the reader retains it, the last release frees it. */
ss_logq *ss_logq_new(size_t bytes);
void ss_logq_retain(ss_logq *q);
void ss_logq_release(ss_logq *q);

/* Lines below this level are not wanted; SLIPSTREAM_LOG_*. */
void ss_logq_set_level(ss_logq *q, uint32_t level);
bool ss_logq_wants(const ss_logq *q, uint32_t level);

/* [any-thread] */
void ss_logq_put(ss_logq *q, uint32_t level, uint32_t source, const char *text, size_t len);

/* One reader at a time. Waits at most `ms` for a line; true if there is one (or if lines
 * were dropped since the last call). */
bool ss_logq_wait(ss_logq *q, uint32_t ms);
/* No wait takes any time from now on; for shutting down. */
void ss_logq_wake(ss_logq *q);

typedef struct ss_log_line {
    int64_t time_ns;
    uint32_t level;
    uint32_t source; /* number of the instance; 0 is the core itself */
    const char *text; /* safe to show, NUL-terminated; valid until the next call */
    size_t len;
} ss_log_line;

/* Takes the next line; false if there is none. */
bool ss_logq_next(ss_logq *q, ss_log_line *line);
/* How many lines were dropped since this was asked last. */
uint64_t ss_logq_dropped(ss_logq *q);
/* cdef:end */

/* Lines go to `sink` instead of the queue; before anybody writes. It must not wait. */
void ss_logq_set_sink(ss_logq *q, void (*sink)(uint32_t level, const char *text, size_t len));

void ss_logq_format(ss_logq *q, uint32_t level, uint32_t source, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
