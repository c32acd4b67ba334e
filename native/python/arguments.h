/* arguments: Python objects as arguments of the core, and its statuses as exceptions. */
#ifndef SS_ARGUMENTS_H
#define SS_ARGUMENTS_H

#include <Python.h>

#include "frame/frame.h"

/* Gives the exception for a status; see ss_door_attach. */
extern PyObject *ss_door_status_error;

/* Raises the exception for a status, of a frame that starts at `offset` and is number `index`;
 * always NULL. */
PyObject *ss_door_fail(int32_t status, const char *what, uint64_t offset, uint64_t index);
PyObject *ss_door_fail_count(const char *function, const char *arguments, Py_ssize_t count);
/* Raises an exception that exists already; takes over the reference. */
void ss_door_raise(PyObject *error);

/* Where in a bytes object its bytes lie: measured once, for the limited API tells it by a call
 * only, which costs more than what is done with them. 0: it has to be asked. */
extern size_t ss_door_bytes_at;
void ss_door_measure_bytes(void);

/* Is it exactly bytes, and are they to be had at once? */
static inline bool ss_door_at_once(PyObject *object, slipstream_bytes *out) {
    if (ss_door_bytes_at == 0 || !PyBytes_CheckExact(object))
        return false;
    out->data = (const uint8_t *)object + ss_door_bytes_at;
    out->len = (size_t)Py_SIZE(object);
    return true;
}

/* Borrowed bytes of an argument; `view` has to be released if it holds an object. */
bool ss_door_bytes(PyObject *object, slipstream_bytes *out, Py_buffer *view);
bool ss_door_height(PyObject *object, uint64_t *out);
bool ss_door_u32(PyObject *object, uint32_t *out);
bool ss_door_u64(PyObject *object, uint64_t *out);

/* Bytes that may be absent, which is None, if they are `optional`. */
static inline bool ss_door_span(PyObject *object, bool optional, slipstream_bytes *out,
                                Py_buffer *view) {
    return ss_door_at_once(object, out) || (optional && object == Py_None) ||
           ss_door_bytes(object, out, view);
}

/* A view without an object is not to be released; the rest of it is never looked at. */
static inline void ss_door_no_views(Py_buffer *views) {
    for (int i = 0; i < SS_MAX_SPANS; i++)
        views[i].obj = NULL;
}

static inline void ss_door_release(Py_buffer *views) {
    for (int i = 0; i < SS_MAX_SPANS; i++)
        if (views[i].obj != NULL)
            PyBuffer_Release(&views[i]);
}

#endif
