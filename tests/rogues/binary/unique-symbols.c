/* It has a unique symbol, as a C++ template's static variable is one. */
#include "good.h"
__asm__(".data\n"
        ".globl rogue_counter\n"
        ".type rogue_counter, @gnu_unique_object\n"
        ".size rogue_counter, 4\n"
        "rogue_counter: .long 0\n"
        ".text\n");
