/*
 * batch.c - see batch.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _DEFAULT_SOURCE /* strdup */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

static bool make_room(void **data, size_t *room, size_t wanted, size_t each) {
    if (wanted <= *room)
        return true;
    void *grown = realloc(*data, 2 * wanted * each);
    if (grown == NULL)
        return false;
    *data = grown;
    *room = 2 * wanted;
    return true;
}

bool batch_add(batch *self, const slipstream_frame *frame, uint64_t ordinal) {
    void *events = self->events;
    void *bytes = self->bytes;
    bool has = make_room(&events, &self->room, self->count + 1, sizeof *self->events);
    has = has && make_room(&bytes, &self->size, self->len + frame->whole.len, 1);
    self->events = (batch_event *)events;
    self->bytes = (uint8_t *)bytes;
    if (!has)
        return false;
    if (self->count == 0)
        self->oldest_ms = server_now_ms();
    memcpy(self->bytes + self->len, frame->whole.data, frame->whole.len);
    self->events[self->count++] = (batch_event){.ordinal = ordinal, .at = self->len};
    self->len += frame->whole.len;
    return true;
}

void batch_cut(batch *self, size_t count) {
    while (self->count > count) {
        batch_event *last = &self->events[--self->count];
        free(last->why);
        self->len = last->at;
    }
}

void batch_free(batch *self) {
    batch_cut(self, 0);
    free(self->events);
    free(self->bytes);
    memset(self, 0, sizeof *self);
}

/* ---- Writing ----------------------------------------------------------------------- */

static void say(rows *writer, const char *sql) {
    server_send(writer->server, sql, 0, NULL, NULL, NULL);
}

static int32_t write_part(const batch *self, rows *writer, size_t from, size_t to) {
    slipstream_frame frame;
    for (size_t i = from; i < to; i++)
        if (!self->events[i].is_refused &&
            slipstream_read_frame(self->bytes + self->events[i].at, self->len - self->events[i].at,
                                  &frame) == SLIPSTREAM_OK)
            rows_add(writer, &frame);
    const int32_t status = rows_send(writer);
    const int32_t done = server_finish(writer->server, NULL);
    return status == SLIPSTREAM_OK ? done : status;
}

/* Something in this part is refused: halves of it are tried until it is found. */
static int32_t find_refused(batch *self, rows *writer, size_t from, size_t to,
                            uint64_t until_ms) {
    char why[SLIPSTREAM_ERROR_MAX];
    const size_t middle = from + (to - from) / 2;
    if (server_now_ms() >= until_ms) /* what was found so far is not looked for again */
        return server_fail(writer->server, SLIPSTREAM_RETRY, "the server refuses many events");
    say(writer, "SAVEPOINT part");
    int32_t status = write_part(self, writer, from, to);
    if (status != SLIPSTREAM_OK && status != SLIPSTREAM_FAILED)
        return status;
    memcpy(why, writer->server->error, sizeof why);
    if (status == SLIPSTREAM_FAILED)
        say(writer, "ROLLBACK TO part");
    say(writer, "RELEASE part");
    const int32_t released = server_finish(writer->server, NULL);
    if (released != SLIPSTREAM_OK || status == SLIPSTREAM_OK)
        return released;
    if (to - from == 1) {
        self->events[from].is_refused = true;
        self->events[from].why = strdup(why);
        return SLIPSTREAM_OK;
    }
    status = find_refused(self, writer, from, middle, until_ms);
    return status == SLIPSTREAM_OK ? find_refused(self, writer, middle, to, until_ms) : status;
}

int32_t batch_write(batch *self, rows *writer) {
    int32_t status = write_part(self, writer, 0, self->count);
    if (status != SLIPSTREAM_FAILED)
        return status;
    say(writer, "BEGIN");
    say(writer, "SET CONSTRAINTS ALL IMMEDIATE"); /* at the end it would be nobody's fault */
    status = find_refused(self, writer, 0, self->count,
                          server_now_ms() + writer->server->statement_ms);
    if (status == SLIPSTREAM_OK) {
        say(writer, "COMMIT");
        status = server_finish(writer->server, NULL);
    }
    if (status != SLIPSTREAM_OK)
        server_close(writer->server); /* which undoes it */
    return status == SLIPSTREAM_FAILED ? SLIPSTREAM_RETRY : status;
}
