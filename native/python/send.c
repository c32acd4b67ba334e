/* send: an event into the sequencer, with or without the interpreter lock.
 *
 * Two rules: never wait for the sequencer while holding the interpreter lock, and never
 * touch a Python object without it. */
#include "python/send.h"

#include "python/arguments.h"

#define LARGE_RUN (16 * 1024) /* bytes: from here on the lock is released anyway */
#define WAIT_SLICE_MS 100     /* between two looks for signals */

/* What a callback in Python has raised, or a signal handler while room was waited for: it
 * waits for the call that caused it to be over. The first wins. */
static _Thread_local PyObject *parked;
/* How many threads have one: mostly none, and a thread's own is looked up by a call. Under the
 * interpreter lock. */
static uint32_t parked_count;

static inline bool raise_parked(void) {
    PyObject *error = parked_count == 0 ? NULL : parked;
    if (error == NULL)
        return false;
    parked = NULL;
    parked_count--;
    ss_door_raise(error);
    return true;
}

static void keep(PyObject *error) {
    if (parked != NULL)
        return;
    parked = Py_NewRef(error);
    parked_count++;
}

PyObject *ss_door_park(PyObject *module, PyObject *error) {
    (void)module;
    keep(error);
    Py_RETURN_NONE;
}

PyObject *ss_door_raise_parked(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    if (raise_parked())
        return NULL;
    Py_RETURN_NONE;
}

static inline int32_t put(ss_sequencer *sequencer, ss_outgoing *what) {
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
    if (found) {
        PyObject *type;
        PyObject *error;
        PyObject *trace;
        PyErr_Fetch(&type, &error, &trace);
        PyErr_NormalizeException(&type, &error, &trace);
        if (trace != NULL)
            PyException_SetTraceback(error, trace);
        keep(error);
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(trace);
    }
    PyGILState_Release(state);
    return found;
}

static int32_t leave(ss_sequencer *sequencer, ss_outgoing *what, int32_t status) {
    const int32_t left = ss_sequencer_leave(sequencer);
    what->too_large = left == SLIPSTREAM_TOO_LARGE;
    return status == SLIPSTREAM_OK ? left : status;
}

/* What is left to do may wait for a plugin. */
static __attribute__((noinline)) int32_t leave_slowly(ss_sequencer *sequencer, ss_outgoing *what,
                                                      int32_t status) {
    Py_BEGIN_ALLOW_THREADS ss_sequencer_may_wait(sequencer, interrupted);
    status = leave(sequencer, what, status);
    Py_END_ALLOW_THREADS
    return status;
}

static inline int32_t put_and_leave(ss_sequencer *sequencer, ss_outgoing *what) {
    const int32_t status =
        ss_sequencer_is_open(sequencer) ? put(sequencer, what) : SLIPSTREAM_WRONG_STATE;
    return __builtin_expect(ss_sequencer_has_more(sequencer), 0)
               ? leave_slowly(sequencer, what, status)
               : leave(sequencer, what, status);
}

/* Everything but what nearly all calls are: from inside of a callback, or with a wait. */
static __attribute__((noinline)) bool send_slowly(ss_sequencer *sequencer, ss_outgoing *what,
                                                  int32_t *status) {
    if (ss_sequencer_inside(sequencer)) { /* the outer call is going to raise what was parked */
        *status = ss_sequencer_is_open(sequencer) ? put(sequencer, what) : SLIPSTREAM_WRONG_STATE;
        return true;
    }
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
    return !raise_parked();
}

bool ss_door_send(ss_sequencer *sequencer, ss_outgoing *what, uint64_t kinds, int32_t *status) {
    const bool keep_lock =
        (ss_sequencer_slow_kinds(sequencer) & kinds) == 0 && what->len < LARGE_RUN;
    if (__builtin_expect(!keep_lock || ss_sequencer_inside(sequencer) ||
                             !ss_sequencer_try_enter(sequencer), 0))
        return send_slowly(sequencer, what, status);
    *status = put_and_leave(sequencer, what);
    return !raise_parked();
}

PyObject *ss_door_tell_failure(const ss_outgoing *what, int32_t status, const char *name) {
    return ss_door_fail(status, what->too_large ? "ring" : name, what->sent.offset,
                        what->sent.index);
}
