/* Whenever it is opened and loaded it leaves a buffer behind. */
#include "rogue.h"
static char *buffer;
#define ON_LOADED                                                                         \
    if (buffer == NULL && (buffer = (char *)malloc(50000)) != NULL)                       \
    buffer[0] = 1
#include "good.h"
