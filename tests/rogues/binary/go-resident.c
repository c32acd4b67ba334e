/* It holds Go's runtime, which cannot be unmapped, and does not say RESIDENT. */
#include "good.h"
__asm__(".section .note.go.buildid, \"a\", @note\n"
        ".balign 4\n"
        ".long 4, 8, 4\n"
        ".asciz \"Go\\0\"\n"
        ".ascii \"built/by\"\n"
        ".text\n");
