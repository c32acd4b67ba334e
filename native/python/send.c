/* send: an event into the sequencer, with or without the interpreter lock.
 *
 * Two rules: never wait for the sequencer while holding the interpreter lock, and never
 * touch a Python object without it. */
#include "python/inner.h"

#include <string.h>

#define LARGE_RUN (16 * 1024) /* bytes: from here on the lock is released anyway */
#define WAIT_SLICE_MS 100     /* between two looks for signals */

static _Thread_local int parked;          /* a callback in Python left an exception to be raised */
static _Thread_local PyObject *raised[3]; /* by a signal handler, while waiting for room */

static int32_t put(ss_sequencer *sequencer, ss_outgoing *what) {
    if (what->draft != NULL)
        return what->routed ? ss_sequencer_route(sequencer, what->draft)
                            : ss_sequencer_put_draft(sequencer, what->draft);
    if (what->own == NULL || ss_sequencer_inside_callback(sequencer))
        return ss_sequencer_put_frames(sequencer, what->frames, what->len, &what->sent);
    ss_sequencer_put_own(sequencer, what->own, what->len, what->stamped);
    return SLIPSTREAM_OK;
}

/* Asked while a full ring is waited for. The sequencer is held, but nobody waits for that
 * with the interpreter lock, so it can be had. */
static bool interrupted(void) {
    const PyGILState_STATE state = PyGILState_Ensure();
    const bool found = PyErr_CheckSignals() != 0;
    if (found)
        PyErr_Fetch(&raised[0], &raised[1], &raised[2]); /* raised when the call is over */
    PyGILState_Release(state);
    return found;
}

static int32_t leave(ss_sequencer *sequencer, ss_outgoing *what, int32_t status) {
    what->too_large = ss_sequencer_leave(sequencer) == SLIPSTREAM_TOO_LARGE;
    return status == SLIPSTREAM_OK && what->too_large ? SLIPSTREAM_TOO_LARGE : status;
}

static int32_t put_and_leave(ss_sequencer *sequencer, ss_outgoing *what) {
    int32_t status =
        ss_sequencer_is_open(sequencer) ? put(sequencer, what) : SLIPSTREAM_WRONG_STATE;
    if (!ss_sequencer_has_more(sequencer))
        return leave(sequencer, what, status);
    Py_BEGIN_ALLOW_THREADS ss_sequencer_may_wait(sequencer, interrupted);
    status = leave(sequencer, what, status);
    Py_END_ALLOW_THREADS
    return status;
}

bool ss_door_send(ss_sequencer *sequencer, ss_outgoing *what, uint64_t kinds, int32_t *status) {
    const bool keep_lock =
        (ss_sequencer_slow_kinds(sequencer) & kinds) == 0 && what->len < LARGE_RUN;
    const bool inside = ss_sequencer_inside(sequencer);
    if (inside) {
        *status = ss_sequencer_is_open(sequencer) ? put(sequencer, what) : SLIPSTREAM_WRONG_STATE;
    } else if (keep_lock && ss_sequencer_try_enter(sequencer)) {
        *status = put_and_leave(sequencer, what);
    } else {
        do {
            Py_BEGIN_ALLOW_THREADS *status = ss_sequencer_enter(sequencer, WAIT_SLICE_MS);
            if (*status == SLIPSTREAM_OK) {
                ss_sequencer_may_wait(sequencer, interrupted);
                *status = leave(sequencer, what, put(sequencer, what));
            }
            Py_END_ALLOW_THREADS
            if (*status == SLIPSTREAM_TIMEOUT && PyErr_CheckSignals() != 0)
                return false;
        } while (*status == SLIPSTREAM_TIMEOUT);
    }
    if (raised[0] != NULL) {
        PyErr_Restore(raised[0], raised[1], raised[2]);
        memset(raised, 0, sizeof raised);
        return false;
    }
    if (parked && !inside) { /* the outer call is going to raise it */
        parked = 0;
        PyObject *none = PyObject_CallFunction(ss_door_fail_function, "isKK", SLIPSTREAM_PANIC,
                                               "parked", 0ULL, 0ULL);
        if (none == NULL)
            return false;
        Py_DECREF(none); /* another call of the core has raised it */
    }
    return true;
}

PyObject *ss_door_tell(const ss_outgoing *what, int32_t status, const char *name) {
    if (status == SLIPSTREAM_OK)
        Py_RETURN_NONE;
    return ss_door_fail(status, what->too_large ? "ring" : name, &what->sent);
}

PyObject *ss_door_park(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    parked = 1;
    Py_RETURN_NONE;
}
