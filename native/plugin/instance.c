#include "plugin/instance.h"

#include "plugin/steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum ss_step {
    SS_STEP_NONE,
    SS_STEP_OPEN,
    SS_STEP_LOAD,
    SS_STEP_DELIVER,
    SS_STEP_FLUSH,
    SS_STEP_UNLOAD,
    SS_STEP_CALL,
    SS_STEP_CLOSE
} ss_step;

struct ss_instance {
    ss_plugin plugin;
    char *path;
    char *shown;
    char comm[16];

    /* The step that the instance's thread is to run; guarded by `lock`. */
    ss_os_mutex lock;
    ss_os_condition changed;
    ss_step step;
    ss_os_thread thread;
    ss_os_thread closer;
    bool has_closer;
    bool delivers; /* its own thread calls on_broadcast, and nobody else */
    bool abandoned;
    uint32_t mapping; /* SS_MAPPING_*, once it is closed */
    ss_desk *desk; /* NULL: none */
    uint64_t side; /* of the desk */

    /* Arguments of a step. */
    void (*call)(void *);
    void *call_context;
    char *config;
    size_t config_len;
    uint32_t reason;
    uint32_t timeout_ms;
    slipstream_delivery delivery;
    uint8_t *frames;
    size_t frames_len;
};

/* ---- The instance's thread --------------------------------------------------------- */

/* A thread that starts later may get this stack, and what the library's functions have
 * left there would look as if it came from the library; see ss_peek_thread_of. (Of what is
 * further down, the C library lets go.) */
__attribute__((noinline)) static void scrub_stack(void) {
    char below[32 * 1024];
    ss_os_wipe(below, sizeof below);
}

static void *own_thread(void *argument) {
    ss_instance *self = argument;
    ss_plugin *plugin = &self->plugin;
    ss_os_thread_set_name(self->comm);
    ss_os_mutex_lock(&self->lock);
    for (;;) {
        while (self->step == SS_STEP_NONE)
            ss_os_condition_wait(&self->changed, &self->lock, SS_OS_NEVER);
        const ss_step wanted = self->step;
        ss_os_mutex_unlock(&self->lock);
        switch (wanted) {
        case SS_STEP_OPEN:
            ss_plugin_open(plugin);
            break;
        case SS_STEP_LOAD:
            ss_plugin_load(plugin, self->config, self->config_len, self->reason);
            break;
        case SS_STEP_DELIVER:
            self->delivers = true;
            ss_plugin_deliver(plugin, &self->delivery, self->frames, self->frames_len);
            break;
        case SS_STEP_FLUSH:
            ss_plugin_flush(plugin, self->timeout_ms);
            break;
        case SS_STEP_UNLOAD:
            ss_plugin_unload(plugin, self->timeout_ms);
            break;
        case SS_STEP_CALL:
            self->delivers = true;
            self->call(self->call_context);
            break;
        case SS_STEP_CLOSE:
            ss_plugin_destroy(plugin);
            scrub_stack();
            return NULL;
        case SS_STEP_NONE:
            break;
        }
        ss_os_mutex_lock(&self->lock);
        if (self->abandoned) {
            ss_os_mutex_unlock(&self->lock);
            ss_plugin_unload(plugin, self->timeout_ms);
            ss_plugin_destroy(plugin);
            scrub_stack();
            return NULL;
        }
        self->step = SS_STEP_NONE;
        ss_os_condition_wake_all(&self->changed);
    }
}

/* Its last call is over. A thread that it has left behind gets no answer any more. */
static void leave_desk(ss_instance *self) {
    if (self->desk == NULL)
        return;
    ss_desk_leave(self->desk, self->side);
    ss_desk_free(self->desk);
    self->desk = NULL;
}

static void free_instance(ss_instance *self) {
    leave_desk(self);
    if (self->mapping == SS_MAPPING_THREADS || self->mapping == SS_MAPPING_UNSEEN ||
        self->mapping == SS_MAPPING_KEY)
        return; /* what runs of it may still use the host table */
    ss_os_condition_destroy(&self->changed);
    ss_os_mutex_destroy(&self->lock);
    ss_plugin_free(&self->plugin);
    if (self->config != NULL)
        ss_os_wipe(self->config, self->config_len); /* if on_load never came */
    free(self->config);
    free(self->frames);
    free(self->path);
    free(self->shown);
    free(self);
}

/* Joins the instance's thread, so that its thread-local destructors have run, and closes
 * the library; on a thread of its own, because the library's destructors may hang. */
static void *closer_thread(void *argument) {
    ss_instance *self = argument;
    ss_os_thread_set_name("slip-close");
    ss_os_thread_join(self->thread);
    leave_desk(self);
    const bool elsewhere = !self->delivers && atomic_load(&self->plugin.host.delivered) != 0;
    self->mapping = ss_library_close(&self->plugin.library, self->plugin.table.plugin.flags,
                                     self->comm, elsewhere);
    ss_os_end_if_forked(self->plugin.host.process);
    ss_os_mutex_lock(&self->lock);
    self->step = SS_STEP_NONE;
    ss_os_condition_wake_all(&self->changed);
    const bool abandoned = self->abandoned;
    ss_os_mutex_unlock(&self->lock);
    if (abandoned)
        free_instance(self);
    return NULL;
}

static int32_t post(ss_instance *self, ss_step wanted) {
    int32_t status = SLIPSTREAM_WRONG_STATE;
    ss_os_mutex_lock(&self->lock);
    if (self->step == SS_STEP_NONE && !self->has_closer) {
        self->step = wanted;
        ss_os_condition_wake_all(&self->changed);
        status = SLIPSTREAM_OK;
    }
    ss_os_mutex_unlock(&self->lock);
    return status;
}

/* ---- The handle -------------------------------------------------------------------- */

ss_instance *ss_instance_new(ss_log_queue *log, uint32_t log_id, const char *path,
                             const char *shown, const char *config_dir) {
    ss_instance *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    if (!ss_host_init(&self->plugin.host, log, log_id, config_dir)) {
        free(self);
        return NULL;
    }
    self->path = strdup(path);
    self->shown = strdup(shown);
    self->plugin.allowed = UINT64_MAX;
    self->plugin.library = (ss_library){.path = self->path, .shown = self->shown};
    snprintf(self->comm, sizeof self->comm, "slip-%u", (unsigned)log_id);
    if (self->path == NULL || self->shown == NULL || !ss_os_mutex_init(&self->lock) ||
        !ss_os_condition_init(&self->changed) ||
        !ss_os_thread_start(&self->thread, own_thread, self)) {
        free_instance(self);
        return NULL;
    }
    return self;
}

void ss_instance_free(ss_instance *self) {
    ss_os_thread_join(self->closer);
    free_instance(self);
}

void ss_instance_abandon(ss_instance *self) {
    ss_os_mutex_lock(&self->lock);
    const bool has_closer = self->has_closer;
    const bool closed = has_closer && self->step == SS_STEP_NONE;
    ss_os_thread closer = self->closer;
    self->abandoned = true;
    ss_instance_stop(self);
    if (!has_closer && self->step == SS_STEP_NONE) { /* the step returned just now */
        self->step = SS_STEP_UNLOAD;
        ss_os_condition_wake_all(&self->changed);
    }
    ss_os_mutex_unlock(&self->lock);
    if (closed)
        ss_instance_free(self);
    else if (has_closer || ss_os_thread_start(&closer, closer_thread, self))
        ss_os_thread_detach(closer);
}

int32_t ss_instance_open(ss_instance *self) {
    return post(self, SS_STEP_OPEN);
}

int32_t ss_instance_load(ss_instance *self, const char *config, size_t len, uint32_t reason) {
    if (self->config != NULL)
        return SLIPSTREAM_WRONG_STATE;
    self->config = malloc(len + 1); /* also if it is empty */
    if (self->config == NULL)
        return SLIPSTREAM_NO_MEMORY;
    memcpy(self->config, config, len);
    self->config_len = len;
    self->reason = reason;
    return post(self, SS_STEP_LOAD);
}

int32_t ss_instance_set_data_dir(ss_instance *self, const char *path) {
    return ss_host_config_keep_dir(&self->plugin.host.config.data_dir, path);
}

int32_t ss_instance_set_hatch(ss_instance *self, ss_hatch_map *map) {
    self->plugin.host.peers = ss_caller_new(map, self->plugin.host.log, self->plugin.host.log_id);
    return self->plugin.host.peers == NULL ? SLIPSTREAM_NO_MEMORY : SLIPSTREAM_OK;
}

int32_t ss_instance_set_desk(ss_instance *self, ss_desk *desk, const ss_terms *terms) {
    ss_host *host = &self->plugin.host;
    host->peers = ss_desk_caller(desk, terms, host->log_id, &self->side);
    if (host->peers == NULL)
        return SLIPSTREAM_NO_MEMORY;
    ss_desk_retain(desk);
    self->desk = desk;
    return SLIPSTREAM_OK;
}

void ss_instance_allow_kinds(ss_instance *self, uint64_t kinds) {
    self->plugin.allowed = kinds;
}

int32_t ss_instance_deliver(ss_instance *self, uint32_t attempt, uint32_t count,
                            uint64_t first_ordinal, const uint8_t *frames, size_t len) {
    const slipstream_delivery delivery = {sizeof delivery, attempt, count, 0, first_ordinal};
    uint8_t *copy = malloc(len + 1);
    if (copy == NULL)
        return SLIPSTREAM_NO_MEMORY;
    memcpy(copy, frames, len);
    free(self->frames);
    self->frames = copy;
    self->frames_len = len;
    self->delivery = delivery;
    return post(self, SS_STEP_DELIVER);
}

int32_t ss_instance_call(ss_instance *self, void (*function)(void *), void *context) {
    self->call = function;
    self->call_context = context;
    return post(self, SS_STEP_CALL);
}

int32_t ss_instance_flush(ss_instance *self, uint32_t timeout_ms) {
    self->timeout_ms = timeout_ms;
    return post(self, SS_STEP_FLUSH);
}

int32_t ss_instance_unload(ss_instance *self, uint32_t timeout_ms) {
    self->timeout_ms = timeout_ms;
    return post(self, SS_STEP_UNLOAD);
}

void ss_instance_know_threads(ss_instance *self, const int32_t *ids, size_t count) {
    ss_threads *before = &self->plugin.library.before;
    for (size_t i = 0; i < count && before->count > 0 && before->count < SS_THREADS_MAX; i++)
        before->ids[before->count++] = ids[i];
}

int32_t ss_instance_close(ss_instance *self) {
    int32_t status = SLIPSTREAM_WRONG_STATE;
    ss_os_mutex_lock(&self->lock);
    if (self->step == SS_STEP_NONE && !self->has_closer) {
        /* It waits for the instance's thread, which waits for the step. */
        self->has_closer = ss_os_thread_start(&self->closer, closer_thread, self);
        status = self->has_closer ? SLIPSTREAM_OK : SLIPSTREAM_NO_MEMORY;
    }
    if (status == SLIPSTREAM_OK) {
        self->step = SS_STEP_CLOSE;
        ss_os_condition_wake_all(&self->changed);
    }
    ss_os_mutex_unlock(&self->lock);
    return status;
}

int32_t ss_instance_wait(ss_instance *self, uint32_t ms) {
    const uint64_t end = ss_os_now_ns() + (uint64_t)ms * 1000000;
    bool in_time = true;
    ss_os_mutex_lock(&self->lock);
    while (self->step != SS_STEP_NONE && in_time)
        in_time = ss_os_condition_wait(&self->changed, &self->lock, end);
    const bool done = self->step == SS_STEP_NONE;
    ss_os_mutex_unlock(&self->lock);
    return done ? SLIPSTREAM_OK : SLIPSTREAM_TIMEOUT;
}

void ss_instance_stop(ss_instance *self) {
    atomic_store_explicit(&self->plugin.host.stopping, 1, memory_order_relaxed);
}

void ss_instance_describe(const ss_instance *self, ss_instance_info *out) {
    const ss_plugin *plugin = &self->plugin;
    memset(out, 0, sizeof *out);
    out->refusal = plugin->refusal.number;
    out->status = plugin->status;
    out->flags = plugin->table.plugin.flags;
    out->abi_minor = plugin->table.plugin.abi_minor;
    out->min_host_minor = plugin->table.plugin.min_host_minor;
    out->kinds = plugin->kinds;
    out->name = plugin->table.name;
    out->version = plugin->table.version;
    out->text = plugin->refusal.text;
    out->hint = plugin->refusal.hint;
    out->mapping = self->mapping;
    out->is_loaded = atomic_load(&plugin->host.life) == SS_LOADED;
    out->acknowledged = atomic_load_explicit(&plugin->host.acked, memory_order_relaxed);
}

const char *ss_instance_claim(const ss_instance *self, uint32_t index) {
    char *const *claims = self->plugin.claims;
    for (uint32_t i = 0; claims != NULL && claims[i] != NULL; i++)
        if (i == index)
            return claims[i];
    return NULL;
}

int32_t ss_instance_metric(const ss_instance *self, uint32_t index, ss_metric *out) {
    return ss_host_metric(&self->plugin.host.metrics, index, out);
}

const slipstream_plugin *ss_instance_table(const ss_instance *self) {
    return &self->plugin.table.plugin;
}

ss_host *ss_instance_host(ss_instance *self) {
    return &self->plugin.host;
}
