/* spec: what a generation of a plugin is started with.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_SPEC_H
#define SS_SPEC_H

#include "peers/desk.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cdef:begin */
/* How one generation of a plugin is run. Texts are copied; "" where there is none. */
typedef struct ss_spec {
    const char *name; /* that the worker bears in `ps` */
    const char *path;
    const char *shown;
    const char *config_dir;
    const char *user;
    uint64_t memory;     /* bytes, 0: no limit */
    uint64_t open_files; /* 0: no limit */
    uint64_t kinds;      /* all that it may subscribe to */
    uint32_t log_id;
    uint32_t log_level;
    uint32_t load_timeout_ms;
    uint32_t unload_timeout_ms;
    uint32_t callback_timeout_ms; /* 0: off */
    uint32_t flush_idle_ms;
    uint32_t retry_initial_ms;
    uint32_t retry_max_ms;
    uint32_t retry_max_time_ms; /* 0: never */
    uint32_t core_files;
    uint32_t initial_delay_ms;
    uint32_t max_delay_ms;
    uint32_t max_crashes; /* 0: never quarantined */
    uint32_t window_ms;
    ss_desk *desk; /* where it asks; NULL: nowhere */
    const ss_terms *terms; /* under which */
} ss_spec;
/* cdef:end */

/* A copy that owns its texts, kept as long as a generation may be started from it. What is only
 * known when the plugin has said its name joins it before the first on_load. */
typedef struct ss_kept_spec {
    ss_spec values;
    ss_terms terms; /* without any offer it has no hatch */
    char *data_dir; /* "" or NULL where there is none */
    char *config; /* what on_load gets */
    size_t config_len;
    _Atomic uint32_t references;
} ss_kept_spec;

/* NULL when there is no memory. Counted; the last release wipes and frees it. */
ss_kept_spec *ss_kept_spec_new(const ss_spec *given);
void ss_kept_spec_release(ss_kept_spec *spec);
/* False when there is no memory; all is as it was. */
bool ss_kept_spec_set_load(ss_kept_spec *spec, const char *data_dir, const char *config,
                           size_t len);

#endif
