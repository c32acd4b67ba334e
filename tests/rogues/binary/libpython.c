/* It needs libpython, so that there would be a second interpreter in the process.
 * stub: libpython3.11.so.1.0
 * build: -Wl,--no-as-needed -LFOLDER -l:libpython3.11.so.1.0 -Wl,-rpath,$ORIGIN
 */
#include "good.h"
