/* thread: its name, and conditions with the right clock. */
#include "platform/platform.h"

#include <stdio.h>

void ss_os_thread_set_name(const char *name) {
    char cut[16]; /* a longer one is refused */
    snprintf(cut, sizeof cut, "%s", name);
    pthread_setname_np(pthread_self(), cut);
}

bool ss_os_condition_init(ss_os_condition *condition) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    const bool done = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                      pthread_cond_init(condition, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return done;
}
