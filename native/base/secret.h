/* secret: what must not stand in a text. Kept as keyed hashes, not in clear, and for good: a line
 * of a plugin may come long after its end. */
#ifndef SS_SECRET_H
#define SS_SECRET_H

#include <stddef.h>
#include <stdint.h>

/* cdef:begin */
#define SS_SECRET_SHORTEST 4 /* bytes; a shorter one is found in the middle of ordinary words */

/* ss_text_show masks it from now on, wherever it stands. OK, or NO_MEMORY. [any-thread] */
int32_t ss_secret_hide(const char *secret, size_t len);
/* cdef:end */

/* The length of the longest secret with which `text` begins, 0 if there is none. [any-thread] */
size_t ss_secret_at(const char *text, size_t len);

#endif
