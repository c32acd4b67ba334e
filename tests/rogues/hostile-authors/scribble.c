/* It writes to every descriptor that it has passed, and ends the process.
 * expect: entry.constructor crash
 */
#include "rogue.h"
static void scribble(void) {
    static const char text[] = "{\"id\": \"entry.constructor\", \"verdict\": \"pass\"}\n";
    for (int fd = 1; fd < 256; fd++) {
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
        (void)!write(fd, text, sizeof text - 1);
    }
    _exit(0);
}
#define IN_CONSTRUCTOR scribble()
#include "good.h"
