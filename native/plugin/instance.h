/* instance: a plugin with a thread, on which the steps of its life run: everything that runs
 * code of the library. It is joined before the library is closed: thread-local destructors
 * would pin it otherwise.
 *
 * Between the marks stand only declarations; the build parses them. Calls that may wait
 * take a deadline in milliseconds. A handle is used by one thread at a time. */
#ifndef SS_INSTANCE_H
#define SS_INSTANCE_H

#include "base/log_queue.h"
#include "library/open.h"
#include "library/refusal.h"
#include "peers/desk.h"
#include "plugin/host.h"

#include <slipstream.h>

/* cdef:begin */

typedef struct ss_instance ss_instance;

typedef struct ss_instance_info {
    uint32_t refusal; /* SS_REFUSED_* */
    int32_t status;     /* of the last plugin function that was called */
    uint32_t flags;
    uint32_t abi_minor;
    uint32_t min_host_minor;
    uint64_t kinds;     /* subscribed_events, with GAP if there is any */
    const char *name;
    const char *version;
    const char *text;   /* what was refused, or the plugin's own error; "" */
    const char *hint;   /* the next step; "" */
    uint32_t mapping;   /* SS_MAPPING_* after ss_instance_close */
    uint32_t is_loaded; /* on_load succeeded and on_unload was not called */
    uint64_t acknowledged; /* last ordinal; only with SLIPSTREAM_FLAG_EXPLICIT_ACK */
} ss_instance_info;

/* `path` is opened, `shown` stands in messages. NULL: no memory, or no thread to be had. */
ss_instance *ss_instance_new(ss_log_queue *log, uint32_t log_id, const char *path,
                             const char *shown, const char *config_dir);
/* The plugin's own folder; before ss_instance_load. OK or NO_MEMORY. */
int32_t ss_instance_set_data_dir(ss_instance *self, const char *path);
/* It may ask at this desk; before ss_instance_open. OK or NO_MEMORY. Once it is closed the desk is not
 * used any more. */
int32_t ss_instance_set_desk(ss_instance *self, ss_desk *desk, const ss_terms *terms);
/* The kinds that it may subscribe to, all of them unless this is called before
 * ss_instance_load. */
void ss_instance_allow_kinds(ss_instance *self, uint64_t kinds);

/* Steps of an instance's life. Each starts on the instance's own thread and is waited for
 * with ss_instance_wait; WRONG_STATE if another one is under way. `config` is packed as
 * host_config.h says, and copied. */
int32_t ss_instance_open(ss_instance *self);
int32_t ss_instance_load(ss_instance *self, const char *config, size_t len, uint32_t reason);
/* Calls on_broadcast, for a host without a sequencer; `frames` are copied. Not together
 * with ss_sequencer_attach. */
int32_t ss_instance_deliver(ss_instance *self, uint32_t attempt, uint32_t count,
                            uint64_t first_ordinal, const uint8_t *frames, size_t len);
int32_t ss_instance_flush(ss_instance *self, uint32_t timeout_ms);
int32_t ss_instance_unload(ss_instance *self, uint32_t timeout_ms);
/* These threads are the application's: that they run keeps no library mapped. */
void ss_instance_know_threads(ss_instance *self, const int32_t *ids, size_t count);
int32_t ss_instance_close(ss_instance *self); /* destroy, join, unmap: the last step */

/* OK when the step is done, TIMEOUT when it is not after `ms`. */
int32_t ss_instance_wait(ss_instance *self, uint32_t ms);
/* Makes host->is_stopping true for the plugin. */
void ss_instance_stop(ss_instance *self);
void ss_instance_describe(const ss_instance *self, ss_instance_info *out);
/* The payload name number `index` that the plugin claims; NULL ends the list. */
const char *ss_instance_claim(const ss_instance *self, uint32_t index);

/* OK, or NOT_FOUND behind the last one. */
int32_t ss_instance_metric(const ss_instance *self, uint32_t index, ss_metric *out);

/* After ss_instance_close is done: frees it. */
void ss_instance_free(ss_instance *self);
/* Instead of the above, when a step does not return: lets go of the handle. Should the step
 * return after all, the instance is unloaded, destroyed, closed and freed by itself. */
void ss_instance_abandon(ss_instance *self);
/* cdef:end */

/* For whoever calls on_broadcast: the checked copy of the plugin's table, absent functions
 * NULL, and the host behind it. Valid while the instance is loaded. */
const slipstream_plugin *ss_instance_table(const ss_instance *self);
ss_host *ss_instance_host(ss_instance *self);

/* The same in a worker, with the hatch that it got; the reference is taken over. */
int32_t ss_instance_set_hatch(ss_instance *self, ss_hatch_map *map);

/* One more step: runs `function` on the instance's own thread. */
int32_t ss_instance_call(ss_instance *self, void (*function)(void *), void *context);

#endif
