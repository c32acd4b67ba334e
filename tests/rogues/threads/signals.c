/* Its thread takes the process's signals. */
#define STATE                                                                             \
    pthread_t thread;                                                                     \
    int ends[2];
#include "rogue.h"
static void *work(void *of) {
    rogue *self = (rogue *)of;
    char byte;
    while (read(self->ends[0], &byte, 1) < 0 && errno == EINTR)
        continue;
    return NULL;
}
#define ON_LOADED                                                                         \
    if (pipe2(self->ends, O_CLOEXEC) != 0 ||                                              \
        pthread_create(&self->thread, NULL, work, self) != 0)                             \
    return fail(self, SLIPSTREAM_NO_MEMORY, "no thread")
#define IN_ON_UNLOAD                                                                      \
    (void)close(self->ends[1]);                                                           \
    (void)pthread_join(self->thread, NULL);                                               \
    (void)close(self->ends[0])
#include "good.h"
