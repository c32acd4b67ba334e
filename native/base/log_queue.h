/* log_queue: log lines on their way from any thread to one reader.
 * Writers never wait: a full queue drops the line and counts it, and of each source only so many
 * lines pass in a second. Lines carry the time at which they were made, and stand in its order. */
#ifndef SS_LOG_QUEUE_H
#define SS_LOG_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cdef:begin */
typedef struct ss_log_queue ss_log_queue;

/* NULL when there is no memory. `bytes` is a power of two, at least 128 KiB. Counted: each
 * writer that may outlive the reader retains it, the last release frees it. */
ss_log_queue *ss_log_queue_new(size_t bytes);
void ss_log_queue_retain(ss_log_queue *q);
void ss_log_queue_release(ss_log_queue *q);

/* Lines below this level are not wanted; SLIPSTREAM_LOG_*. */
void ss_log_queue_set_level(ss_log_queue *q, uint32_t level);
bool ss_log_queue_wants(const ss_log_queue *q, uint32_t level);

#define SS_LINES_A_SECOND 1000
/* The level of a line without text: a crash report waits to be taken. */
#define SS_LOG_REPORT 0xFFFF

/* What source `log_id` says. [any-thread] */
void ss_log_queue_put(ss_log_queue *q, uint32_t level, uint32_t log_id, const char *text,
                      size_t len);

/* Whether the core may say one more line of a source; where it does so elsewhere. [any-thread] */
bool ss_log_queue_may_say(ss_log_queue *q, uint32_t log_id);

/* One reader at a time. Waits at most `ms` for a line; true if there is one (or if lines
 * were dropped since the last call). */
bool ss_log_queue_wait(ss_log_queue *q, uint32_t ms);
/* No wait takes any time from now on; for shutting down. */
void ss_log_queue_wake(ss_log_queue *q);
/* Only the wait under way, or else the next one. */
void ss_log_queue_poke(ss_log_queue *q);

typedef struct ss_log_line {
    int64_t time_ns;
    uint32_t level;
    uint32_t log_id; /* number of the instance; 0 is the core itself */
    const char *text; /* safe to show, NUL-terminated; valid until the next call */
    size_t len;
    uint64_t end; /* where it ends in the queue */
} ss_log_line;

/* Where what was put until now ends. */
uint64_t ss_log_queue_end(const ss_log_queue *q);
/* Takes the next line; false if there is none. */
bool ss_log_queue_next(ss_log_queue *q, ss_log_line *line);
/* How many lines were dropped since this was asked last. */
uint64_t ss_log_queue_dropped(ss_log_queue *q);
/* Puts a line about those that were above the rate in seconds that are over; `at_once`: in this
 * one, too. */
void ss_log_queue_tell_withheld(ss_log_queue *q, uint32_t at_once);
/* cdef:end */

/* The same in the handler of a signal that ends the process, beside a reader: whose line keeps its
 * text. Waits 100 ms at most; false also if the reader itself has fallen. [signal-safe] */
bool ss_log_queue_next_in_crash(ss_log_queue *q, ss_log_line *line);

/* Lines go to `sink` instead of the queue; before anybody writes. It must not wait. */
typedef void ss_log_sink(int64_t time_ns, uint32_t level, const char *text, size_t len,
                         uint64_t whole);
void ss_log_queue_set_sink(ss_log_queue *q, ss_log_sink *sink);

/* A line that a worker has made, at that time, of what had `whole` bytes before it was cut. */
void ss_log_queue_relay(ss_log_queue *q, int64_t time_ns, uint32_t level, uint32_t log_id,
                        const char *text, size_t len, uint64_t whole);

/* What the core says of a source: seldom, and always; then the same with a rate. */
void ss_log_queue_tell(ss_log_queue *q, uint32_t level, uint32_t log_id, const char *text);
void ss_log_queue_format(ss_log_queue *q, uint32_t level, uint32_t log_id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
