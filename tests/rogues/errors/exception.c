/* An exception leaves on_broadcast where it cannot read an event.
 * lang: c++
 */
#define IN_FAILURE                                                                        \
    if (status == SLIPSTREAM_MALFORMED)                                                   \
    throw status
#include "good.h"
