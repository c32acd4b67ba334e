/* It changes with what rights files are made. */
#include "rogue.h"

#include <sys/stat.h>
#define ON_LOADED (void)umask(011)
#include "good.h"
