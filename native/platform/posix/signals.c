/* signals: whose handlers lie in a library, and those that ask the process to stop. */
#include "platform/platform.h"

#include <signal.h>

#ifdef SIGRTMAX
#define LAST SIGRTMAX
#else
#define LAST (NSIG - 1)
#endif

int ss_os_signal_into(const ss_os_range *code, size_t count) {
    for (int number = 1; number <= LAST; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) != 0)
            continue;
        if (ss_os_lies_in((uintptr_t)action.sa_sigaction, code, count))
            return number;
    }
    return 0;
}

static const int stop_signals[2] = {SIGINT, SIGTERM};

void ss_os_get_stop_handlers(ss_os_stop_handlers *out) {
    for (size_t i = 0; i < 2; i++)
        sigaction(stop_signals[i], NULL, &out->actions[i]);
}

const char *ss_os_put_back_stop_handlers(const ss_os_stop_handlers *kept) {
    const char *changed = NULL;
    for (size_t i = 0; i < 2; i++) {
        struct sigaction now;
        if (sigaction(stop_signals[i], NULL, &now) != 0 ||
            now.sa_sigaction == kept->actions[i].sa_sigaction)
            continue;
        sigaction(stop_signals[i], &kept->actions[i], NULL);
        changed = stop_signals[i] == SIGINT ? "SIGINT" : "SIGTERM";
    }
    return changed;
}
