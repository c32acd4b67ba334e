/* It has a section that can be written and executed. */
#include "good.h"
__asm__(".section .patched, \"awx\", @progbits\n.byte 0\n.text\n");
