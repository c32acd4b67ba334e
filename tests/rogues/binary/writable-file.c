/* Whoever has an account on the machine may write its file.
 * after: chmod o+w FILE
 */
#include "good.h"
