/* thread: its name, and conditions. */
#include "platform/platform.h"

#include <stdio.h>

void ss_os_thread_set_name(const char *name) {
    char cut[16]; /* a longer one is refused */
    snprintf(cut, sizeof cut, "%s", name);
    pthread_setname_np(cut);
}

bool ss_os_condition_init(ss_os_condition *condition) {
    return pthread_cond_init(condition, NULL) == 0;
}
