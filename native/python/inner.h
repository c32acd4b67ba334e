/* inner: what the files of the door share. All of it needs the interpreter lock, except
 * where it says otherwise. */
#ifndef SS_PYTHON_INNER_H
#define SS_PYTHON_INNER_H

#include <Python.h>

#include "sequencer/sequencer.h"

/* ---- arguments: Python objects, and errors --------------------------------------------- */

/* Two functions of Python: fail(status, what, offset, index) raises; encode(event, kinds) is
 * a frame, or None if nobody wants it. */
extern PyObject *ss_door_fail_function;
extern PyObject *ss_door_encode_function;
void ss_door_use(PyObject *fail, PyObject *encode);

/* Raises what fits a status; always NULL. `sent` may be NULL. */
PyObject *ss_door_fail(int32_t status, const char *what, const ss_sent *sent);
PyObject *ss_door_fail_count(const char *function, const char *expected, Py_ssize_t count);

/* Borrowed bytes of an argument; `view` has to be released if it holds an object. */
bool ss_door_bytes(PyObject *object, slipstream_bytes *out, Py_buffer *view);
bool ss_door_height(PyObject *object, uint64_t *out);
bool ss_door_u64(PyObject *object, uint64_t *out);

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

/* ---- send: the interpreter lock and the sequencer --------------------------------- */

/* What is sent: a draft; frames of our own, checked; or the caller's frames. */
typedef struct ss_outgoing {
    ss_draft *draft;
    uint8_t *own;
    const uint8_t *frames;
    size_t len;
    bool stamped;
    bool routed;
    bool too_large; /* for some plugin's ring; the others have it */
    ss_sent sent;   /* of frames: how far it got */
} ss_outgoing;

/* Sends it, of these kinds. True, or false with a Python exception. `status` is that of the
 * core. */
bool ss_door_send(ss_sequencer *sequencer, ss_outgoing *what, uint64_t kinds, int32_t *status);
/* None, or the exception for what became of a load. */
PyObject *ss_door_tell(const ss_outgoing *what, int32_t status, const char *name);
/* park(): the exception that a callback in Python has kept is to be raised by the call that
 * caused it. */
PyObject *ss_door_park(PyObject *module, PyObject *unused);

/* ---- frames: frames for people, to and from plain Python values -------------------- */

/* encode_frame(kind, flags, stream, sequence, time_ns, height, reasons, spans, numbers) */
PyObject *ss_door_encode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count);
/* decode_frame(buffer, offset): (frame_len, kind, flags, stream, sequence, time_ns, height,
 * reasons, spans, numbers) */
PyObject *ss_door_decode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count);

#endif
