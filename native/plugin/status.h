/* status: the statuses of the contract, by name.
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_STATUS_H
#define SS_STATUS_H

#include <stdint.h>

/* cdef:begin */
const char *ss_status_name(int32_t status);
/* cdef:end */

#endif
