/* crash: what is said where this process itself falls: which function of which plugin
 * was being called, on which event, where; and the lines of the log that nobody has read yet.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_CRASH_H
#define SS_CRASH_H

#include "plugin/host.h"

/* cdef:begin */
/* From now on a signal that ends the process is told of on standard error, before whoever wanted
 * it until now gets it; and so is an exit() by a plugin. For good; more than once is once. */
void ss_crash_tell_all(void);
/* cdef:end */

/* A host whose plugin may be the one. */
void ss_crash_add(ss_host *host);
void ss_crash_remove(ss_host *host);

#endif
