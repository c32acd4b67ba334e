/* It leaves a file in the folder for temporary ones. */
#include "rogue.h"

#include <stdio.h>
static void leave_a_file(void) {
    const char *folder = getenv("TMPDIR");
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/rogue.tmp", folder != NULL ? folder : "/tmp");
    (void)close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}
#define ON_LOADED leave_a_file()
#include "good.h"
