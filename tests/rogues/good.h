/* A whole plugin that is right. A rogue defines what it has otherwise, and then includes this.
 *
 *   NAME, VERSION, MIN_HOST_MINOR   texts and number of the table and of the info
 *   WITH_BATCH, WITH_EXPLICIT_ACK, WITH_CONCURRENT   flags beside PROMPT and MULTI_INSTANCE
 *   FLAGS, INFO_FLAGS               all flags, in the table and in the info
 *   KINDS, INFO_KINDS               what it subscribes to, and what the info says of that
 *   INFO_GRANTS                     what the info asks to be granted
 *   INFO                            the info as a whole; empty for none
 *   TABLE_SIZE, TABLE_FLUSH, ...    members of the table
 *   IN_..., ON_LOADED               statements, at the start of a function unless said otherwise,
 *                                   with all of its parameters and variables at hand
 *   STATE                           see rogue.h
 */
#include "rogue.h"

#ifndef NAME
#define NAME "rogue"
#endif
#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef MIN_HOST_MINOR
#define MIN_HOST_MINOR 0
#endif

#ifdef WITH_BATCH
#define BATCH_BIT SLIPSTREAM_FLAG_BATCH
#define BATCH_NAME , "BATCH"
#else
#define BATCH_BIT 0
#define BATCH_NAME
#endif
#if defined(WITH_EXPLICIT_ACK) || defined(WITH_CONCURRENT)
#define EXPLICIT_ACK_BIT SLIPSTREAM_FLAG_EXPLICIT_ACK
#define EXPLICIT_ACK_NAME , "EXPLICIT_ACK"
#else
#define EXPLICIT_ACK_BIT 0
#define EXPLICIT_ACK_NAME
#endif
#ifdef WITH_CONCURRENT
#define CONCURRENT_BIT SLIPSTREAM_FLAG_CONCURRENT
#define CONCURRENT_NAME , "CONCURRENT"
#else
#define CONCURRENT_BIT 0
#define CONCURRENT_NAME
#endif
#ifndef FLAGS
#define FLAGS                                                                             \
    (SLIPSTREAM_FLAG_PROMPT | SLIPSTREAM_FLAG_MULTI_INSTANCE | BATCH_BIT |                \
     EXPLICIT_ACK_BIT | CONCURRENT_BIT)
#endif
#ifndef INFO_FLAGS
#define INFO_FLAGS "PROMPT", "MULTI_INSTANCE" BATCH_NAME EXPLICIT_ACK_NAME CONCURRENT_NAME
#endif

#ifndef KINDS
#define KINDS                                                                             \
    (SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) |                                         \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE))
#endif
#ifndef INFO_KINDS
#define INFO_KINDS "BLOCK", "MAPPING_UPDATE"
#endif

#ifndef INFO_GRANTS
#define INFO_GRANTS
#endif

#ifndef INFO
#define INFO_OF(...) SLIPSTREAM_INFO(__VA_ARGS__) /* its macros are replaced, then it is a text */
#define INFO                                                                              \
    INFO_OF({"name": NAME, "version": VERSION, "abi": 1, "min_host_minor": MIN_HOST_MINOR,\
             "kinds": [INFO_KINDS], "flags": [INFO_FLAGS],                                \
             "optional": ["slipstream.config/1"], "grants": [INFO_GRANTS],                \
             "config_schema": {"type": "object",                                          \
                               "properties": {"every": {"type": "integer", "minimum": 1}}},\
             "sample_config": {"every": 1000}});
#endif
INFO

#define NOTHING (void)0
#ifndef IN_CONSTRUCTOR
#define IN_CONSTRUCTOR NOTHING
#endif
#ifndef CONSTRUCTED /* before the constructor returns */
#define CONSTRUCTED NOTHING
#endif
#ifndef IN_DESTROY
#define IN_DESTROY NOTHING
#endif
#ifndef IN_ON_LOAD
#define IN_ON_LOAD NOTHING
#endif
#ifndef IN_REFUSED_CONFIG
#define IN_REFUSED_CONFIG NOTHING
#endif
#ifndef ON_LOADED /* before on_load returns OK */
#define ON_LOADED NOTHING
#endif
#ifndef IN_ON_UNLOAD
#define IN_ON_UNLOAD NOTHING
#endif
#ifndef IN_SUBSCRIBED_EVENTS
#define IN_SUBSCRIBED_EVENTS NOTHING
#endif
#ifndef IN_ON_BROADCAST
#define IN_ON_BROADCAST NOTHING
#endif
#ifndef IN_FRAME /* for each frame of a run, after it was read: `status` says how that went */
#define IN_FRAME NOTHING
#endif
#ifndef IN_UPDATE /* a MAPPING_UPDATE was read */
#define IN_UPDATE NOTHING
#endif
#ifndef IN_BLOCK
#define IN_BLOCK NOTHING
#endif
#ifndef IN_GAP
#define IN_GAP NOTHING
#endif
#ifndef IN_OTHER_KIND
#define IN_OTHER_KIND NOTHING
#endif
#ifndef IN_FAILURE /* `status` is about to be returned */
#define IN_FAILURE NOTHING
#endif
#ifndef IN_FLUSH
#define IN_FLUSH NOTHING
#endif
#ifndef IN_GET_EXTENSION
#define IN_GET_EXTENSION NOTHING
#endif

static inline int32_t fail(const rogue *self, int32_t status, const char *text) {
    return slipstream_fail(self->host, status, text);
}

static inline void SLIPSTREAM_CALL destroy(void *instance) {
    rogue *self = (rogue *)instance;
    IN_DESTROY;
    free(self);
}

static inline int32_t SLIPSTREAM_CALL on_load(void *instance, const char *config, size_t len,
                                              uint32_t reason) {
    rogue *self = (rogue *)instance;
    const slipstream_config_v1 *reader =
        (const slipstream_config_v1 *)slipstream_extension(self->host, SLIPSTREAM_EXT_CONFIG);
    int32_t status = SLIPSTREAM_NOT_FOUND;
    (void)config;
    (void)len;
    (void)reason;
    IN_ON_LOAD;
    if (reader != NULL)
        status = reader->get_u64(self->host->ctx, "/every", &self->every);
    if ((status != SLIPSTREAM_OK && status != SLIPSTREAM_NOT_FOUND) || self->every == 0) {
        IN_REFUSED_CONFIG;
        return fail(self, SLIPSTREAM_INVALID_CONFIG, "every has to be an integer from 1 on");
    }
    ON_LOADED;
    return SLIPSTREAM_OK;
}

static inline int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    rogue *self = (rogue *)instance;
    (void)self;
    (void)timeout_ms;
    IN_ON_UNLOAD;
    return SLIPSTREAM_OK;
}

static inline uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    rogue *self = (rogue *)instance;
    (void)self;
    IN_SUBSCRIBED_EVENTS;
    return KINDS;
}

static inline int32_t take_update(rogue *self, const slipstream_frame *frame) {
    slipstream_mapping_update update;
    const int32_t status = slipstream_read_mapping_update(frame, &update);
    if (status == SLIPSTREAM_OK) {
        look_at_text(update.key.data, update.key.len);
        IN_UPDATE;
        __atomic_add_fetch(&self->updates, 1, __ATOMIC_RELAXED);
    }
    return status;
}

static inline int32_t take_block(rogue *self, const slipstream_frame *frame) {
    slipstream_block block;
    const int32_t status = slipstream_read_block(frame, &block);
    if (status == SLIPSTREAM_OK) {
        look_at_text(block.block.data, block.block.len);
        IN_BLOCK;
        if (__atomic_add_fetch(&self->blocks, 1, __ATOMIC_RELAXED) % self->every == 0)
            slipstream_log(self->host, SLIPSTREAM_LOG_DEBUG, "so many blocks more");
    }
    return status;
}

static inline int32_t take_gap(rogue *self, const slipstream_frame *frame) {
    slipstream_gap gap;
    const int32_t status = slipstream_read_gap(frame, &gap);
    if (status == SLIPSTREAM_OK) {
        IN_GAP;
        __atomic_add_fetch(&self->gaps, 1, __ATOMIC_RELAXED);
    }
    return status;
}

static inline int32_t take(rogue *self, const slipstream_frame *frame) {
    switch (frame->kind) {
    case SLIPSTREAM_KIND_MAPPING_UPDATE:
        return take_update(self, frame);
    case SLIPSTREAM_KIND_BLOCK:
        return take_block(self, frame);
    case SLIPSTREAM_KIND_GAP:
        return take_gap(self, frame);
    default:
        IN_OTHER_KIND;
        return SLIPSTREAM_IGNORED;
    }
}

/* Nothing of a run that is refused has to be undone but the counts, which nobody reads. */
static inline int32_t SLIPSTREAM_CALL on_broadcast(void *instance,
                                                   const slipstream_delivery *delivery,
                                                   const uint8_t *frames, size_t len) {
    rogue *self = (rogue *)instance;
    int32_t answer = SLIPSTREAM_IGNORED;
    int32_t status;
    size_t offset = 0;
    slipstream_frame frame;
    (void)delivery;
    IN_ON_BROADCAST;
    while ((status = slipstream_next_frame(frames, len, &offset, &frame)) != SLIPSTREAM_END) {
        IN_FRAME;
        if (status == SLIPSTREAM_OK)
            status = take(self, &frame);
        if (status < 0) {
            IN_FAILURE;
            return fail(self, status, "cannot read this frame");
        }
        if (status == SLIPSTREAM_OK)
            answer = SLIPSTREAM_OK;
    }
    return answer;
}

static inline int32_t SLIPSTREAM_CALL flush(void *instance, uint32_t timeout_ms) {
    rogue *self = (rogue *)instance;
    (void)self;
    (void)timeout_ms;
    IN_FLUSH;
    return SLIPSTREAM_OK;
}

static inline const void *SLIPSTREAM_CALL get_extension(void *instance, const char *id) {
    rogue *self = (rogue *)instance;
    (void)self;
    (void)id;
    IN_GET_EXTENSION;
    return NULL;
}

#ifndef TABLE_SIZE
#define TABLE_SIZE sizeof(slipstream_plugin)
#endif
#ifndef TABLE_DESTROY
#define TABLE_DESTROY destroy
#endif
#ifndef TABLE_ON_BROADCAST
#define TABLE_ON_BROADCAST on_broadcast
#endif
#ifndef TABLE_FLUSH
#define TABLE_FLUSH flush
#endif

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    rogue *self;
    IN_CONSTRUCTOR;
    self = (rogue *)calloc(1, sizeof *self);
    if (self == NULL) {
        host->set_error(host->ctx, "no memory", 9);
        return NULL;
    }
    const slipstream_plugin table = {TABLE_SIZE,        SLIPSTREAM_ABI_MINOR, MIN_HOST_MINOR,
                                     FLAGS,             self,                 NAME,
                                     VERSION,           TABLE_DESTROY,        on_load,
                                     on_unload,         subscribed_events,    TABLE_ON_BROADCAST,
                                     TABLE_FLUSH,       get_extension};
    self->table = table;
    self->host = host;
    self->every = 1000;
    CONSTRUCTED;
    return &self->table;
}
