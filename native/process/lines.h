/* lines: what a worker prints on a pipe, cut into lines for the log; the last ones are kept
 * for a crash report. [supervisor thread] */
#ifndef SS_LINES_H
#define SS_LINES_H

#include "base/log_queue.h"
#include "process/report.h"

/* The last lines of a generation, printed or logged. */
typedef struct ss_last_lines {
    uint32_t next;
    char text[SS_REPORT_LINES][SS_REPORT_LINE];
} ss_last_lines;

/* The last few of them, in one text. */
enum { SS_SAID_ROOM = 4 * (SS_REPORT_LINE + 4) };
void ss_last_lines_join(const ss_last_lines *last, char *out, size_t room);
void ss_last_lines_keep(ss_last_lines *last, const char *text, size_t len);

typedef struct ss_lines {
    int fd; /* -1: closed */
    uint32_t level; /* of what comes from it in the log */
    uint32_t used;
    char line[8192];
} ss_lines;

/* Puts what is there into the log. */
void ss_lines_drain(ss_lines *lines, ss_last_lines *last, ss_log_queue *log, uint32_t log_id);
/* What is left of it, once nothing follows. */
void ss_lines_end(ss_lines *lines, ss_last_lines *last, ss_log_queue *log, uint32_t log_id);

#endif
