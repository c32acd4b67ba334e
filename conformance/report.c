/* report.c - what the probe has found: lines of JSON in the file `report`, and the host's log.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINES_OF_ONE = 5 /* a broken rule is told so often, and counted ever after */ };

static const struct {
    const char *id, *rule;
} checks[] = {
#define PROBE_ROW_OF(name, id, rule) {id, rule},
    PROBE_CHECKS(PROBE_ROW_OF)
#undef PROBE_ROW_OF
};

_Thread_local int in_host;

static void escape(const char *text, char *out, size_t room) {
    size_t at = 0;
    for (; *text != '\0' && at + 7 < room; text++) {
        const uint8_t c = (uint8_t)*text;
        if (c == '"' || c == '\\')
            at += (size_t)snprintf(out + at, room - at, "\\%c", c);
        else if (c < 0x20 || c > 0x7E)
            at += (size_t)snprintf(out + at, room - at, "\\u%04x", c);
        else
            out[at++] = *text;
    }
    out[at] = '\0';
}

/* One line is one write, so that the lines of several instances do not mix. */
static void write_line(probe *self, const char *line, size_t len) {
    if (self->report >= 0) {
        if (write(self->report, line, len) != (ssize_t)len)
            abort(); /* silence is no pass */
        return;
    }
    char *more = realloc(self->early, self->early_len + len);
    if (more == NULL)
        return;
    memcpy(more + self->early_len, line, len);
    self->early = more;
    self->early_len += len;
}

void report_line(probe *self, const char *format, ...) {
    char line[8 * TEXT_ROOM];
    va_list args;
    int len = snprintf(line, sizeof line, "{\"instance\": \"%ld-%p\", ", (long)self->process,
                       (void *)self);
    va_start(args, format);
    len += vsnprintf(line + len, sizeof line - (size_t)len, format, args);
    va_end(args);
    if (len > (int)sizeof line - 3)
        len = (int)sizeof line - 3;
    line[len++] = '}';
    line[len++] = '\n';
    write_line(self, line, (size_t)len);
}

static bool may_log(const probe *self) {
    return self->life != DESTROYED && !self->log_is_stuck && self->copy.log != NULL &&
           self->process == getpid();
}

bool check(probe *self, probe_check_id id, bool ok, const char *format, ...) {
    char text[TEXT_ROOM], line[2 * TEXT_ROOM], escaped[2 * TEXT_ROOM];
    va_list args;
    atomic_store_explicit(&self->tried[id], 1, memory_order_relaxed);
    if (ok || atomic_fetch_add(&self->broken[id], 1) >= LINES_OF_ONE)
        return ok;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    escape(text, escaped, sizeof escaped);
    report_line(self, "\"violation\": \"%s\", \"text\": \"%s\", \"rule\": \"%s\"", checks[id].id,
                escaped, checks[id].rule);
    const int len = snprintf(line, sizeof line, "probe.%s: %s; the rule: %s", checks[id].id, text,
                             checks[id].rule);
    if (may_log(self))
        TELL(self->copy.log(self->copy.ctx, SLIPSTREAM_LOG_HOST_MISBEHAVING, line, (size_t)len));
    return false;
}

bool report_open(probe *self) {
    const char *given = getenv("PROBE_REPORT");
    if (self->report >= 0)
        return true;
    if (self->report_path[0] == '\0' && given != NULL)
        snprintf(self->report_path, sizeof self->report_path, "%s", given);
    if (self->report_path[0] == '\0')
        return false;
    self->report = open(self->report_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (self->report < 0)
        return false;
    if (self->early_len > 0)
        write_line(self, self->early, self->early_len);
    free(self->early);
    self->early = NULL;
    self->early_len = 0;
    return true;
}

/* The last line: without it the report says nothing. */
void report_done(probe *self) {
    char untried[6 * TEXT_ROOM] = "";
    size_t at = 0;
    uint64_t broken = 0;
    for (size_t i = 0; i < CHECKS; i++) {
        broken += self->broken[i];
        if (self->tried[i] == 0)
            at += (size_t)snprintf(untried + at, sizeof untried - at, "%s\"%s\"",
                                   at == 0 ? "" : ", ", checks[i].id);
    }
    report_line(self,
                "\"done\": true, \"violations\": %llu, \"calls\": %llu, \"events\": %llu, "
                "\"gaps\": %llu, \"runs\": %llu, \"repeats\": %llu, \"retries\": %llu, "
                "\"refused\": %llu, \"rejected\": %llu, \"flushes\": %llu, \"golden\": %llu, "
                "\"last\": %llu, \"untried\": [%s]",
                (unsigned long long)broken, (unsigned long long)self->calls,
                (unsigned long long)self->events, (unsigned long long)self->gaps,
                (unsigned long long)self->runs, (unsigned long long)self->repeats,
                (unsigned long long)self->retries, (unsigned long long)self->refused,
                (unsigned long long)self->rejected, (unsigned long long)self->flushes,
                (unsigned long long)self->goldens, (unsigned long long)self->delivered, untried);
}

int32_t fail(probe *self, int32_t status, const char *text) {
    char given[TEXT_ROOM], escaped[2 * TEXT_ROOM];
    const int len = snprintf(given, sizeof given, "probe says why: %s", text);
    escape(given, escaped, sizeof escaped);
    report_line(self, "\"error\": \"%s\", \"status\": %d", escaped, (int)status);
    TELL(self->host->set_error(self->host->ctx, "probe: the last text wins", 25));
    TELL(self->host->set_error(self->host->ctx, NULL, 0));
    TELL(self->host->set_error(self->host->ctx, given, (size_t)len));
    memset(given, '#', sizeof given);
    return status;
}

void say(probe *self, const char *text) {
    char given[TEXT_ROOM], escaped[2 * TEXT_ROOM];
    const int len = snprintf(given, sizeof given, "probe says: %s", text);
    escape(given, escaped, sizeof escaped);
    report_line(self, "\"line\": \"%s\"", escaped);
    TELL(self->host->log(self->host->ctx, SLIPSTREAM_LOG_INFO, given, (size_t)len));
    memset(given, '#', sizeof given);
    TELL(self->host->log(self->host->ctx, SLIPSTREAM_LOG_DEBUG, NULL, 0));
}
