/* It blocks a signal in the host's thread. */
#define IN_ON_BROADCAST                                                                   \
    sigset_t one;                                                                         \
    (void)sigemptyset(&one);                                                              \
    (void)sigaddset(&one, SIGUSR1);                                                       \
    (void)pthread_sigmask(SIG_BLOCK, &one, NULL)
#include "good.h"
