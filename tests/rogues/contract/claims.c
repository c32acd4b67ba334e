/* The list of the names that it claims never ends. */
#include "rogue.h"
static const char *name_at(void *instance, uint32_t index) {
    (void)instance;
    (void)index;
    return "org.example.rogue";
}
static const slipstream_payload_v1 claims = {sizeof claims, 0, name_at};
#define IN_GET_EXTENSION                                                                  \
    if (strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0)                                          \
    return &claims
#include "good.h"
