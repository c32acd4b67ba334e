/* door: where Python comes in. */
#ifndef SS_DOOR_H
#define SS_DOOR_H

/* cdef:begin */
/* Puts Door and the functions of the module into it, and keeps a function of Python:
 * status_error(status, what, offset, index) is the exception for a status. */
void ss_door_attach(void *module, void *status_error);
/* cdef:end */

#endif
