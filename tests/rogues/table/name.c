/* Its name has a capital letter and a space. */
#define NAME "My rogue"
#define INFO
#include "good.h"
