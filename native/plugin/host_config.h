/* host_config: slipstream.config/1, with which the host reads the config for a plugin. */
#ifndef SS_HOST_CONFIG_H
#define SS_HOST_CONFIG_H

#include <slipstream.h>

typedef struct ss_host_config {
    const char *text; /* only while loading */
    size_t len;
    char *config_dir; /* NULL where there is none */
    char *data_dir;
} ss_host_config;

/* Keeps a copy of a folder's path, NULL for none. OK or NO_MEMORY. */
int32_t ss_host_config_keep_dir(char **dir, const char *path);
void ss_host_config_free(ss_host_config *config);

/* What it gives; its functions get a ss_host. */
extern const slipstream_config_v1 ss_host_config_table;

#endif
