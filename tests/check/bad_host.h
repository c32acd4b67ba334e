/* What the parts of bad_host share. */
#ifndef BAD_HOST_H
#define BAD_HOST_H

#define _GNU_SOURCE
#include <slipstream_host.h>

#include <stdbool.h>
#include <string.h>

extern const char *mode; /* the check of the probe that is to fail; "good" */

static inline bool is(const char *name) {
    return strcmp(mode, name) == 0;
}

/* bad_config.c: a config with every type in it, and slipstream.config/1 over it. */
extern bool config_is_open;
char *config_write(const char *libpath, const char *report, const char *const *more);
const slipstream_config_v1 *config_table(void);

/* bad_tables.c: the host's table and its other extensions. */
extern _Atomic bool is_loaded, is_stopping;
extern _Atomic uint64_t first_ordinal, last_ordinal, acknowledged;
extern char *load_text;          /* changed while on_load runs, in mode load.stable */
extern uint32_t plugin_flags;
extern void (*in_ack)(void);     /* called by ack, while the plugin is loaded */
void host_table(slipstream_host *table, void *ctx);
void lock_log(bool wanted);

/* bad_peers.c: the extensions of a host that has peers. */
const void *peers_extension(const char *id);

/* bad_frames.c: one frame, good but for the mode; its length. */
size_t write_frame(uint32_t kind, uint64_t sequence, uint64_t ordinal, uint8_t *out);

#endif
