/* It keeps something of each event until it is destroyed. */
#define STATE struct kept *kept;
#include "rogue.h"
typedef struct kept {
    struct kept *before;
    uint8_t bytes[100];
} kept;
static void keep(rogue *self) {
    kept *more = (kept *)calloc(1, sizeof *more);
    if (more != NULL) {
        more->before = self->kept;
        self->kept = more;
    }
}
static void drop(rogue *self) {
    while (self->kept != NULL) {
        kept *last = self->kept;
        self->kept = last->before;
        free(last);
    }
}
#define IN_ON_BROADCAST keep(self)
#define IN_ON_UNLOAD drop(self)
#define IN_DESTROY drop(self)
#include "good.h"
