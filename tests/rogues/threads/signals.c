/* Its thread takes the process's signals. */
#define STATE                                                                             \
    pthread_t thread;                                                                     \
    int ends[2];                                                                          \
    int runs;
#include "rogue.h"
static void *work(void *of) {
    rogue *self = (rogue *)of;
    char byte;
    while (read(self->ends[0], &byte, 1) < 0 && errno == EINTR)
        continue;
    return NULL;
}
static int start(rogue *self) {
    if (pipe2(self->ends, O_CLOEXEC) != 0)
        return 0;
    self->runs = pthread_create(&self->thread, NULL, work, self) == 0;
    if (!self->runs) {
        (void)close(self->ends[0]);
        (void)close(self->ends[1]);
    }
    return self->runs;
}
static void end(rogue *self) {
    if (self->runs) {
        (void)close(self->ends[1]);
        (void)pthread_join(self->thread, NULL);
        (void)close(self->ends[0]);
    }
    self->runs = 0;
}
#define ON_LOADED                                                                         \
    if (!start(self))                                                                     \
    return fail(self, SLIPSTREAM_NO_MEMORY, "no thread")
#define IN_ON_UNLOAD end(self)
#define IN_DESTROY end(self)
#include "good.h"
