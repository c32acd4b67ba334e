/* Its on_load changes the table, which the host has copied before. */
#define ON_LOADED self->table.flush = NULL
#include "good.h"
