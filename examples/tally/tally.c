/*
 * tally - counts events by kind and by mapping, and logs the table when it is unloaded.
 *
 * Config: log_every     a line of totals after every so many events; 0, the default, is never
 *         max_mappings  mappings counted one by one, 1 to 4096, 256 by default; the rest
 *                       count as "(other)", so that memory stays bounded whatever comes
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../common/aleo.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KINDS 64
#define PROGRAM_MAX 64 /* bytes; a valid program id has at most 64, a mapping's name 32. */
#define MAPPING_MAX 32 /* Longer names count as "(other)". */
#define PROGRAM_TEXT (2 + 2 * PROGRAM_MAX + 1)
#define MAPPING_TEXT (2 + 2 * MAPPING_MAX + 1)
#define LINE 320

/* What a host reads before any of this runs. */
SLIPSTREAM_INFO({
    "name": "tally", "version": "1.0.0", "abi": 1,
    "flags": ["PROMPT", "MULTI_INSTANCE", "BATCH"],
    "kinds": ["MAPPING_UPDATE", "MAPPING_REMOVAL", "STAKING_REWARD", "BLOCK", "PAYLOAD",
              32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
              48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63],
    "requires": ["slipstream.config/1"], "optional": ["slipstream.metrics/1"],
    "config_schema": {
        "type": "object",
        "properties": {
            "log_every": {
                "type": "integer", "minimum": 0, "default": 0,
                "description": "a line of totals after every so many events; 0 is never"
            },
            "max_mappings": {
                "type": "integer", "minimum": 1, "maximum": 4096, "default": 256,
                "description": "mappings that are counted one by one"
            }
        },
        "additionalProperties": false
    },
    "sample_config": {"log_every": 1000},
    "licence": "Apache-2.0"
});

typedef struct row {
    uint64_t updates;
    uint64_t removals;
    uint8_t program_len;
    uint8_t mapping_len;
    uint8_t program[PROGRAM_MAX];
    uint8_t mapping[MAPPING_MAX];
} row;

typedef struct tally {
    slipstream_plugin table;
    const slipstream_host *host;
    const slipstream_metrics_v1 *metrics;
    uint64_t log_every;
    uint64_t max_rows;
    row *rows;   /* max_rows of them, in the order of their names */
    row **order; /* room for as many pointers, to sort the table */
    size_t used;
    row other;
    uint64_t events; /* without gaps */
    uint64_t kinds[KINDS];
    uint64_t lost;
    uint32_t lost_reasons;
    /* Not yet given to the metrics. */
    uint64_t fresh_kinds;
    uint64_t fresh[KINDS];
    uint64_t fresh_lost;
} tally;

static const char *const kind_names[] = {"mapping_update", "mapping_removal", "staking_reward",
                                         "block",          "payload",         "gap"};
static const char *const reason_names[] = {"dropped_newest", "dropped_oldest", "block_timeout",
                                           "dead_letter",    "too_large",      "paused",
                                           "reload"};

static void kind_text(uint32_t kind, char text[16]) {
    if (kind < sizeof kind_names / sizeof *kind_names)
        snprintf(text, 16, "%s", kind_names[kind]);
    else
        snprintf(text, 16, "app_%" PRIu32, kind);
}

/* ---- Counting ---------------------------------------------------------------------- */

static int compare_bytes(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len) {
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_row(const row *item, slipstream_bytes program, slipstream_bytes mapping) {
    int order = compare_bytes(item->program, item->program_len, program.data, program.len);
    if (order == 0)
        order = compare_bytes(item->mapping, item->mapping_len, mapping.data, mapping.len);
    return order;
}

/* The row of a mapping, made if there is room for it. */
static row *find_row(tally *self, slipstream_bytes program, slipstream_bytes mapping) {
    size_t low = 0;
    size_t high = self->used;
    if (program.len > PROGRAM_MAX || mapping.len > MAPPING_MAX)
        return &self->other;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_row(&self->rows[middle], program, mapping);
        if (order == 0)
            return &self->rows[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (self->used == self->max_rows)
        return &self->other;
    row *item = &self->rows[low];
    memmove(item + 1, item, (self->used - low) * sizeof *item);
    self->used++;
    *item = (row){.program_len = (uint8_t)program.len, .mapping_len = (uint8_t)mapping.len};
    memcpy(item->program, program.data, program.len);
    memcpy(item->mapping, mapping.data, mapping.len);
    return item;
}

typedef union event {
    slipstream_mapping_update update;
    slipstream_mapping_removal removal;
    slipstream_staking_reward reward;
    slipstream_block block;
    slipstream_payload payload;
    slipstream_gap gap;
    slipstream_bytes app;
} event;

/* IGNORED for a kind that is not known here. */
static int32_t read_event(const slipstream_frame *frame, event *out) {
    int32_t status;
    switch (frame->kind) {
    case SLIPSTREAM_KIND_MAPPING_UPDATE:
        return slipstream_read_mapping_update(frame, &out->update);
    case SLIPSTREAM_KIND_MAPPING_REMOVAL:
        return slipstream_read_mapping_removal(frame, &out->removal);
    case SLIPSTREAM_KIND_STAKING_REWARD:
        return slipstream_read_staking_reward(frame, &out->reward);
    case SLIPSTREAM_KIND_BLOCK:
        return slipstream_read_block(frame, &out->block);
    case SLIPSTREAM_KIND_PAYLOAD:
        return slipstream_read_payload(frame, &out->payload);
    case SLIPSTREAM_KIND_GAP:
        return slipstream_read_gap(frame, &out->gap);
    default:
        status = slipstream_read_app(frame, &out->app);
        return status == SLIPSTREAM_WRONG_TYPE ? SLIPSTREAM_IGNORED : status;
    }
}

static void log_totals(const tally *self) {
    char line[LINE];
    snprintf(line, sizeof line, "%" PRIu64 " events, %" PRIu64 " lost", self->events, self->lost);
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
}

static void count_event(tally *self, const slipstream_frame *frame, const event *item) {
    self->kinds[frame->kind]++;
    self->fresh[frame->kind]++;
    self->fresh_kinds |= SLIPSTREAM_KIND_BIT(frame->kind);
    if (frame->kind == SLIPSTREAM_KIND_GAP) {
        self->lost += item->gap.count;
        self->fresh_lost += item->gap.count;
        self->lost_reasons |= item->gap.reasons;
        return;
    }
    if (frame->kind == SLIPSTREAM_KIND_MAPPING_UPDATE)
        find_row(self, item->update.program_id, item->update.mapping_name)->updates++;
    if (frame->kind == SLIPSTREAM_KIND_MAPPING_REMOVAL)
        find_row(self, item->removal.program_id, item->removal.mapping_name)->removals++;
    self->events++;
    if (self->log_every != 0 && self->events % self->log_every == 0)
        log_totals(self);
}

static void report(tally *self) {
    for (uint32_t kind = 0; self->fresh_kinds != 0; kind++) {
        char label[32] = "kind=";
        if ((self->fresh_kinds & SLIPSTREAM_KIND_BIT(kind)) == 0)
            continue;
        kind_text(kind, label + 5);
        self->metrics->counter_add(self->host->ctx, "events", label, self->fresh[kind]);
        self->fresh[kind] = 0;
        self->fresh_kinds &= ~SLIPSTREAM_KIND_BIT(kind);
    }
    if (self->fresh_lost != 0)
        self->metrics->counter_add(self->host->ctx, "lost_events", NULL, self->fresh_lost);
    self->fresh_lost = 0;
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    tally *self = (tally *)instance;
    slipstream_frame frame;
    event item;
    size_t at = 0;
    int32_t status;
    int32_t result = SLIPSTREAM_IGNORED;
    (void)delivery;
    /* A run is all or nothing, so all of it is read before anything is counted. */
    while ((status = slipstream_next_frame(frames, len, &at, &frame)) == SLIPSTREAM_OK) {
        status = read_event(&frame, &item);
        if (status == SLIPSTREAM_OK)
            result = SLIPSTREAM_OK;
        else if (status != SLIPSTREAM_IGNORED)
            return slipstream_fail(self->host, status, "the event's payload is malformed");
    }
    if (status == SLIPSTREAM_UNSUPPORTED)
        return slipstream_fail(self->host, status, "the frame has a critical flag that is unknown");
    if (status != SLIPSTREAM_END)
        return slipstream_fail(self->host, status, "the run does not consist of whole frames");
    for (at = 0; slipstream_next_frame(frames, len, &at, &frame) == SLIPSTREAM_OK;)
        if (read_event(&frame, &item) == SLIPSTREAM_OK)
            count_event(self, &frame, &item);
    if (self->metrics != NULL)
        report(self);
    return result;
}

/* ---- The table --------------------------------------------------------------------- */

static void name_text(const uint8_t *data, size_t len, int identifiers, char *text) {
    slipstream_bytes name = {data, len};
    char decoded[ALEO_NAME_TEXT];
    if (aleo_name_text(name, identifiers, decoded)) {
        memcpy(text, decoded, strlen(decoded) + 1);
        return;
    }
    memcpy(text, "0x", 3);
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 + 2 * i, 3, "%02x", data[i]);
}

static void row_text(const tally *self, const row *item, char program[PROGRAM_TEXT],
                     char mapping[MAPPING_TEXT]) {
    if (item == &self->other) {
        memcpy(program, "(other)", 8);
        memcpy(mapping, "(other)", 8);
        return;
    }
    name_text(item->program, item->program_len, 2, program);
    name_text(item->mapping, item->mapping_len, 1, mapping);
}

/* The busiest first; a tie in the order of the names, which is that of the rows. */
static int compare_order(const void *left, const void *right) {
    const row *a = *(row *const *)left;
    const row *b = *(row *const *)right;
    uint64_t a_total = a->updates + a->removals;
    uint64_t b_total = b->updates + b->removals;
    if (a_total != b_total)
        return a_total < b_total ? 1 : -1;
    return (a > b) - (a < b);
}

static void log_mappings(tally *self) {
    char program[PROGRAM_TEXT] = "program";
    char mapping[MAPPING_TEXT] = "mapping";
    char line[LINE];
    int wide_program = (int)strlen(program);
    int wide_mapping = (int)strlen(mapping);
    size_t count = self->used;
    for (size_t i = 0; i < count; i++)
        self->order[i] = &self->rows[i];
    qsort(self->order, count, sizeof *self->order, compare_order);
    if (self->other.updates + self->other.removals != 0)
        self->order[count++] = &self->other;
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        row_text(self, self->order[i], program, mapping);
        wide_program = wide_program > (int)strlen(program) ? wide_program : (int)strlen(program);
        wide_mapping = wide_mapping > (int)strlen(mapping) ? wide_mapping : (int)strlen(mapping);
    }
    snprintf(line, sizeof line, "%-*s  %-*s  %12s  %12s", wide_program, "program", wide_mapping,
             "mapping", "updates", "removals");
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    for (size_t i = 0; i < count; i++) {
        const row *item = self->order[i];
        row_text(self, item, program, mapping);
        snprintf(line, sizeof line, "%-*s  %-*s  %12" PRIu64 "  %12" PRIu64, wide_program,
                 program, wide_mapping, mapping, item->updates, item->removals);
        slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    }
}

static void log_table(tally *self) {
    char line[LINE];
    log_totals(self);
    if (self->kinds[SLIPSTREAM_KIND_GAP] != 0) {
        int used = snprintf(line, sizeof line, "lost in %" PRIu64 " gaps:",
                            self->kinds[SLIPSTREAM_KIND_GAP]);
        for (size_t i = 0; i < sizeof reason_names / sizeof *reason_names; i++)
            if (self->lost_reasons >> i & 1)
                used += snprintf(line + used, sizeof line - (size_t)used, " %s", reason_names[i]);
        slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    }
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        char name[16];
        if (self->kinds[kind] == 0)
            continue;
        kind_text(kind, name);
        snprintf(line, sizeof line, "%-15s  %12" PRIu64, name, self->kinds[kind]);
        slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    }
    log_mappings(self);
}

/* ---- Life -------------------------------------------------------------------------- */

/* Reads a whole number between `low` and `high`; leaves *value alone where the key is absent. */
static int32_t read_number(const tally *self, const slipstream_config_v1 *config, const char *key,
                           uint64_t low, uint64_t high, uint64_t *value) {
    char text[128];
    char pointer[64];
    uint64_t number = *value;
    snprintf(pointer, sizeof pointer, "/%s", key);
    int32_t status = config->get_u64(self->host->ctx, pointer, &number);
    if (status == SLIPSTREAM_NOT_FOUND)
        return SLIPSTREAM_OK;
    if (status == SLIPSTREAM_OK && number >= low && number <= high) {
        *value = number;
        return SLIPSTREAM_OK;
    }
    snprintf(text, sizeof text, "config key '%s' must be a whole number, %" PRIu64 " to %" PRIu64,
             key, low, high);
    return slipstream_fail(self->host, SLIPSTREAM_INVALID_CONFIG, text);
}

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *text, size_t len,
                                       uint32_t reason) {
    tally *self = (tally *)instance;
    const slipstream_config_v1 *config =
        (const slipstream_config_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    int32_t status = SLIPSTREAM_OK;
    (void)text;
    (void)len;
    (void)reason;
    if (config == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_UNSUPPORTED,
                               "the host does not offer " SLIPSTREAM_EXT_CONFIG
                               ", which tally reads its config with; use a newer host");
    status = read_number(self, config, "log_every", 0, UINT64_MAX, &self->log_every);
    if (status == SLIPSTREAM_OK)
        status = read_number(self, config, "max_mappings", 1, 4096, &self->max_rows);
    if (status != SLIPSTREAM_OK)
        return status;
    self->rows = (row *)calloc(self->max_rows, sizeof *self->rows);
    self->order = (row **)calloc(self->max_rows + 1, sizeof *self->order);
    if (self->rows == NULL || self->order == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_NO_MEMORY,
                               "no memory for the table; lower 'max_mappings'");
    self->metrics =
        (const slipstream_metrics_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_METRICS);
    return SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return UINT64_C(0x1f) | UINT64_C(0xffffffff) << SLIPSTREAM_KIND_APP_FIRST;
}

static int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    tally *self = (tally *)instance;
    (void)timeout_ms;
    if (self->host->log_enabled(self->host->ctx, SLIPSTREAM_LOG_INFO))
        log_table(self);
    return SLIPSTREAM_OK;
}

static void SLIPSTREAM_CALL destroy(void *instance) {
    tally *self = (tally *)instance;
    free(self->rows);
    free(self->order);
    free(self);
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    tally *self = (tally *)calloc(1, sizeof *self);
    if (self == NULL) {
        slipstream_fail(host, SLIPSTREAM_NO_MEMORY, "no memory for an instance");
        return NULL;
    }
    self->table = (slipstream_plugin){
        .struct_size = sizeof self->table,
        .abi_minor = SLIPSTREAM_ABI_MINOR,
        .flags = SLIPSTREAM_FLAG_PROMPT | SLIPSTREAM_FLAG_MULTI_INSTANCE | SLIPSTREAM_FLAG_BATCH,
        .instance = self,
        .name = "tally",
        .version = "1.0.0",
        .destroy = destroy,
        .on_load = on_load,
        .on_unload = on_unload,
        .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast,
    };
    self->host = host;
    self->max_rows = 256;
    return &self->table;
}
