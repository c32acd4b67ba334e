/* It ignores a signal as soon as it is opened. */
#include "good.h"
__attribute__((constructor)) static void opened(void) { (void)signal(SIGUSR2, SIG_IGN); }
