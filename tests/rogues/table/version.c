/* Its version is empty. */
#define VERSION ""
#define INFO
#include "good.h"
