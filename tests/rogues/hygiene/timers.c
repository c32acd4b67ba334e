/* It starts all timers of the process, which go off in a day. */
#include "rogue.h"

#include <sys/time.h>
#define ON_LOADED                                                                         \
    const struct itimerval day = {{0, 0}, {86400, 0}};                                    \
    (void)setitimer(ITIMER_REAL, &day, NULL);                                             \
    (void)setitimer(ITIMER_VIRTUAL, &day, NULL);                                          \
    (void)setitimer(ITIMER_PROF, &day, NULL)
#include "good.h"
