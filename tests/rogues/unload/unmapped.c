/* It opens itself once more, and never closes that: so it stays mapped, and is not RESIDENT. */
#include "rogue.h"
static int is_open;
static void open_again(void) {
    Dl_info own;
    if (!is_open && dladdr(&is_open, &own) != 0)
        is_open = dlopen(own.dli_fname, RTLD_NOW | RTLD_NOLOAD) != NULL;
}
#define ON_LOADED open_again()
#include "good.h"
