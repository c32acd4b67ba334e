/* json: what a decoder does not tell: whether an object names a member twice. */
#ifndef SS_JSON_H
#define SS_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* Finds the first key that stands twice in the outermost object of a text that is known to be
 * JSON; keys are compared as they are written. Looks at SS_JSON_KEYS keys at most. */
enum { SS_JSON_KEYS = 64 };
bool ss_json_repeats(const char *text, size_t len, const char **key, size_t *key_len);

#endif
