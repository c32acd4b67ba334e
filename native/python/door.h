/* door: where Python comes in. */
#ifndef SS_DOOR_H
#define SS_DOOR_H

/* cdef:begin */
/* Puts Door and the functions for frames into a module, and keeps two functions of Python:
 * fail(status, what, offset, index) raises; encode(event, kinds) gives a frame or None. */
void ss_door_attach(void *module, void *fail, void *encode);
/* cdef:end */

#endif
