/* instance_inner: what an instance is made of, for the files that make it. */
#ifndef SS_PLUGIN_INNER_H
#define SS_PLUGIN_INNER_H

#include "library/file.h"
#include "library/peek.h"
#include "plugin/instance.h"

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

enum { SS_TEXT_ROOM = 2 * SLIPSTREAM_ERROR_MAX };

struct ss_instance {
    ss_host host;
    slipstream_plugin table; /* checked copy */
    bool destroyable;        /* destroy was checked and not called yet */
    char *path;
    char *shown;
    void *handle;
    ss_file file;
    ss_threads before;
    char comm[16];
    char name[SLIPSTREAM_NAME_MAX + 1];
    char version[SLIPSTREAM_NAME_MAX + 1];
    uint64_t kinds;
    char **claims; /* NULL-terminated */

    /* The step that the instance's thread is to run; guarded by `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    ss_step step;
    pthread_t thread;
    pthread_t closer;
    bool has_closer;
    bool abandoned;

    /* Arguments and results of a step. */
    void (*call)(void *);
    void *call_context;
    char *config;
    size_t config_len;
    uint32_t reason;
    uint32_t timeout_ms;
    slipstream_delivery delivery;
    uint8_t *frames;
    size_t frames_len;
    uint32_t refusal;
    int32_t status;
    uint32_t mapping;
    char text[SS_TEXT_ROOM];
    char hint[512];
};

/* Around every call into the plugin: ss_instance_enter, then ss_host_leave. */
static inline void ss_instance_enter(ss_instance *self) {
    ss_host_enter(&self->host, ss_self());
}

static inline void ss_instance_set_life(ss_instance *self, uint32_t life) {
    atomic_store_explicit(&self->host.life, life, memory_order_release);
}

/* In loader.c. Keeps why the library is refused; its hint is given behind it. */
__attribute__((format(printf, 3, 4))) void ss_refuse(ss_instance *self, uint32_t refusal,
                                                     const char *format, ...);
__attribute__((format(printf, 2, 3))) void ss_advise(ss_instance *self, const char *format, ...);
/* Before the first library is opened: lets the process end though the loader hangs. */
void ss_library_watch_exit(void);
/* Looks at the file, opens it, constructs the plugin and checks its table. */
void ss_library_open(ss_instance *self);
/* After the instance's thread was joined; what became of the mapping: SS_MAPPING_*. */
uint32_t ss_library_close(ss_instance *self);

/* In steps.c, on the instance's own thread. */
void ss_run_load(ss_instance *self);
void ss_run_deliver(ss_instance *self);
void ss_run_flush(ss_instance *self);
void ss_run_unload(ss_instance *self);
void ss_run_destroy(ss_instance *self);

#endif
