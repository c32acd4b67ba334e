/* It changes what a signal does. */
#define ON_LOADED (void)signal(SIGUSR1, SIG_IGN)
#include "good.h"
