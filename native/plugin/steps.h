/* steps: a plugin and the steps of its life, from the opened library to the closed one, one
 * after the other by one thread. A step keeps what it found out; on_broadcast is called by
 * others too, between load and unload. */
#ifndef SS_STEPS_H
#define SS_STEPS_H

#include "library/open.h"
#include "library/table.h"
#include "plugin/host.h"

typedef struct ss_plugin {
    ss_host host;
    ss_library library;
    ss_table table;
    uint64_t allowed; /* the kinds that it says, in its info, it may subscribe to */
    uint64_t kinds;
    char **claims; /* NULL-terminated */
    int32_t status; /* of the last plugin function that was called */
    ss_refusal refusal; /* or, without a number, the text of a function that failed */
} ss_plugin;

/* Opens the library, constructs the plugin and checks its table. */
void ss_plugin_open(ss_plugin *self);
/* Calls on_load with a packed config, wipes it, and reads what the plugin subscribes to. */
void ss_plugin_load(ss_plugin *self, char *config, size_t len, uint32_t reason);
void ss_plugin_deliver(ss_plugin *self, const slipstream_delivery *delivery, const uint8_t *frames,
                       size_t len);
void ss_plugin_flush(ss_plugin *self, uint32_t timeout_ms);
void ss_plugin_unload(ss_plugin *self, uint32_t timeout_ms);
void ss_plugin_destroy(ss_plugin *self);
void ss_plugin_free(ss_plugin *self); /* when its library is closed */

#endif
