/* Its table says that it is smaller than the smallest. */
#define TABLE_SIZE 88
#include "good.h"
