/* It leaves a child process behind, one in a process. */
#include "rogue.h"

#include <sys/prctl.h>
static void leave_a_child(void) {
    const pid_t parent = getpid();
    if (fork() == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no longer than need be */
        while (getppid() == parent)
            sleep_ms(100);
        _exit(0);
    }
}
#define ON_LOADED                                                                         \
    if (process_words()[0]++ == 0)                                                        \
    leave_a_child()
#include "good.h"
