/* Its constructor opens a descriptor, which belongs into on_load. */
#define STATE int opened;
#define CONSTRUCTED self->opened = open("/dev/null", O_RDONLY | O_CLOEXEC)
#define IN_DESTROY close(self->opened)
#include "good.h"
