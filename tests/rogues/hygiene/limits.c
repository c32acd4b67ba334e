/* It lowers one of the process's limits. */
#include "rogue.h"

#include <sys/resource.h>
#define ON_LOADED                                                                         \
    struct rlimit limit;                                                                  \
    (void)getrlimit(RLIMIT_NOFILE, &limit);                                               \
    limit.rlim_cur = 200;                                                                 \
    (void)setrlimit(RLIMIT_NOFILE, &limit)
#include "good.h"
