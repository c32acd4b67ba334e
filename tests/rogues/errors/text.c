/* The text of its error is not UTF-8. */
#define IN_FAILURE return fail(self, status, "cannot read \xFF\xFE")
#include "good.h"
