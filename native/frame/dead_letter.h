/* dead_letter: where an event goes that a plugin refuses for good: a capture, in which each such
 * frame follows a MARK that says why (docs/delivery.md). Written in groups, each of which is
 * durable or not there at all.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_DEAD_LETTER_H
#define SS_DEAD_LETTER_H

#include "base/log_queue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SS_LETTER_MARK "slipstream.dead-letter"

/* cdef:begin */
typedef struct ss_letters ss_letters;

/* Nowhere at first. NULL when there is no memory. */
ss_letters *ss_letters_new(ss_log_queue *log);
/* Whose letters they are from now on: name, version, the library's SHA-256. OK or NO_MEMORY. */
int32_t ss_letters_set_plugin(ss_letters *letters, uint32_t log_id, const char *name,
                              const char *version, const char *digest);
/* To this capture from now on, open for appending and nobody else's to write to, as long as it
 * has at most `max_bytes`; -1: nowhere, which the log says once an event is lost by it, unless
 * `max_bytes` is 0: nobody wants them. The descriptor is theirs from now on. */
void ss_letters_open(ss_letters *letters, int fd, uint64_t max_bytes);
void ss_letters_free(ss_letters *letters);
/* cdef:end */

typedef struct ss_letter {
    uint64_t ordinal;
    int32_t status; /* OK: it crashed the plugin */
    uint32_t attempts;
    const char *text; /* why; made safe to show here */
    size_t text_len;
    const uint8_t *frame;
    size_t len;
} ss_letter;

/* Adds it to the group, as a copy. False if it will not be kept. */
bool ss_letters_add(ss_letters *letters, const ss_letter *letter);
/* Writes the group. True if it is durable; else the file is as it was, and the log says why. */
bool ss_letters_write(ss_letters *letters);

#endif
