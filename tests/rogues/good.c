/* A plugin that is right in every way. */
#include "good.h"
