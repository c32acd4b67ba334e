/* Its thread-local variable takes room that a process has little of for libraries to come.
 * build: -ftls-model=initial-exec
 */
#include "rogue.h"
static _Thread_local unsigned calls;
#define IN_ON_BROADCAST calls++
#include "good.h"
