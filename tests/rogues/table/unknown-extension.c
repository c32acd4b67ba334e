/* Whatever extension it is asked for, it gives the same table. */
#include "rogue.h"
static const char *name_at(void *instance, uint32_t index) {
    (void)instance;
    return index == 0 ? "org.example.rogue" : NULL;
}
static const slipstream_payload_v1 claims = {sizeof claims, 0, name_at};
#define IN_GET_EXTENSION return &claims
#include "good.h"
