/* It sets a variable of the environment. */
#define ON_LOADED (void)setenv("ROGUE", "1", 1)
#include "good.h"
