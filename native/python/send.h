/* send: an event into the sequencer, with or without the interpreter lock; exceptions of
 * callbacks, which wait for the call that caused them to return. */
#ifndef SS_SEND_H
#define SS_SEND_H

#include <Python.h>

#include "sequencer/sequencer.h"

/* What is sent: a draft; frames of our own, checked; or the caller's frames. */
typedef struct ss_outgoing {
    ss_draft *draft;
    uint8_t *own;
    const uint8_t *frames;
    size_t len;
    bool stamped;
    bool routed;
    bool too_large; /* for some plugin's ring; the others have it */
    ss_sent sent; /* of frames: how far it got */
} ss_outgoing;

/* Sends it, of these kinds. True, or false with a Python exception. `status` is that of the
 * core. */
bool ss_door_send(ss_sequencer *sequencer, ss_outgoing *what, uint64_t kinds, int32_t *status);
/* None, or the exception for what became of what was sent. */
PyObject *ss_door_tell_failure(const ss_outgoing *what, int32_t status, const char *name);

static inline PyObject *ss_door_tell(const ss_outgoing *what, int32_t status, const char *name) {
    if (__builtin_expect(status != SLIPSTREAM_OK, 0))
        return ss_door_tell_failure(what, status, name);
    Py_RETURN_NONE;
}

/* park(error), raise_parked(): functions of the module. */
PyObject *ss_door_park(PyObject *module, PyObject *error);
PyObject *ss_door_raise_parked(PyObject *module, PyObject *unused);

#endif
