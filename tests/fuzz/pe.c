/* The reader of PE files, the libraries of Windows. */
#define KIND SS_FILE_PE
#define LOOK ss_pe_look
#include "library.h"
