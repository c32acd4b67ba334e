/*
 * @NAME@ - counts blocks, and logs a line for every so many of them. Put your own work here.
 *
 * The rules that a plugin keeps stand in slipstream.h; `slipstream check ./@NAME@@SUFFIX@` tries them.
 */
#include <slipstream.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What a host reads before any of this runs; config_schema lets it refuse a wrong config. */
SLIPSTREAM_INFO({
    "name": "@NAME@", "version": "0.1.0", "abi": 1,
    "kinds": ["BLOCK"], "flags": ["MULTI_INSTANCE"],
    "requires": ["slipstream.config/1"],
    "config_schema": {
        "type": "object",
        "properties": {
            "every": {
                "type": "integer", "minimum": 1, "default": 1000,
                "description": "a log line after every so many blocks"
            }
        },
        "additionalProperties": false
    },
    "sample_config": {"every": 2}
});

typedef struct plugin {
    slipstream_plugin table;
    const slipstream_host *host;
    uint64_t every;
    uint64_t blocks;
    uint64_t lost;
} plugin;

/* On failure nothing may be left: on_unload is not called then. */
static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *text, size_t len,
                                       uint32_t reason) {
    plugin *self = instance;
    const slipstream_config_v1 *config = slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    (void)text, (void)len, (void)reason;
    if (config == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_UNSUPPORTED, "the host reads no configs");
    int32_t status = config->get_u64(self->host->ctx, "/every", &self->every);
    if (status != SLIPSTREAM_OK && status != SLIPSTREAM_NOT_FOUND)
        return slipstream_fail(self->host, SLIPSTREAM_INVALID_CONFIG,
                               "config key 'every' must be a whole number, 1 or more");
    return SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    plugin *self = instance;
    slipstream_frame frame;
    slipstream_block block;
    slipstream_gap gap;
    char line[96];
    (void)delivery;
    int32_t status = slipstream_read_frame(frames, len, &frame);
    if (status != SLIPSTREAM_OK)
        return slipstream_fail(self->host, status, "the frame cannot be read");
    switch (frame.kind) {
    case SLIPSTREAM_KIND_GAP: /* events that were lost: the host says which */
        status = slipstream_read_gap(&frame, &gap);
        if (status == SLIPSTREAM_OK)
            self->lost += gap.count;
        break;
    case SLIPSTREAM_KIND_BLOCK:
        status = slipstream_read_block(&frame, &block);
        if (status == SLIPSTREAM_OK && ++self->blocks % self->every == 0) {
            snprintf(line, sizeof line, "%" PRIu64 " blocks; the last has %zu bytes",
                     self->blocks, block.block.len);
            slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
        }
        break;
    default: /* a kind that a newer host knows */
        return SLIPSTREAM_IGNORED;
    }
    return status == SLIPSTREAM_OK
               ? SLIPSTREAM_OK
               : slipstream_fail(self->host, status, "the event's payload is malformed");
}

static int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    const plugin *self = instance;
    char line[96];
    (void)timeout_ms;
    snprintf(line, sizeof line, "%" PRIu64 " blocks in all, %" PRIu64 " lost", self->blocks,
             self->lost);
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    return SLIPSTREAM_OK;
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    plugin *self = calloc(1, sizeof *self);
    if (self == NULL) {
        slipstream_fail(host, SLIPSTREAM_NO_MEMORY, "no memory for an instance");
        return NULL;
    }
    self->host = host;
    self->every = 1000;
    self->table = (slipstream_plugin){
        .struct_size = sizeof self->table,
        .abi_minor = SLIPSTREAM_ABI_MINOR,
        .flags = SLIPSTREAM_FLAG_MULTI_INSTANCE,
        .instance = self,
        .name = "@NAME@",
        .version = "0.1.0",
        .destroy = free,
        .on_load = on_load,
        .on_unload = on_unload,
        .subscribed_events = subscribed_events,
        .on_broadcast = on_broadcast,
    };
    return &self->table;
}
