/* A plugin that is right, takes every kind, claims a name, and asks its host for all that it may. */
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
#define IN_GET_EXTENSION                                                                  \
    if (strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0)                                          \
    return &claims
#define IN_ON_BROADCAST                                                                   \
    (void)slipstream_ack(self->host, delivery->first_ordinal + delivery->count - 1)
#define IN_BLOCK (void)send_text(self->host, SLIPSTREAM_PEER_DIRECT, "a block", 7)
#define IN_OTHER_KIND return SLIPSTREAM_OK
#include "good.h"
