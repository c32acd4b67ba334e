/* It kills the group of the process that started its own, and then its own.
 * expect: entry.loads crash
 */
#include "good.h"
__attribute__((constructor)) static void opened(void) {
    const pid_t group = getpgid(getppid());
    if (group > 1)
        (void)kill(-group, SIGKILL);
    (void)kill(0, SIGKILL);
}
