/* The reader of Mach-O files, the libraries of macOS. */
#define KIND SS_FILE_MACH_O
#define LOOK ss_macho_look
#include "library.h"
