/* Its on_load returns twice, the second time in a child process. */
#define STATE pid_t child;
#include "rogue.h"

#include <sys/prctl.h>
#include <sys/wait.h>
static void end(rogue *self) {
    for (int ms = 0; self->child > 0 && ms < 2000; ms++) {
        if (waitpid(self->child, NULL, WNOHANG) != 0)
            self->child = 0; /* the host has ended it */
        else
            sleep_ms(1);
    }
    if (self->child > 0) {
        (void)kill(self->child, SIGKILL);
        (void)waitpid(self->child, NULL, 0);
    }
    self->child = 0;
}
#define ON_LOADED                                                                         \
    self->child = fork();                                                                 \
    if (self->child == 0)                                                                 \
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL)
#define IN_ON_UNLOAD end(self)
#define IN_DESTROY end(self)
#include "good.h"
