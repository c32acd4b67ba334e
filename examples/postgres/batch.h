/*
 * batch.h - the events that wait for their transaction.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef POSTGRES_BATCH_H
#define POSTGRES_BATCH_H

#include "rows.h"

typedef struct batch_event {
    uint64_t ordinal;
    size_t at; /* of its frame in the bytes */
    char *why; /* the server refused it; malloc'ed */
    bool is_refused;
} batch_event;

typedef struct batch {
    batch_event *events;
    size_t count;
    size_t room;
    uint8_t *bytes;
    size_t len;
    size_t size;
    uint64_t oldest_ms; /* when the first came */
} batch;

/* A copy of the frame is kept; false without memory. */
bool batch_add(batch *self, const slipstream_frame *frame, uint64_t ordinal);

/* Takes back all but the first `count`. */
void batch_cut(batch *self, size_t count);

/* Writes all of it in one transaction, with `writer`, and finds out which events the server refuses.
 * OK: it is committed. Else nothing is, and all of it waits on. */
int32_t batch_write(batch *self, rows *writer);

void batch_free(batch *self);

#endif
