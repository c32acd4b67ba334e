/* config - the config of host-c: KEY=VALUE pairs, as JSON and as slipstream.config/1.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CONFIG_H
#define CONFIG_H

#include <slipstream_host.h>

#include <limits.h>

enum { CONFIG_MAX = 4 * PATH_MAX };

extern int config_is_open; /* while on_load runs */

/* KEY=VALUE, up to NULL. 0: one is no pair, or would need escapes in JSON. */
int config_take(char **pairs);
/* The JSON object that on_load gets, at most CONFIG_MAX bytes with its NUL. */
void config_write(char *json, const char *name, const char *path);
const slipstream_config_v1 *config_table(void);

#endif
