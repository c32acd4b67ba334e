/* A function that nobody calls points to data. */
#include "rogue.h"
static int32_t word;
#define TABLE_FLUSH ((int32_t(*)(void *, uint32_t))(uintptr_t)&word)
#include "good.h"
