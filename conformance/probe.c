/*
 * probe.c - a plugin that holds its host to slipstream.h: its functions, and who may call them
 * when. docs/conformance-host.md tells how to build and run it. Other plugins come out of this
 * source with -DPROBE_FLAGS=..., the sum of some SLIPSTREAM_FLAG_*.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "instance.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef PROBE_FLAGS
#define PROBE_FLAGS SLIPSTREAM_FLAG_MULTI_INSTANCE
#endif

enum { A_BROADCAST = 1, ANOTHER_CALL = 1 << 16 };

/* Every instance since the library was opened, the newest first: so that a call that comes too
 * late is seen, and does no harm. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static probe *all;

/* The instance; or, if it is none, the newest one is told. */
static probe *find(void *instance) {
    pthread_mutex_lock(&all_lock);
    probe *newest = all;
    probe *found = newest;
    while (found != NULL && found != instance)
        found = found->older;
    pthread_mutex_unlock(&all_lock);
    if (newest != NULL)
        check(newest, CALL_INSTANCE, found != NULL, "a function was called with %p", instance);
    return found;
}

/* ---- Around each call of the host --------------------------------------------------- */

static probe *enter(void *instance, bool is_broadcast) {
    probe *self = find(instance);
    const bool may_overlap =
        is_broadcast && self != NULL && (self->flags & SLIPSTREAM_FLAG_CONCURRENT) != 0;
    const uint32_t own = may_overlap ? A_BROADCAST : ANOTHER_CALL;
    if (self == NULL)
        return NULL;
    check(self, CALL_BACK, in_host == 0, "a call while the probe waits for a function of the host");
    check(self, CALL_PROCESS, self->process == getpid(), "process %ld, constructed in %ld",
          (long)getpid(), (long)self->process);
    const uint32_t before = atomic_fetch_add(&self->inside, own);
    if (in_host == 0)
        check(self, CALL_OVERLAP, before == 0 || (may_overlap && before < ANOTHER_CALL),
              "%u calls are under way", (unsigned)(before / ANOTHER_CALL + before % ANOTHER_CALL));
    const bool is_own_thread = pthread_equal(pthread_self(), self->thread) != 0;
    if (!is_broadcast)
        check(self, CALL_THREAD, is_own_thread, "a call on another thread than the constructor's");
    else if (self->one_thread != 0)
        check(self, CALL_DELIVERY_THREAD, is_own_thread, "on_broadcast on another thread");
    if (self->life != DESTROYED)
        check_host_unchanged(self);
    return self;
}

static void leave(probe *self, bool is_broadcast) {
    const bool is_concurrent = (self->flags & SLIPSTREAM_FLAG_CONCURRENT) != 0;
    atomic_fetch_sub(&self->inside, is_broadcast && is_concurrent ? A_BROADCAST : ANOTHER_CALL);
}

/* The call may come in these states (bits). Says which rule forbids it, if one does. */
static bool is_time_for(probe *self, const char *call, uint32_t lives, probe_check_id id) {
    const probe_life life = self->life;
    if (!check(self, ORDER_DESTROY, life != DESTROYED, "%s comes after destroy", call) ||
        !check(self, ORDER_PANIC, life != PANICKED || id == ORDER_DESTROY, "%s comes", call))
        return false;
    return check(self, id, (lives >> life & 1) != 0, "%s comes in state %d", call, (int)life);
}

/* ---- A life ------------------------------------------------------------------------- */

/* The host has copied the table: whatever it becomes now is nobody's business. */
static void change_table(probe *self);

static int32_t load(probe *self, const char *config, size_t len, uint32_t reason) {
    char path[PATH_ROOM] = "";
    json own, value;
    if (!read_config(self, config, len, &own))
        return fail(self, SLIPSTREAM_INVALID_CONFIG, "no config, or no file \"report\" in it");
    report_line(self, "\"call\": \"on_load\", \"reason\": %u, \"minor\": %u", (unsigned)reason,
                (unsigned)self->copy.abi_minor);
    check(self, LOAD_REASON, reason <= SLIPSTREAM_LOAD_RESTART || !self->is_1_0, "it is %u",
          (unsigned)reason);
    if (!lock_second(self))
        return fail(self, SLIPSTREAM_FAILED, "the only one");
    const uint64_t before = hash_of(config, len);
    check_extensions(self);
    check_not_loaded(self);
    check_metrics(self);
    check_config_extension(self, &own);
    say(self, "config is read");
    if (json_find(&own, "golden", &value) && (size_t)(value.end - value.start) < sizeof path) {
        path[json_unescape(&value, path)] = '\0';
        if (!take_golden(self, path))
            return fail(self, SLIPSTREAM_INVALID_CONFIG, "golden is no file of frames");
    }
    const bool has_history =
        json_find(&own, "history", &value) && (size_t)(value.end - value.start) < sizeof path;
    if (has_history)
        path[json_unescape(&value, path)] = '\0';
    if (self->fail_load != 0) {
        check(self, LOAD_STABLE, hash_of(config, len) == before, "%zu bytes have changed", len);
        return fail(self, SLIPSTREAM_FAILED, "told to fail");
    }
    history_open(self, has_history ? path : NULL, reason);
    check_order_file(self, true);
    change_table(self);
    if (!start_helper(self))
        return fail(self, SLIPSTREAM_NO_MEMORY, "no thread");
    wait_ms(self->slow_ms);
    check(self, LOAD_STABLE, hash_of(config, len) == before, "%zu bytes have changed", len);
    return SLIPSTREAM_OK;
}

static int32_t SLIPSTREAM_CALL on_load(void *instance, const char *config, size_t len,
                                       uint32_t reason) {
    probe *self = enter(instance, false);
    int32_t status = SLIPSTREAM_FAILED;
    if (self == NULL)
        return status;
    if (is_time_for(self, "on_load", 1 << CONSTRUCTED, ORDER_LOAD)) {
        self->life = LOADING;
        status = load(self, config, len, reason);
        self->life = status == SLIPSTREAM_OK ? LOADED : LOAD_FAILED;
    }
    leave(self, false);
    return status;
}

static uint64_t SLIPSTREAM_CALL subscribed_events(void *instance) {
    probe *self = enter(instance, false);
    if (self == NULL)
        return 0;
    if (is_time_for(self, "subscribed_events", 1 << LOADED, ORDER_SUBSCRIBE)) {
        check(self, ORDER_SUBSCRIBE, !self->is_subscribed, "it comes again");
        self->is_subscribed = true;
        check_config_state(self, "subscribed_events");
    }
    leave(self, false);
    return self->kinds;
}

static int32_t SLIPSTREAM_CALL on_broadcast(void *instance, const slipstream_delivery *delivery,
                                            const uint8_t *frames, size_t len) {
    probe *self = enter(instance, true);
    int32_t status = SLIPSTREAM_OK;
    if (self == NULL)
        return status;
    if (is_time_for(self, "on_broadcast", 1 << LOADED, ORDER_BROADCAST) &&
        check(self, ORDER_FATAL, !self->is_fatal, "on_broadcast comes") && in_host == 0) {
        check(self, ORDER_SUBSCRIBE_FIRST, self->is_subscribed, "an event comes before it");
        status = take_run(self, delivery, frames, len);
        if (status == SLIPSTREAM_PANIC)
            self->life = PANICKED;
    }
    leave(self, true);
    return status;
}

static int32_t SLIPSTREAM_CALL flush(void *instance, uint32_t timeout_ms) {
    probe *self = enter(instance, false);
    (void)timeout_ms;
    if (self == NULL)
        return SLIPSTREAM_FAILED;
    const bool is_ours = check(self, ORDER_FLUSH_UNASKED,
                               (self->flags & SLIPSTREAM_FLAG_EXPLICIT_ACK) != 0, "flush comes") &&
                         is_time_for(self, "flush", 1 << LOADED, ORDER_FLUSH) &&
                         check(self, ORDER_FATAL, !self->is_fatal, "flush comes");
    self->flushes++;
    leave(self, false);
    return is_ours ? SLIPSTREAM_OK : SLIPSTREAM_WRONG_STATE;
}

static int32_t SLIPSTREAM_CALL on_unload(void *instance, uint32_t timeout_ms) {
    probe *self = enter(instance, false);
    if (self == NULL)
        return SLIPSTREAM_FAILED;
    check(self, ORDER_UNLOAD_FAILED, self->life != LOAD_FAILED, "on_unload comes");
    if (self->life != LOAD_FAILED && is_time_for(self, "on_unload", 1 << LOADED, ORDER_UNLOAD)) {
        int32_t stopping;
        self->life = UNLOADING;
        report_line(self, "\"call\": \"on_unload\", \"timeout_ms\": %u", (unsigned)timeout_ms);
        ASK(stopping, self->copy.is_stopping(self->copy.ctx));
        check(self, UNLOAD_STOPPING, stopping != 0, "it is 0");
        check_config_state(self, "on_unload");
        check_reject_state(self);
        end_helper(self);
        check_order_file(self, false);
        unlock_second(self);
        self->life = ENDED;
    }
    leave(self, false);
    return SLIPSTREAM_OK;
}

/* Frees all but the instance itself, which stays as long as the library. */
static void clean_up(probe *self) {
    self->patience_ms += 10000; /* the library may be closed after that */
    end_helper(self);
    history_close(self);
    free(self->golden);
    self->golden = NULL;
    self->golden_len = 0;
    unlock_second(self);
}

static void SLIPSTREAM_CALL destroy(void *instance) {
    const uint32_t lives = 1 << CONSTRUCTED | 1 << ENDED | 1 << LOAD_FAILED | 1 << PANICKED;
    probe *self = enter(instance, false);
    if (self == NULL)
        return;
    if (self->life == LOADED)
        check(self, ORDER_NO_UNLOAD, false, "destroy comes to a loaded plugin");
    else
        is_time_for(self, "destroy", lives, ORDER_DESTROY);
    check(self, ORDER_NO_UNLOAD, true, "-");
    if (self->life != DESTROYED) {
        clean_up(self);
        if (self->report >= 0)
            check_not_loaded(self);
        self->life = DESTROYED;
        if (self->report >= 0)
            report_done(self);
    }
    leave(self, false);
}

/* ---- slipstream.payload/1 ----------------------------------------------------------- */

static const char *SLIPSTREAM_CALL name_at(void *instance, uint32_t index) {
    probe *self = enter(instance, false);
    if (self == NULL)
        return NULL;
    const bool is_known = is_time_for(self, "name_at", 1 << LOADED, ORDER_EXTENSION);
    leave(self, false);
    return is_known && index == 0 && self->claim[0] != '\0' ? self->claim : NULL;
}

static const void *SLIPSTREAM_CALL get_extension(void *instance, const char *id) {
    static const slipstream_payload_v1 payload = {sizeof payload, 0, name_at};
    probe *self = enter(instance, false);
    if (self == NULL)
        return NULL;
    is_time_for(self, "get_extension", 1 << CONSTRUCTED | 1 << LOADED, ORDER_EXTENSION);
    leave(self, false);
    return strcmp(id, SLIPSTREAM_EXT_PAYLOAD) == 0 ? &payload : NULL;
}

/* ---- A table that changes ----------------------------------------------------------- */

static void is_followed(void *instance) {
    probe *self = find(instance);
    if (self != NULL)
        check(self, TABLE_FOLLOWED, false, "a function that came later was called");
}

static int32_t SLIPSTREAM_CALL later_on_unload(void *instance, uint32_t timeout_ms) {
    is_followed(instance);
    return on_unload(instance, timeout_ms);
}

static uint64_t SLIPSTREAM_CALL later_subscribed_events(void *instance) {
    is_followed(instance);
    return subscribed_events(instance);
}

static int32_t SLIPSTREAM_CALL later_on_broadcast(void *instance,
                                                  const slipstream_delivery *delivery,
                                                  const uint8_t *frames, size_t len) {
    is_followed(instance);
    return on_broadcast(instance, delivery, frames, len);
}

static int32_t SLIPSTREAM_CALL later_flush(void *instance, uint32_t timeout_ms) {
    is_followed(instance);
    return flush(instance, timeout_ms);
}

static void SLIPSTREAM_CALL later_destroy(void *instance) {
    is_followed(instance);
    destroy(instance);
}

static void change_table(probe *self) {
    self->table.on_unload = later_on_unload;
    self->table.subscribed_events = later_subscribed_events;
    self->table.on_broadcast = later_on_broadcast;
    self->table.flush = later_flush;
    self->table.destroy = later_destroy;
    self->table.flags = 0;
    check(self, TABLE_FOLLOWED, true, "-");
}

/* ---- Beginning and end of the library ----------------------------------------------- */

const slipstream_plugin *SLIPSTREAM_CALL slipstream_create_plugin_v1(const slipstream_host *host) {
    probe *self = calloc(1, sizeof *self);
    const slipstream_plugin table = {SLIPSTREAM_PLUGIN_HEAD,
                                     PROBE_FLAGS,
                                     self,
                                     "probe",
                                     "1.0.0",
                                     destroy,
                                     on_load,
                                     on_unload,
                                     subscribed_events,
                                     on_broadcast,
                                     flush,
                                     get_extension};
    if (self == NULL || host == NULL || pthread_mutex_init(&self->lock, NULL) != 0) {
        free(self);
        return NULL;
    }
    self->table = table;
    self->flags = PROBE_FLAGS;
    self->host = host;
    self->process = getpid();
    self->thread = pthread_self();
    self->report = self->second = -1;
    pthread_mutex_lock(&all_lock);
    self->older = all;
    const bool is_usable = check_host_table(self);
    if (is_usable)
        all = self;
    pthread_mutex_unlock(&all_lock);
    if (is_usable)
        return &self->table;
    if (report_open(self)) { /* by the environment: it has no config */
        report_done(self);
        close(self->report);
    }
    free(self->early);
    free(self);
    return NULL;
}

/* The library is closed, or the process ends. The host may be gone: only the report is told. */
__attribute__((destructor)) static void at_the_end(void) {
    while (all != NULL) {
        probe *self = all;
        all = self->older;
        if (self->life != DESTROYED && self->process == getpid()) {
            self->log_is_stuck = true;
            check(self, ORDER_NO_DESTROY, false, "an instance in state %d is left",
                  (int)self->life);
        }
        if (self->report >= 0)
            close(self->report);
        free(self->early);
        free(self);
    }
}
