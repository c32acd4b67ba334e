/*
 * postgres - writes mappings, staking rewards and blocks into a PostgreSQL database, each once.
 *
 * Config: conninfo            required; as libpq has it, mostly "env://NAME" or "file://PATH"
 *         schema              "slipstream" by default; made if it is missing
 *         tables              other names of the tables, see schema.h
 *         batch_size          commit after so many events, 5,000 by default
 *         batch_interval_ms   commit what is older, 1,000 by default; looked at when events come,
 *                             the host's flush takes care of the time without any
 *         connect_timeout_ms, statement_timeout_ms
 *
 * A batch is one transaction, and is acknowledged when that is committed. What was not acknowledged
 * comes again after a crash, and changes nothing where it is in the tables already.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KNOWN_KINDS UINT64_C(0x0f) /* gaps come anyway */
#define BATCH_BYTES (8 * 1024 * 1024)

/* What a host reads before any of this runs. */
SLIPSTREAM_INFO({
    "name": "postgres", "version": "1.0.0", "abi": 1,
    "flags": ["BATCH", "EXPLICIT_ACK", "MULTI_INSTANCE"],
    "kinds": ["MAPPING_UPDATE", "MAPPING_REMOVAL", "STAKING_REWARD", "BLOCK"],
    "requires": ["slipstream.config/1", "slipstream.settle/1"],
    "config_schema": {
        "type": "object",
        "$defs": {"name": {"type": "string", "minLength": 1, "maxLength": 63}},
        "properties": {
            "conninfo": {
                "type": "string", "minLength": 1, "maxLength": 4000,
                "examples": ["env://DATABASE_URL", "host=/run/postgresql dbname=aleo"],
                "description": "how to reach the database: a conninfo or URI of libpq"
            },
            "schema": {
                "type": "string", "minLength": 1, "maxLength": 63, "default": "slipstream",
                "description": "where the tables are; made if it is missing"
            },
            "tables": {
                "type": "object",
                "properties": {
                    "mapping_history": {"$ref": "#/$defs/name"},
                    "mapping_state": {"$ref": "#/$defs/name"},
                    "staking_rewards": {"$ref": "#/$defs/name"},
                    "blocks": {"$ref": "#/$defs/name"},
                    "gaps": {"$ref": "#/$defs/name"}
                },
                "additionalProperties": false,
                "description": "other names of the tables"
            },
            "batch_size": {
                "type": "integer", "minimum": 1, "maximum": 100000, "default": 5000,
                "description": "commit after so many events"
            },
            "batch_interval_ms": {
                "type": "integer", "minimum": 0, "maximum": 60000, "default": 1000,
                "description": "commit what is older"
            },
            "connect_timeout_ms": {
                "type": "integer", "minimum": 100, "maximum": 20000, "default": 3000,
                "description": "the longest wait for a connection"
            },
            "statement_timeout_ms": {
                "type": "integer", "minimum": 100, "maximum": 20000, "default": 10000,
                "description": "the longest wait for a transaction"
            }
        },
        "required": ["conninfo"],
        "additionalProperties": false
    },
    "sample_config": {"conninfo": "host=/run/postgresql dbname=aleo"},
    "licence": "Apache-2.0"
});

typedef struct postgres {
    slipstream_plugin table;
    const slipstream_host *host;
    const slipstream_settle_v1 *settle;
    server server;
    rows rows;
    batch batch;
    uint64_t batch_size;
    uint64_t batch_ms;
    bool is_away; /* the log says that the server takes nothing */
    uint64_t written;
    uint64_t refused;
} postgres;

static int32_t fail(postgres *self, int32_t status) {
    return slipstream_fail(self->host, status, self->server.error);
}

/* ---- Connecting ---------------------------------------------------------------------- */

static int32_t be_connected(postgres *self) {
    if (self->server.conn != NULL)
        return SLIPSTREAM_OK;
    int32_t status = server_connect(&self->server);
    if (status == SLIPSTREAM_OK)
        status = rows_make_schema(&self->rows);
    if (status != SLIPSTREAM_OK)
        server_close(&self->server);
    return status;
}

/* ---- Events -------------------------------------------------------------------------- */

/* A host of mode inline does not have them any more: there the log is all that keeps them. */
static void tell_refused(postgres *self) {
    for (size_t i = 0; i < self->batch.count; i++) {
        const batch_event *event = &self->batch.events[i];
        const char *why = event->why == NULL ? "the server refused it" : event->why;
        if (!event->is_refused)
            continue;
        if (self->settle->reject(self->host->ctx, event->ordinal, SLIPSTREAM_FAILED, why,
                                 strlen(why)) != SLIPSTREAM_OK)
            slipstream_log(self->host, SLIPSTREAM_LOG_ERROR, why);
        self->refused++;
        self->written--;
    }
}

/* Commits what waits. Whatever is wrong with the server is no fault of the events: unless it is OK
 * they wait until somebody has put that right. */
static int32_t commit(postgres *self, uint32_t timeout_ms) {
    if (self->batch.count == 0)
        return SLIPSTREAM_OK;
    self->server.until_ms =
        timeout_ms == SLIPSTREAM_NO_TIMEOUT ? UINT64_MAX : server_now_ms() + timeout_ms;
    int32_t status = be_connected(self);
    if (status == SLIPSTREAM_OK)
        status = batch_write(&self->batch, &self->rows);
    if (status != SLIPSTREAM_OK) {
        if (!self->is_away)
            slipstream_log(self->host, SLIPSTREAM_LOG_WARN, self->server.error);
        self->is_away = true;
        return fail(self, status == SLIPSTREAM_NO_MEMORY ? status : SLIPSTREAM_RETRY);
    }
    if (self->is_away)
        slipstream_log(self->host, SLIPSTREAM_LOG_INFO, "the server takes events again");
    self->is_away = false;
    self->written += self->batch.count;
    tell_refused(self);
    batch_cut(&self->batch, 0);
    return SLIPSTREAM_OK;
}

/* Adds a run's events; what cannot be a row is refused. */
static int32_t add_run(postgres *self, const slipstream_delivery *delivery, const uint8_t *frames,
                       size_t len) {
    static const char damaged[] = "the event's payload is damaged";
    slipstream_frame frame;
    size_t at = 0;
    uint64_t ordinal = delivery->first_ordinal;
    int32_t status;
    while ((status = slipstream_next_frame(frames, len, &at, &frame)) == SLIPSTREAM_OK) {
        const int32_t use = rows_judge(&frame);
        if (use < 0 && delivery->count == 1)
            return server_fail(&self->server, use, damaged);
        if (use < 0)
            self->settle->reject(self->host->ctx, ordinal, use, damaged, sizeof damaged - 1);
        if (use == SLIPSTREAM_OK && !batch_add(&self->batch, &frame, ordinal))
            return server_fail(&self->server, SLIPSTREAM_NO_MEMORY, "no memory for an event");
        ordinal++;
    }
    if (status == SLIPSTREAM_UNSUPPORTED)
        return server_fail(&self->server, status, "the frame has a critical flag that is unknown");
    if (status != SLIPSTREAM_END || ordinal != delivery->first_ordinal + delivery->count)
        return server_fail(&self->server, SLIPSTREAM_MALFORMED,
                           "the run does not consist of the announced number of whole frames");
    return SLIPSTREAM_OK;
}

static bool is_due(const postgres *self) {
    return self->batch.count >= self->batch_size || self->batch.len >= BATCH_BYTES ||
           server_now_ms() - self->batch.oldest_ms >= self->batch_ms;
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    postgres *self = (postgres *)instance;
    const size_t earlier = self->batch.count;
    int32_t status = add_run(self, delivery, frames, len);
    const bool ignored = status == SLIPSTREAM_OK && self->batch.count == earlier;
    if (status != SLIPSTREAM_OK) {
        batch_cut(&self->batch, earlier);
        return fail(self, status);
    }
    /* IGNORED acknowledges at once, and what came before with it. */
    if (ignored)
        return commit(self, SLIPSTREAM_NO_TIMEOUT) == SLIPSTREAM_OK ? SLIPSTREAM_IGNORED
                                                                    : SLIPSTREAM_OK;
    if (!is_due(self))
        return SLIPSTREAM_OK;
    status = commit(self, SLIPSTREAM_NO_TIMEOUT);
    if (status == SLIPSTREAM_OK)
        slipstream_ack(self->host, delivery->first_ordinal + delivery->count - 1);
    else
        batch_cut(&self->batch, earlier);
    return status;
}

static int32_t SLIPSTREAM_CALL flush(void *instance, uint32_t timeout_ms) {
    return commit((postgres *)instance, timeout_ms);
}

/* ---- Config -------------------------------------------------------------------------- */

static int32_t fail_config(postgres *self, const char *key, const char *must) {
    char text[256];
    snprintf(text, sizeof text, "config key '%s' must be %s", key, must);
    return slipstream_fail(self->host, SLIPSTREAM_INVALID_CONFIG, text);
}

static int32_t read_number(postgres *self, const slipstream_config_v1 *config, const char *key,
                           uint64_t low, uint64_t high, uint64_t *value) {
    char must[80];
    uint64_t number = *value;
    const int32_t status = config->get_u64(self->host->ctx, key, &number);
    if (status == SLIPSTREAM_NOT_FOUND)
        return SLIPSTREAM_OK;
    snprintf(must, sizeof must, "a whole number, %" PRIu64 " to %" PRIu64, low, high);
    if (status != SLIPSTREAM_OK || number < low || number > high)
        return fail_config(self, key + 1, must);
    *value = number;
    return SLIPSTREAM_OK;
}

static int32_t read_numbers(postgres *self, const slipstream_config_v1 *config) {
    const struct {
        const char *key;
        uint64_t low;
        uint64_t high;
        uint64_t *value;
    } numbers[] = {
        {"/batch_size", 1, 100000, &self->batch_size},
        {"/batch_interval_ms", 0, 60000, &self->batch_ms},
        {"/connect_timeout_ms", 100, 20000, &self->server.connect_ms},
        {"/statement_timeout_ms", 100, 20000, &self->server.statement_ms},
    };
    int32_t status = SLIPSTREAM_OK;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && status == SLIPSTREAM_OK; i++)
        status = read_number(self, config, numbers[i].key, numbers[i].low, numbers[i].high,
                             numbers[i].value);
    return status;
}

static int32_t read_name(postgres *self, const slipstream_config_v1 *config, const char *key,
                         char name[64]) {
    size_t len = 63;
    const int32_t status = config->get_text(self->host->ctx, key, name, &len);
    if (status == SLIPSTREAM_NOT_FOUND)
        return SLIPSTREAM_OK;
    if (status != SLIPSTREAM_OK || len == 0 || memchr(name, '\0', len) != NULL)
        return fail_config(self, key + 1, "a name of 1 to 63 bytes");
    name[len] = '\0';
    return SLIPSTREAM_OK;
}

static int32_t read_names(postgres *self, const slipstream_config_v1 *config) {
    static const char *const keys[ROWS_TABLES] = {
        "/tables/mapping_history", "/tables/mapping_state", "/tables/staking_rewards",
        "/tables/blocks", "/tables/gaps"};
    char schema[64] = "slipstream";
    char tables[ROWS_TABLES][64];
    const char *names[ROWS_TABLES];
    int32_t status = read_name(self, config, "/schema", schema);
    for (int i = 0; i < ROWS_TABLES && status == SLIPSTREAM_OK; i++) {
        names[i] = strcpy(tables[i], strrchr(keys[i], '/') + 1);
        status = read_name(self, config, keys[i], tables[i]);
    }
    if (status == SLIPSTREAM_OK)
        rows_set_names(&self->rows, schema, names);
    return status;
}

static int32_t read_conninfo(postgres *self, const slipstream_config_v1 *config) {
    size_t len = 0;
    int32_t status = config->get_text(self->host->ctx, "/conninfo", NULL, &len);
    if (status != SLIPSTREAM_TOO_LARGE)
        return fail_config(self, "conninfo", "a text, such as \"host=/run/postgresql dbname=aleo\"");
    self->server.conninfo = (char *)malloc(len + 1);
    if (self->server.conninfo == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_NO_MEMORY, "no memory for the conninfo");
    status = config->get_text(self->host->ctx, "/conninfo", self->server.conninfo, &len);
    self->server.conninfo[len] = '\0';
    while (len > 0 && self->server.conninfo[len - 1] == '\n') /* of a file:// */
        self->server.conninfo[--len] = '\0';
    return status;
}

/* ---- Life ---------------------------------------------------------------------------- */

static void clean_up(postgres *self) {
    server_close(&self->server);
    rows_free(&self->rows);
    free(self->server.conninfo);
    batch_free(&self->batch);
    self->server.conninfo = NULL;
}

/* When a host starts, somebody is there to see what is wrong. After a crash nobody may be, and the
 * server may just be away, too: then the events wait for it. */
static int32_t connect_at_load(postgres *self, uint32_t reason) {
    const int32_t status = be_connected(self);
    if (status == SLIPSTREAM_OK || reason == SLIPSTREAM_LOAD_START)
        return status;
    slipstream_log(self->host, SLIPSTREAM_LOG_WARN, self->server.error);
    self->is_away = true;
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *text, size_t len,
                                       uint32_t reason) {
    postgres *self = (postgres *)instance;
    const slipstream_config_v1 *config =
        (const slipstream_config_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    (void)text;
    (void)len;
    self->settle =
        (const slipstream_settle_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_SETTLE);
    if (config == NULL || self->settle == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_UNSUPPORTED,
                               "the host lacks " SLIPSTREAM_EXT_CONFIG " or " SLIPSTREAM_EXT_SETTLE
                               "; use a newer host");
    int32_t status = read_numbers(self, config);
    if (status == SLIPSTREAM_OK)
        status = read_names(self, config);
    if (status == SLIPSTREAM_OK)
        status = read_conninfo(self, config);
    if (status == SLIPSTREAM_OK) {
        status = connect_at_load(self, reason);
        if (status != SLIPSTREAM_OK)
            fail(self, status == SLIPSTREAM_RETRY ? SLIPSTREAM_IO : status);
    }
    if (status != SLIPSTREAM_OK)
        clean_up(self);
    return status == SLIPSTREAM_RETRY ? SLIPSTREAM_IO : status;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return KNOWN_KINDS;
}

static int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    postgres *self = (postgres *)instance;
    char line[128];
    const int32_t status = flush(instance, timeout_ms);
    clean_up(self);
    snprintf(line, sizeof line, "%" PRIu64 " events written, %" PRIu64 " refused", self->written,
             self->refused);
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    return status;
}

static void SLIPSTREAM_CALL destroy(void *instance) {
    clean_up((postgres *)instance);
    free(instance);
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    postgres *self = (postgres *)calloc(1, sizeof *self);
    if (self == NULL) {
        slipstream_fail(host, SLIPSTREAM_NO_MEMORY, "no memory for an instance");
        return NULL;
    }
    self->table = (slipstream_plugin){
        .struct_size = sizeof self->table,
        .abi_minor = SLIPSTREAM_ABI_MINOR,
        .flags =
            SLIPSTREAM_FLAG_BATCH | SLIPSTREAM_FLAG_EXPLICIT_ACK | SLIPSTREAM_FLAG_MULTI_INSTANCE,
        .instance = self,
        .name = "postgres",
        .version = "1.0.0",
        .destroy = destroy,
        .on_load = on_load,
        .on_unload = on_unload,
        .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast,
        .flush = flush,
    };
    self->host = self->server.host = host;
    self->server.until_ms = UINT64_MAX;
    self->rows.server = &self->server;
    self->server.connect_ms = 3000;
    self->server.statement_ms = 10000;
    self->batch_size = 5000;
    self->batch_ms = 1000;
    return &self->table;
}
