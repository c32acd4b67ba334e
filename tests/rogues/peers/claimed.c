/* It claims a name, and ignores the payloads that come for it. */
#include "rogue.h"
static const char *name_at(void *instance, uint32_t index) {
    (void)instance;
    return index == 0 ? "org.example.rogue" : NULL;
}
static const slipstream_payload_v1 claims = {sizeof claims, 0, name_at};
#define IN_GET_EXTENSION                                                                  \
    if (strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0)                                          \
    return &claims
#include "good.h"
