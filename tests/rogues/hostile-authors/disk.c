/* It writes to the folder for temporary files until no more fits, and then aborts.
 * expect: entry.constructor crash
 */
#include "rogue.h"

#include <stdio.h>
static void fill(void) {
    static const char zeros[1 << 20];
    const char *folder = getenv("TMPDIR");
    char path[4096];
    /* Where nothing holds it back it has done enough harm after 4 GiB. */
    for (int number = 0; number < 4096; number++) {
        (void)snprintf(path, sizeof path, "%s/rogue.%d", folder != NULL ? folder : "/tmp", number);
        const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros)
            abort();
        (void)close(fd);
    }
    _exit(0);
}
#define IN_CONSTRUCTOR fill()
#include "good.h"
