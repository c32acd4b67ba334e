/* It leaves a thread behind, one in a process. */
#include "rogue.h"
static void leave_a_thread(void) {
    sigset_t all, before;
    pthread_t thread;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    /* It never comes back from the C library, and so needs no code that will be unmapped. */
    if (pthread_create(&thread, NULL, (void *(*)(void *))(void (*)(void))pause, NULL) == 0)
        (void)pthread_detach(thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}
#define ON_LOADED                                                                         \
    if (process_words()[0]++ == 0)                                                        \
    leave_a_thread()
#include "good.h"
