/* A thread-local value with a destructor keeps it mapped, and it does not say RESIDENT. */
#include "rogue.h"
extern int __cxa_thread_atexit_impl(void (*end)(void *), void *value, void *library);
extern char __dso_handle;
static void end(void *value) { (void)value; }
static int registered;
#define ON_LOADED                                                                         \
    if (registered++ == 0)                                                                \
    (void)__cxa_thread_atexit_impl(end, NULL, &__dso_handle)
#include "good.h"
