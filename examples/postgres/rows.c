/*
 * rows.c - see rows.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rows.h"

#include "../common/aleo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "schema.h"

enum { ARRAY_HEAD = 20 };
#define LOCK "7311365190123" /* any number that nobody else takes */
#define EPOCH_2000_US INT64_C(946684800000000)

/* ---- Columns ------------------------------------------------------------------------- */

static void put_u32(char *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = (char)(value >> (24 - 8 * i));
}

/* Room for an element of `len` bytes, its length set; NULL without memory. */
static char *extend(rows *self, rows_column *column, size_t len) {
    if (column->len == 0)
        column->len = ARRAY_HEAD;
    if (column->len + len + 4 > column->size) {
        const size_t size = 2 * (column->len + len + 4);
        char *data = (char *)realloc(column->data, size);
        if (data == NULL) {
            self->no_memory = true;
            return NULL;
        }
        column->data = data;
        column->size = size;
    }
    char *at = column->data + column->len;
    put_u32(at, (uint32_t)len);
    column->len += len + 4;
    return at + 4;
}

static void add_null(rows *self, rows_column *column) {
    char *at = extend(self, column, 0);
    if (at != NULL)
        put_u32(at - 4, UINT32_MAX);
}

static void add_bytes(rows *self, rows_column *column, slipstream_bytes bytes) {
    if (bytes.data == NULL) {
        add_null(self, column);
        return;
    }
    char *at = extend(self, column, bytes.len);
    if (at != NULL)
        memcpy(at, bytes.data, bytes.len);
}

static void add_i64(rows *self, rows_column *column, uint64_t value) {
    char *at = extend(self, column, 8);
    if (at == NULL)
        return;
    put_u32(at, (uint32_t)(value >> 32));
    put_u32(at + 4, (uint32_t)value);
}

static void add_height(rows *self, rows_column *column, uint64_t height) {
    if (height == SLIPSTREAM_HEIGHT_NONE)
        add_null(self, column);
    else
        add_i64(self, column, height);
}

static void add_time(rows *self, rows_column *column, int64_t time_ns) {
    add_i64(self, column, (uint64_t)(time_ns / 1000 - EPOCH_2000_US));
}

static void add_text(rows *self, rows_column *column, const char *text) {
    add_bytes(self, column, (slipstream_bytes){(const uint8_t *)text, strlen(text)});
}

static void add_number(rows *self, rows_column *column, uint64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    add_text(self, column, text);
}

static void add_hex(rows *self, rows_column *column, slipstream_bytes bytes) {
    static const char digits[] = "0123456789abcdef";
    char *at = extend(self, column, 2 * bytes.len + 2);
    if (at == NULL)
        return;
    *at++ = '\\';
    *at++ = 'x';
    for (size_t i = 0; i < bytes.len; i++) {
        *at++ = digits[bytes.data[i] >> 4];
        *at++ = digits[bytes.data[i] & 15];
    }
}

static bool is_printable(slipstream_bytes bytes) {
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.data[i] < ' ' || bytes.data[i] > '~')
            return false;
    return bytes.len == 0 || bytes.data[0] != '\\';
}

static void add_name(rows *self, rows_column *column, slipstream_bytes name, int identifiers) {
    char text[ALEO_NAME_TEXT];
    if (aleo_name_text(name, identifiers, text))
        add_text(self, column, text);
    else if (is_printable(name))
        add_bytes(self, column, name);
    else
        add_hex(self, column, name);
}

static void add_address(rows *self, rows_column *column, slipstream_bytes address) {
    char text[ALEO_BECH32_TEXT];
    if (address.len == 32) {
        aleo_bech32m("aleo", address.data, text);
        add_text(self, column, text);
    } else
        add_name(self, column, address, 1);
}

/* ---- Statements ---------------------------------------------------------------------- */

static void types_of(rows_statement which, int *count, Oid elements[ROWS_COLUMNS],
                     Oid arrays[ROWS_COLUMNS]) {
    const char *types = statements[which].types;
    *count = (int)strlen(types);
    for (int i = 0; i < *count; i++) { /* pg_type.dat of PostgreSQL; these never change */
        elements[i] = types[i] == 'i' ? 20 : types[i] == 'm' ? 1184 : types[i] == 't' ? 25 : 17;
        arrays[i] = types[i] == 'i' ? 1016 : types[i] == 'm' ? 1185 : types[i] == 't' ? 1009 : 1001;
    }
}

static void reset(rows_batch *batch) {
    for (int i = 0; i < ROWS_COLUMNS; i++)
        batch->columns[i].len = 0;
    batch->rows = 0;
}

static void send_batch(rows *self, rows_statement which) {
    rows_batch *batch = &self->batches[which];
    Oid elements[ROWS_COLUMNS];
    Oid arrays[ROWS_COLUMNS];
    const char *values[ROWS_COLUMNS];
    int lengths[ROWS_COLUMNS];
    int count;
    if (batch->rows == 0 || self->no_memory)
        return;
    types_of(which, &count, elements, arrays);
    for (int i = 0; i < count; i++) {
        rows_column *column = &batch->columns[i];
        put_u32(column->data, 1);      /* dimensions */
        put_u32(column->data + 4, 1);  /* there may be a NULL */
        put_u32(column->data + 8, elements[i]);
        put_u32(column->data + 12, batch->rows);
        put_u32(column->data + 16, 1); /* the lower bound */
        values[i] = column->data;
        lengths[i] = (int)column->len;
    }
    server_send(self->server, self->sql[which], count, arrays, values, lengths);
    reset(batch);
}

/* The columns that all events have. */
static rows_column *add_event(rows *self, rows_statement which, const slipstream_frame *frame) {
    rows_column *columns = self->batches[which].columns;
    self->batches[which].rows++;
    add_i64(self, &columns[0], frame->stream);
    add_i64(self, &columns[1], frame->sequence);
    add_height(self, &columns[2], frame->height);
    add_time(self, &columns[3], frame->time_ns);
    return columns + 4;
}

/* A whole mapping is cleared between what came before and what comes behind. */
static void add_change(rows *self, const slipstream_frame *frame,
                       const slipstream_mapping_update *update) {
    const rows_statement which = update->key.data == NULL ? ROWS_CLEAR : ROWS_CHANGE;
    if (which == ROWS_CLEAR)
        send_batch(self, ROWS_CHANGE);
    rows_column *columns = add_event(self, which, frame);
    add_name(self, &columns[0], update->program_id, 2);
    add_name(self, &columns[1], update->mapping_name, 1);
    add_bytes(self, &columns[2], update->key);
    add_bytes(self, &columns[3], update->value);
    if (which == ROWS_CLEAR)
        send_batch(self, ROWS_CLEAR);
}

static void add_reward(rows *self, const slipstream_frame *frame,
                       const slipstream_staking_reward *reward) {
    rows_column *columns = add_event(self, ROWS_REWARD, frame);
    add_address(self, &columns[0], reward->staker);
    add_address(self, &columns[1], reward->validator);
    add_number(self, &columns[2], reward->reward);
    add_number(self, &columns[3], reward->new_stake);
}

static void add_gap(rows *self, const slipstream_frame *frame, const slipstream_gap *gap) {
    rows_column *columns = self->batches[ROWS_GAP].columns;
    self->batches[ROWS_GAP].rows++;
    add_time(self, &columns[0], frame->time_ns);
    add_i64(self, &columns[1], gap->count);
    add_i64(self, &columns[2], gap->reasons);
    add_i64(self, &columns[3], gap->kinds);
    add_height(self, &columns[4], gap->first_height);
    add_height(self, &columns[5], gap->last_height);
    add_i64(self, &columns[6], gap->lost_stream);
    add_i64(self, &columns[7], gap->first_sequence);
    add_i64(self, &columns[8], gap->last_sequence);
}

/* Reads a frame and, if `self` is there, adds it. */
static int32_t read_row(rows *self, const slipstream_frame *frame) {
    slipstream_mapping_update update = {0};
    slipstream_mapping_removal removal;
    slipstream_staking_reward reward;
    slipstream_block block;
    slipstream_gap gap;
    int32_t status = SLIPSTREAM_IGNORED;
    switch (frame->kind) {
    case SLIPSTREAM_KIND_MAPPING_UPDATE:
        status = slipstream_read_mapping_update(frame, &update);
        if (status == SLIPSTREAM_OK && self != NULL)
            add_change(self, frame, &update);
        break;
    case SLIPSTREAM_KIND_MAPPING_REMOVAL:
        status = slipstream_read_mapping_removal(frame, &removal);
        if (status != SLIPSTREAM_OK || self == NULL)
            break;
        update.program_id = removal.program_id;
        update.mapping_name = removal.mapping_name;
        update.key = removal.key;
        add_change(self, frame, &update);
        break;
    case SLIPSTREAM_KIND_STAKING_REWARD:
        status = slipstream_read_staking_reward(frame, &reward);
        if (status == SLIPSTREAM_OK && self != NULL)
            add_reward(self, frame, &reward);
        break;
    case SLIPSTREAM_KIND_BLOCK:
        status = slipstream_read_block(frame, &block);
        if (status == SLIPSTREAM_OK && self != NULL)
            add_bytes(self, add_event(self, ROWS_BLOCK, frame), block.block);
        break;
    case SLIPSTREAM_KIND_GAP:
        status = slipstream_read_gap(frame, &gap);
        if (status == SLIPSTREAM_OK && self != NULL)
            add_gap(self, frame, &gap);
        break;
    default:
        break;
    }
    return status;
}

int32_t rows_judge(const slipstream_frame *frame) {
    return read_row(NULL, frame);
}

void rows_add(rows *self, const slipstream_frame *frame) {
    read_row(self, frame);
}

int32_t rows_send(rows *self) {
    for (int i = 0; i < ROWS_STATEMENTS; i++)
        send_batch(self, (rows_statement)i);
    if (!self->no_memory)
        return SLIPSTREAM_OK;
    rows_forget(self);
    return server_fail(self->server, SLIPSTREAM_NO_MEMORY, "no memory for the events of a run");
}

void rows_forget(rows *self) {
    self->no_memory = false;
    for (int i = 0; i < ROWS_STATEMENTS; i++)
        reset(&self->batches[i]);
}

void rows_free(rows *self) {
    for (int i = 0; i < ROWS_STATEMENTS; i++)
        for (int k = 0; k < ROWS_COLUMNS; k++)
            free(self->batches[i].columns[k].data);
    memset(self->batches, 0, sizeof self->batches);
}

/* ---- The schema ---------------------------------------------------------------------- */

static void quote(char *to, const char *name) {
    *to++ = '"';
    for (; *name != '\0'; name++) {
        if (*name == '"')
            *to++ = '"';
        *to++ = *name;
    }
    *to++ = '"';
    *to = '\0';
}

void rows_set_names(rows *self, const char *schema, const char *const names[ROWS_TABLES]) {
    char quoted[ROWS_QUOTED];
    quote(self->schema, schema);
    for (int i = 0; i < ROWS_TABLES; i++) {
        quote(quoted, names[i]);
        snprintf(self->tables[i], sizeof self->tables[i], "%s.%s", self->schema, quoted);
    }
}

/* printf's %1$s is POSIX, not C11. */
static void fill(char sql[ROWS_SQL], const char *format, const char *first, const char *other) {
    size_t used = 0;
    for (; *format != '\0' && used + 1 < ROWS_SQL; format++) {
        if (format[0] != '%') {
            sql[used++] = *format;
            continue;
        }
        const char *name = format[1] == '1' ? first : other;
        const size_t len = strlen(name);
        if (used + len + 1 >= ROWS_SQL)
            break;
        memcpy(sql + used, name, len);
        used += len;
        format += 3;
    }
    sql[used] = '\0';
}

/* What is there already: nobody who may not make a schema or a table has to. */
static int32_t look(rows *self, bool there[ROWS_TABLES + 1]) {
    PGresult *answer;
    Oid types[ROWS_TABLES + 1];
    const char *names[ROWS_TABLES + 1];
    int lengths[ROWS_TABLES + 1];
    for (int i = 0; i <= ROWS_TABLES; i++) {
        names[i] = i < ROWS_TABLES ? self->tables[i] : self->schema;
        lengths[i] = (int)strlen(names[i]);
        types[i] = 25; /* text */
    }
    /* One at a time, until it is given back: two would make the same twice. */
    server_send(self->server, "SELECT pg_advisory_lock(" LOCK ")", 0, NULL, NULL, NULL);
    server_send(self->server,
                "SELECT to_regclass($1) IS NOT NULL, to_regclass($2) IS NOT NULL,"
                " to_regclass($3) IS NOT NULL, to_regclass($4) IS NOT NULL,"
                " to_regclass($5) IS NOT NULL, to_regnamespace($6) IS NOT NULL",
                ROWS_TABLES + 1, types, names, lengths);
    const int32_t status = server_finish(self->server, &answer);
    for (int i = 0; i <= ROWS_TABLES && status == SLIPSTREAM_OK; i++)
        there[i] = *PQgetvalue(answer, 0, i) == 't';
    PQclear(answer);
    return status;
}

int32_t rows_make_schema(rows *self) {
    char sql[ROWS_SQL];
    bool there[ROWS_TABLES + 1];
    Oid elements[ROWS_COLUMNS];
    Oid arrays[ROWS_COLUMNS];
    int count;
    int32_t status = look(self, there);
    if (status != SLIPSTREAM_OK)
        return status;
    if (!there[ROWS_TABLES]) {
        fill(sql, "CREATE SCHEMA %1$s", self->schema, "");
        server_send(self->server, sql, 0, NULL, NULL, NULL);
    }
    for (int i = 0; i < ROWS_TABLES; i++)
        for (int k = 0; k < 3 && tables[i][k] != NULL && !there[i]; k++) {
            fill(sql, tables[i][k], self->tables[i], "");
            server_send(self->server, sql, 0, NULL, NULL, NULL);
        }
    for (int i = 0; i < ROWS_STATEMENTS; i++) {
        fill(self->sql[i], statements[i].sql, self->tables[statements[i].first],
             self->tables[statements[i].other]);
        types_of((rows_statement)i, &count, elements, arrays);
        server_try(self->server, self->sql[i], count, arrays);
    }
    server_send(self->server, "SELECT pg_advisory_unlock(" LOCK ")", 0, NULL, NULL, NULL);
    return server_finish(self->server, NULL);
}
