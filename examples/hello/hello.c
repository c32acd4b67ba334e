/*
 * hello - greets whoever a payload named hello.greet names, in the language of its config.
 *
 * Config: language   "en" (default), "es" or "de"
 *
 * The greeting is a log line. The payload may be routed to it by its name, or broadcast to all.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <slipstream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREET "hello.greet"

SLIPSTREAM_INFO({
    "name": "hello", "version": "1.0.0", "abi": 1,
    "flags": ["MULTI_INSTANCE"],
    "kinds": ["PAYLOAD"],
    "requires": ["slipstream.config/1"],
    "config_schema": {
        "type": "object",
        "properties": {
            "language": {
                "enum": ["en", "es", "de"], "default": "en", "description": "of the greeting"
            }
        },
        "additionalProperties": false
    },
    "sample_config": {"language": "es"},
    "licence": "Apache-2.0"
});

typedef struct hello {
    slipstream_plugin table;
    const slipstream_host *host;
    const char *word;
} hello;

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *text, size_t len,
                                       uint32_t reason) {
    static const char *const words[][2] = {{"en", "Hello"}, {"es", "Hola"}, {"de", "Hallo"}};
    hello *self = (hello *)instance;
    const slipstream_config_v1 *config =
        (const slipstream_config_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    char language[8] = "en";
    size_t room = sizeof language;
    (void)text;
    (void)len;
    (void)reason;
    if (config == NULL)
        return slipstream_fail(self->host, SLIPSTREAM_UNSUPPORTED,
                               "the host does not offer " SLIPSTREAM_EXT_CONFIG);
    config->get_text(self->host->ctx, "/language", language, &room);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i][0], language) == 0)
            self->word = words[i][1];
    return SLIPSTREAM_OK;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    (void)instance;
    return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PAYLOAD);
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    const hello *self = (const hello *)instance;
    slipstream_frame frame;
    slipstream_payload payload;
    char line[160];
    (void)delivery;
    if (slipstream_read_frame(frames, len, &frame) != SLIPSTREAM_OK)
        return slipstream_fail(self->host, SLIPSTREAM_MALFORMED, "unreadable frame");
    if (frame.kind != SLIPSTREAM_KIND_PAYLOAD)
        return SLIPSTREAM_IGNORED;
    if (slipstream_read_payload(&frame, &payload) != SLIPSTREAM_OK)
        return slipstream_fail(self->host, SLIPSTREAM_MALFORMED, "the payload is malformed");
    if (payload.name.len != sizeof GREET - 1 ||
        memcmp(payload.name.data, GREET, sizeof GREET - 1) != 0)
        return SLIPSTREAM_IGNORED;
    snprintf(line, sizeof line, "%s, %.*s!", self->word,
             payload.body.len < 100 ? (int)payload.body.len : 100,
             (const char *)payload.body.data);
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, line);
    return SLIPSTREAM_OK;
}

static const char *SLIPSTREAM_CALL name_at(void *instance, uint32_t index) {
    (void)instance;
    return index == 0 ? GREET : NULL;
}

static const void *SLIPSTREAM_CALL get_extension(void *instance, const char *id) {
    static const slipstream_payload_v1 payload = {sizeof payload, 0, name_at};
    (void)instance;
    return strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0 ? &payload : NULL;
}

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    hello *self = (hello *)malloc(sizeof *self);
    const slipstream_plugin table = {
        SLIPSTREAM_PLUGIN_HEAD, SLIPSTREAM_FLAG_MULTI_INSTANCE, self, "hello", "1.0.0", free,
        on_load, NULL, subscribed_events, on_broadcast, NULL, get_extension};
    if (self == NULL)
        return NULL;
    self->table = table;
    self->host = host;
    self->word = "Hello";
    return &self->table;
}
