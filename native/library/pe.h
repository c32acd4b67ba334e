/* pe: PE files, the libraries of Windows. */
#ifndef SS_PE_H
#define SS_PE_H

#include "library/file.h"

/* For ss_file_look: a file that starts as PE files do. */
void ss_pe_look(const ss_source *source, ss_file *out);

#endif
