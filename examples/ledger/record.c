/*
 * record.c - writes one event into a ledger's tables. See store.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../common/aleo.h"
#include "store.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const history_all =
    "INSERT INTO mapping_history (program, mapping, key, value, microcredits, height, time_ns,"
    " stream, sequence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/* Runs before the state is written, and so sees the value before. */
static const char *const history_changes =
    "INSERT INTO mapping_history (program, mapping, key, value, microcredits, height, time_ns,"
    " stream, sequence) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE NOT EXISTS (SELECT 1"
    " FROM mapping_state WHERE program = ?1 AND mapping = ?2 AND key = ?3 AND value = ?4)";

static const char *const statements[STORE_STATEMENTS] = {
    [STORE_READ_PROGRESS] = "SELECT sequence, height, time_ns FROM progress WHERE stream = ?1",
    [STORE_WRITE_PROGRESS] = "INSERT OR REPLACE INTO progress (stream, sequence, height, time_ns)"
                             " VALUES (?1, ?2, ?3, ?4)",
    [STORE_PUT_STATE] =
        "INSERT OR REPLACE INTO mapping_state (program, mapping, key, value, microcredits, height,"
        " owner, stream, sequence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [STORE_REMOVE_KEY] =
        "DELETE FROM mapping_state WHERE program = ?1 AND mapping = ?2 AND key = ?3",
    [STORE_REMOVE_MAPPING] = "DELETE FROM mapping_state WHERE program = ?1 AND mapping = ?2",
    [STORE_PUT_REWARD] =
        "INSERT INTO staking_rewards (staker, validator, reward, new_stake, height, time_ns,"
        " stream, sequence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [STORE_PUT_BLOCK] =
        "INSERT INTO blocks (bytes, hash, previous_hash, round, timestamp, height, time_ns,"
        " stream, sequence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [STORE_REMOVE_GAPS] = "DELETE FROM gaps WHERE first_ordinal >= ?1 AND last_ordinal <= ?2"
                          " AND coalesce(first_height, -1) >= coalesce(?3, -1)"
                          " AND coalesce(last_height, -1) <= coalesce(?4, -1)",
    [STORE_PUT_GAP] =
        "INSERT INTO gaps (first_ordinal, last_ordinal, first_height, last_height, count, kinds,"
        " reasons, time_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
};

int32_t store_prepare(store *self) {
    for (int i = 0; i < STORE_STATEMENTS; i++) {
        const char *sql = statements[i];
        if (i == STORE_PUT_HISTORY)
            sql = self->history == STORE_CHANGES ? history_changes : history_all;
        int code = sqlite3_prepare_v3(self->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                      &self->statements[i], NULL);
        if (code != SQLITE_OK)
            return store_fail_sqlite(self, code, "prepare a statement");
    }
    return SLIPSTREAM_OK;
}

/* ---- Binding and running ------------------------------------------------------------ */

static void note(store *self, int code) {
    if (self->failed == SQLITE_OK)
        self->failed = code;
}

static void bind_number(store *self, int statement, int at, uint64_t number) {
    note(self, sqlite3_bind_int64(self->statements[statement], at, (sqlite3_int64)number));
}

static void bind_null(store *self, int statement, int at) {
    note(self, sqlite3_bind_null(self->statements[statement], at));
}

static void bind_height(store *self, int statement, int at, uint64_t height) {
    if (height == SLIPSTREAM_HEIGHT_NONE)
        bind_null(self, statement, at);
    else
        bind_number(self, statement, at, height);
}

/* The bytes stay the host's: the statement runs before on_broadcast returns. */
static void bind_bytes(store *self, int statement, int at, slipstream_bytes bytes) {
    sqlite3_stmt *target = self->statements[statement];
    if (bytes.data == NULL)
        bind_null(self, statement, at);
    else
        note(self, sqlite3_bind_blob64(target, at, bytes.data, bytes.len, SQLITE_STATIC));
}

static void bind_text(store *self, int statement, int at, const char *text) {
    note(self, sqlite3_bind_text(self->statements[statement], at, text, -1, SQLITE_TRANSIENT));
}

static void bind_name(store *self, int statement, int at, slipstream_bytes name, int identifiers) {
    char text[ALEO_NAME_TEXT];
    if (aleo_name_text(name, identifiers, text))
        bind_text(self, statement, at, text);
    else
        bind_bytes(self, statement, at, name);
}

static void bind_bech32m(store *self, int statement, int at, const char *prefix,
                         const uint8_t *data) {
    char text[ALEO_BECH32_TEXT];
    aleo_bech32m(prefix, data, text);
    bind_text(self, statement, at, text);
}

static void bind_address(store *self, int statement, int at, slipstream_bytes address) {
    if (address.len == 32)
        bind_bech32m(self, statement, at, "aleo", address.data);
    else
        bind_bytes(self, statement, at, address);
}

/* An amount that SQLite's integers cannot hold is kept as decimal text. */
static void bind_amount(store *self, int statement, int at, uint64_t amount) {
    char text[24];
    if (amount <= INT64_MAX) {
        bind_number(self, statement, at, amount);
        return;
    }
    snprintf(text, sizeof text, "%" PRIu64, amount);
    bind_text(self, statement, at, text);
}

/* Binds height, time, stream and sequence from `at` on. */
static void bind_event(store *self, int statement, int at, const slipstream_frame *frame) {
    bind_height(self, statement, at, frame->height);
    bind_number(self, statement, at + 1, (uint64_t)frame->time_ns);
    bind_number(self, statement, at + 2, frame->stream);
    bind_number(self, statement, at + 3, frame->sequence);
}

static int32_t run(store *self, int statement, const char *doing) {
    int code = self->failed;
    int32_t status = SLIPSTREAM_OK;
    self->failed = SQLITE_OK;
    if (code == SQLITE_OK)
        code = sqlite3_step(self->statements[statement]);
    if (code != SQLITE_DONE)
        status = store_fail_sqlite(self, code, doing);
    sqlite3_reset(self->statements[statement]);
    return status;
}

/* ---- Where a stream stands ---------------------------------------------------------- */

int32_t store_write_position(store *self) {
    if (!self->position.moved)
        return SLIPSTREAM_OK;
    bind_number(self, STORE_WRITE_PROGRESS, 1, self->position.stream);
    bind_number(self, STORE_WRITE_PROGRESS, 2, self->position.sequence);
    bind_height(self, STORE_WRITE_PROGRESS, 3, self->position.height);
    bind_number(self, STORE_WRITE_PROGRESS, 4, (uint64_t)self->position.time_ns);
    int32_t status = run(self, STORE_WRITE_PROGRESS, "write the progress");
    if (status == SLIPSTREAM_OK)
        self->position.moved = false;
    return status;
}

static int32_t find_stream(store *self, uint64_t stream) {
    sqlite3_stmt *statement = self->statements[STORE_READ_PROGRESS];
    store_position found = {stream, 0, SLIPSTREAM_HEIGHT_NONE, 0, false};
    int32_t status = store_write_position(self);
    if (status != SLIPSTREAM_OK)
        return status;
    bind_number(self, STORE_READ_PROGRESS, 1, stream);
    self->failed = SQLITE_OK; /* of one number that cannot fail */
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        found.sequence = (uint64_t)sqlite3_column_int64(statement, 0);
        if (sqlite3_column_type(statement, 1) != SQLITE_NULL)
            found.height = (uint64_t)sqlite3_column_int64(statement, 1);
        found.time_ns = sqlite3_column_int64(statement, 2);
    } else if (code != SQLITE_DONE)
        status = store_fail_sqlite(self, code, "read the progress");
    sqlite3_reset(statement);
    if (status == SLIPSTREAM_OK)
        self->position = found;
    return status;
}

int32_t store_has(store *self, const slipstream_frame *frame, bool *has) {
    int32_t status = SLIPSTREAM_OK;
    *has = false;
    if (frame->kind == SLIPSTREAM_KIND_GAP)
        return SLIPSTREAM_OK;
    if (frame->stream == 0 || frame->sequence == 0)
        return store_fail(self, SLIPSTREAM_MALFORMED,
                          "an event without stream or sequence could not be recognised when it "
                          "comes again");
    if (frame->stream != self->position.stream)
        status = find_stream(self, frame->stream);
    *has = status == SLIPSTREAM_OK && frame->sequence <= self->position.sequence;
    return status;
}

static void move(store *self, const slipstream_frame *frame) {
    self->position.sequence = frame->sequence;
    self->position.time_ns = frame->time_ns;
    self->position.moved = true;
    if (frame->height != SLIPSTREAM_HEIGHT_NONE)
        self->position.height = frame->height;
}

/* ---- The kinds ----------------------------------------------------------------------- */

static void bind_mapping(store *self, int statement, slipstream_bytes program,
                         slipstream_bytes mapping) {
    bind_name(self, statement, 1, program, 2);
    bind_name(self, statement, 2, mapping, 1);
}

static int32_t put_mapping(store *self, int statement, const slipstream_frame *frame,
                           const slipstream_mapping_update *event) {
    uint64_t amount = 0;
    bind_mapping(self, statement, event->program_id, event->mapping_name);
    bind_bytes(self, statement, 3, event->key);
    bind_bytes(self, statement, 4, event->value);
    if (event->value.data != NULL && aleo_value_microcredits(event->value, &amount) &&
        amount <= INT64_MAX)
        bind_number(self, statement, 5, amount);
    else
        bind_null(self, statement, 5);
    bind_event(self, statement, 6, frame);
    if (statement == STORE_PUT_STATE) { /* in place of the time, which only the history has */
        const uint8_t *owner = aleo_key_address(event->key);
        if (owner != NULL)
            bind_bech32m(self, statement, 7, "aleo", owner);
        else
            bind_null(self, statement, 7);
    }
    return run(self, statement, "record a mapping");
}

static int32_t record_update(store *self, const slipstream_frame *frame) {
    slipstream_mapping_update event;
    int32_t status = slipstream_read_mapping_update(frame, &event);
    if (status == SLIPSTREAM_OK && self->history != STORE_NONE)
        status = put_mapping(self, STORE_PUT_HISTORY, frame, &event);
    return status == SLIPSTREAM_OK ? put_mapping(self, STORE_PUT_STATE, frame, &event) : status;
}

static int32_t record_removal(store *self, const slipstream_frame *frame) {
    slipstream_mapping_removal event;
    int32_t status = slipstream_read_mapping_removal(frame, &event);
    if (status != SLIPSTREAM_OK)
        return status;
    if (self->history != STORE_NONE) {
        const slipstream_mapping_update nothing = {event.program_id, event.mapping_name, event.key,
                                                   {NULL, 0}, event.encoding, 0};
        status = put_mapping(self, STORE_PUT_HISTORY, frame, &nothing);
        if (status != SLIPSTREAM_OK)
            return status;
    }
    int statement = event.key.data != NULL ? STORE_REMOVE_KEY : STORE_REMOVE_MAPPING;
    bind_mapping(self, statement, event.program_id, event.mapping_name);
    if (event.key.data != NULL)
        bind_bytes(self, statement, 3, event.key);
    return run(self, statement, "record a removal");
}

static int32_t record_reward(store *self, const slipstream_frame *frame) {
    slipstream_staking_reward event;
    int32_t status = slipstream_read_staking_reward(frame, &event);
    if (status != SLIPSTREAM_OK)
        return status;
    bind_address(self, STORE_PUT_REWARD, 1, event.staker);
    bind_address(self, STORE_PUT_REWARD, 2, event.validator);
    bind_amount(self, STORE_PUT_REWARD, 3, event.reward);
    bind_amount(self, STORE_PUT_REWARD, 4, event.new_stake);
    bind_event(self, STORE_PUT_REWARD, 5, frame);
    return run(self, STORE_PUT_REWARD, "record a reward");
}

static int32_t record_block(store *self, const slipstream_frame *frame) {
    slipstream_block event;
    aleo_block head;
    int32_t status = slipstream_read_block(frame, &event);
    if (status != SLIPSTREAM_OK)
        return status;
    bind_number(self, STORE_PUT_BLOCK, 1, event.block.len);
    if (aleo_read_block(event.block, &head)) {
        bind_bech32m(self, STORE_PUT_BLOCK, 2, "ab", head.hash);
        bind_bech32m(self, STORE_PUT_BLOCK, 3, "ab", head.previous);
        bind_number(self, STORE_PUT_BLOCK, 4, head.round);
        bind_number(self, STORE_PUT_BLOCK, 5, (uint64_t)head.timestamp);
    } else
        for (int at = 2; at <= 5; at++)
            bind_null(self, STORE_PUT_BLOCK, at);
    bind_event(self, STORE_PUT_BLOCK, 6, frame);
    return run(self, STORE_PUT_BLOCK, "record a block");
}

int32_t store_record_gap(store *self, const slipstream_gap *gap, const char *reasons,
                         int64_t time_ns) {
    for (int statement = STORE_REMOVE_GAPS; statement <= STORE_PUT_GAP; statement++) {
        bind_number(self, statement, 1, gap->first);
        bind_number(self, statement, 2, gap->last);
        bind_height(self, statement, 3, gap->first_height);
        bind_height(self, statement, 4, gap->last_height);
    }
    bind_number(self, STORE_PUT_GAP, 5, gap->count);
    bind_number(self, STORE_PUT_GAP, 6, gap->kinds);
    bind_text(self, STORE_PUT_GAP, 7, reasons);
    bind_number(self, STORE_PUT_GAP, 8, (uint64_t)time_ns);
    int32_t status = run(self, STORE_REMOVE_GAPS, "record a gap");
    return status == SLIPSTREAM_OK ? run(self, STORE_PUT_GAP, "record a gap") : status;
}

static int32_t record_gap(store *self, const slipstream_frame *frame) {
    static const char *const names[] = {"dropped_newest", "dropped_oldest", "block_timeout",
                                        "dead_letter",    "too_large",      "paused",
                                        "reload"};
    slipstream_gap event;
    char reasons[128] = "";
    size_t used = 0;
    int32_t status = slipstream_read_gap(frame, &event);
    if (status != SLIPSTREAM_OK)
        return status;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (event.reasons >> i & 1)
            used += (size_t)snprintf(reasons + used, sizeof reasons - used, "%s%s",
                                     used > 0 ? " " : "", names[i]);
    return store_record_gap(self, &event, reasons, frame->time_ns);
}

int32_t store_record(store *self, const slipstream_frame *frame) {
    int32_t status;
    switch (frame->kind) {
    case SLIPSTREAM_KIND_MAPPING_UPDATE:
        status = record_update(self, frame);
        break;
    case SLIPSTREAM_KIND_MAPPING_REMOVAL:
        status = record_removal(self, frame);
        break;
    case SLIPSTREAM_KIND_STAKING_REWARD:
        status = record_reward(self, frame);
        break;
    case SLIPSTREAM_KIND_BLOCK:
        status = record_block(self, frame);
        break;
    default:
        status = record_gap(self, frame);
        break;
    }
    if (status == SLIPSTREAM_MALFORMED)
        return store_fail(self, status, "the event's payload is malformed");
    if (status == SLIPSTREAM_OK && frame->kind != SLIPSTREAM_KIND_GAP)
        move(self, frame);
    return status;
}
