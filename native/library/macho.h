/* macho: Mach-O files, the libraries of macOS. */
#ifndef SS_MACHO_H
#define SS_MACHO_H

#include "library/file.h"

/* For ss_file_look: a file that starts as little-endian Mach-O files do, or as one that holds
 * them for several machines. */
void ss_macho_look(const ss_source *source, ss_file *out);

#endif
