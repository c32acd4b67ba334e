#include "process/lines.h"

#include "base/text.h"

#include <stdio.h>
#include <unistd.h>

void ss_last_lines_keep(ss_last_lines *last, const char *text, size_t len) {
    ss_text_show(last->text[last->next++ % SS_REPORT_LINES], SS_REPORT_LINE, text, len, NULL);
}

void ss_last_lines_join(const ss_last_lines *last, char *out, size_t room) {
    enum { JOINED = SS_SAID_ROOM / SS_REPORT_LINE };
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = SS_REPORT_LINES - JOINED; i < SS_REPORT_LINES && used < room; i++) {
        const char *line = last->text[(last->next + i) % SS_REPORT_LINES];
        if (line[0] != '\0')
            used += (size_t)snprintf(out + used, room - used, "%s%s", used > 0 ? " | " : "", line);
    }
}

static void put_line(ss_lines *lines, ss_last_lines *last, ss_log_queue *log, uint32_t log_id) {
    if (lines->used == 0)
        return;
    ss_last_lines_keep(last, lines->line, lines->used);
    ss_log_queue_put(log, lines->level, log_id, lines->line, lines->used);
    lines->used = 0;
}

void ss_lines_drain(ss_lines *lines, ss_last_lines *last, ss_log_queue *log, uint32_t log_id) {
    char chunk[16 * 1024];
    ssize_t n = -1;
    int rounds = 16; /* others wait, too */
    while (lines->fd >= 0 && rounds-- > 0 && (n = read(lines->fd, chunk, sizeof chunk)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] == '\n' || lines->used == sizeof lines->line)
                put_line(lines, last, log, log_id);
            if (chunk[i] != '\n')
                lines->line[lines->used++] = chunk[i];
        }
    }
    if (n == 0) { /* else its end would be reported again and again */
        close(lines->fd);
        lines->fd = -1;
    }
}

void ss_lines_end(ss_lines *lines, ss_last_lines *last, ss_log_queue *log, uint32_t log_id) {
    put_line(lines, last, log, log_id);
}
