/* Its own thread reads the frames, a little after the call that brought them. */
#define STATE                                                                             \
    pthread_t thread;                                                                     \
    pthread_mutex_t lock;                                                                 \
    const uint8_t *last;                                                                  \
    struct timespec since;                                                                \
    int ends;
#include "rogue.h"
static int tick(rogue *self, const uint8_t *frames, int ends) {
    (void)pthread_mutex_lock(&self->lock);
    self->last = frames;
    (void)clock_gettime(CLOCK_MONOTONIC, &self->since);
    self->ends = ends;
    return pthread_mutex_unlock(&self->lock);
}
static int is_ripe(const rogue *self) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    const long ms = (now.tv_nsec - self->since.tv_nsec) / 1000000;
    return (now.tv_sec - self->since.tv_sec) * 1000 + ms > 100;
}
static void *work(void *of) {
    rogue *self = (rogue *)of;
    for (int ends = 0; !ends; sleep_ms(5)) {
        (void)pthread_mutex_lock(&self->lock);
        if (self->last != NULL && is_ripe(self)) {
            look_at(self->last[0]);
            self->last = NULL;
        }
        ends = self->ends;
        (void)pthread_mutex_unlock(&self->lock);
    }
    return NULL;
}
#define ON_LOADED                                                                         \
    sigset_t all, before;                                                                 \
    (void)sigfillset(&all);                                                               \
    (void)pthread_mutex_init(&self->lock, NULL);                                          \
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);                                    \
    status = pthread_create(&self->thread, NULL, work, self);                             \
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);                                    \
    if (status != 0)                                                                      \
    return fail(self, SLIPSTREAM_NO_MEMORY, "no thread")
#define IN_ON_BROADCAST (void)tick(self, frames, 0)
#define IN_FLUSH (void)tick(self, NULL, 0)
#define IN_ON_UNLOAD                                                                      \
    (void)tick(self, NULL, 1);                                                            \
    (void)pthread_join(self->thread, NULL)
#include "good.h"
