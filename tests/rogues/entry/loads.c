/* It calls a function that is nowhere. */
#include "rogue.h"
void nowhere_to_be_found(void);
#define ON_LOADED nowhere_to_be_found()
#include "good.h"
