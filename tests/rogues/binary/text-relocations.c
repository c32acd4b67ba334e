/* Its code holds an address, which the loader has to write into it.
 * build: -Wl,-z,notext
 */
#include "good.h"
__asm__(".text\n.balign 8\nrogue_place: .quad rogue_place\n");
