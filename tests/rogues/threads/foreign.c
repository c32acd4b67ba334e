/* It wants to be loaded by the thread that opened it. */
#include "rogue.h"
static pthread_t opener;
#define IN_ON_LOAD                                                                        \
    if (!pthread_equal(opener, pthread_self()))                                           \
    return fail(self, SLIPSTREAM_WRONG_STATE, "this is not my thread")
#include "good.h"
__attribute__((constructor)) static void opened(void) { opener = pthread_self(); }
