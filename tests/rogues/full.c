/* A plugin that is right, takes every kind, claims a name, and sends to a peer. At its end it logs
 * a digest of all that it was given, whichever thread brought what. */
#define STATE uint64_t given;
#define WITH_BATCH
#define WITH_CONCURRENT
#define NAME "full"
#define KINDS                                                                             \
    (SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_UPDATE) |                                \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_MAPPING_REMOVAL) |                               \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_STAKING_REWARD) |                                \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK) |                                         \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_GAP) |                                           \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PAYLOAD) |                                       \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_SEEN) |                                     \
     SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_PEER_FORGOTTEN))
#define INFO_KINDS                                                                        \
    "MAPPING_UPDATE", "MAPPING_REMOVAL", "STAKING_REWARD", "BLOCK", "GAP", "PAYLOAD",     \
        "PEER_SEEN", "PEER_FORGOTTEN"
#define INFO_GRANTS "send", "peers", "identity.sign", "identity.open"
#include "rogue.h"
static const char *name_at(void *instance, uint32_t index) {
    (void)instance;
    return index == 0 ? "org.example.full" : NULL;
}
static const slipstream_payload_v1 claims = {sizeof claims, 0, name_at};
static inline uint64_t digest(uint64_t of, const void *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        of = (of ^ ((const uint8_t *)data)[i]) * 1099511628211u;
    return of;
}
static inline void note(rogue *self, uint64_t first, uint64_t second, const void *data,
                        size_t len) {
    const uint64_t numbers[] = {first, second, len};
    const uint64_t begun = digest(14695981039346656037u, numbers, sizeof numbers);
    __atomic_add_fetch(&self->given, digest(begun, data, len), __ATOMIC_RELAXED);
}
static inline void tell(const rogue *self) {
    char text[17];
    for (int i = 0; i < 16; i++)
        text[i] = "0123456789abcdef"[self->given >> (60 - 4 * i) & 15];
    text[16] = 0;
    slipstream_log(self->host, SLIPSTREAM_LOG_INFO, text);
}
#define IN_ON_LOAD note(self, 1, reason, config, len)
#define IN_FLUSH note(self, 2, timeout_ms, NULL, 0)
#define IN_ON_UNLOAD                                                                      \
    note(self, 3, timeout_ms, NULL, 0);                                                   \
    tell(self)
#define IN_GET_EXTENSION                                                                  \
    note(self, 4, 0, id, strlen(id));                                                     \
    if (strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0)                                          \
    return &claims
#define IN_ON_BROADCAST                                                                   \
    note(self, delivery->first_ordinal,                                                   \
         (uint64_t)delivery->attempt << 32 | delivery->flags, frames, len);               \
    (void)slipstream_ack(self->host, delivery->first_ordinal + delivery->count - 1)
#define IN_BLOCK (void)send_text(self->host, SLIPSTREAM_PEER_DIRECT, "a block", 7)
#define IN_OTHER_KIND return SLIPSTREAM_OK
#include "good.h"
