/* refusal: why a library is not loaded, as a number, a text and the next step.
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_REFUSAL_H
#define SS_REFUSAL_H

#include <slipstream.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cdef:begin */

/* Each has its own text and its own next step. */
#define SS_REFUSED_NOTHING 0
#define SS_REFUSED_NOT_A_LIBRARY 1
#define SS_REFUSED_WRONG_ARCHITECTURE 2
#define SS_REFUSED_NO_CONSTRUCTOR 3
#define SS_REFUSED_RUST_ABI_PLUGIN 4
#define SS_REFUSED_WRONG_ABI_MAJOR 5
#define SS_REFUSED_CANNOT_OPEN 6
#define SS_REFUSED_CONSTRUCTOR_REFUSED 7
#define SS_REFUSED_TABLE_UNREADABLE 8
#define SS_REFUSED_TABLE_TOO_SMALL 9
#define SS_REFUSED_HOST_TOO_OLD 10
#define SS_REFUSED_FUNCTION_MISSING 11
#define SS_REFUSED_FUNCTION_INVALID 12
#define SS_REFUSED_NAME_INVALID 13
#define SS_REFUSED_VERSION_INVALID 14
#define SS_REFUSED_BROADCAST_MISSING 15
#define SS_REFUSED_FLUSH_MISSING 16
#define SS_REFUSED_TIMED_OUT 17 /* by whoever waits for it, never by the core's checks */
#define SS_REFUSED_INFO_MISPLACED 18 /* slipstream_info_v1 is where no text can be read from */
#define SS_REFUSED_INFO_UNREADABLE 19 /* it is no text that a host reads */
#define SS_REFUSED_INFO_DISAGREES 20 /* the plugin is not what it says there */

typedef struct ss_refusal {
    uint32_t number; /* SS_REFUSED_* */
    char text[8192]; /* of a plugin's own, too, with escapes */
    char hint[512];  /* the next step; "" */
} ss_refusal;
/* cdef:end */

_Static_assert(sizeof((ss_refusal *)NULL)->text == 2 * SLIPSTREAM_ERROR_MAX, "room for its error");

/* Says why, safe to show. The next step is given behind it. */
__attribute__((format(printf, 3, 4))) void ss_refuse(ss_refusal *why, uint32_t number,
                                                     const char *format, ...);
/* Always false: the last line of whoever refuses. */
__attribute__((format(printf, 2, 3))) bool ss_advise(ss_refusal *why, const char *format, ...);

#endif
