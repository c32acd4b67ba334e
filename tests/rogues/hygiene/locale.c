/* It sets the process's locale. */
#include "rogue.h"

#include <locale.h>
#define ON_LOADED (void)setlocale(LC_NUMERIC, "C.UTF-8")
#include "good.h"
