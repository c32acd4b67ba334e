/* serve: what a plugin asks, answered by a method of Python's.
 *
 * The plugin waits meanwhile, and mostly nothing of all this has run for a while. So few lines of
 * Python beside the method's own stand between what it asks and its answer; and the interpreter lock
 * is not let go of in between, for who lets go of it may have to wait for it. */
#include "python/serve.h"

#include "peers/desk.h"
#include "python/arguments.h"
#include "python/door_doc.h"

/* The places in a row of `methods`, and in `args`; see services.py and _core.pyi. */
enum { CALL, LEAST, MOST, NONE };
enum { DESK, ASKED, METHODS, BEGIN, COUNT };

/* Borrowed. */
static PyObject *find(PyObject *methods, const ss_asked *asked) {
    PyObject *key =
        PyLong_FromUnsignedLongLong((unsigned long long)asked->what << 32 | asked->number);
    PyObject *row = key == NULL ? NULL : PyDict_GetItemWithError(methods, key);
    if (row == NULL && key != NULL && !PyErr_Occurred())
        PyErr_SetObject(PyExc_SystemError, key);
    Py_XDECREF(key);
    return row;
}

static PyObject *bytes_of(const uint8_t *data, size_t len) {
    return PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)len);
}

static PyObject *call(PyObject *method, const ss_asked *asked) {
    PyObject *values[3] = {NULL};
    int count = 1;
    if (asked->what == SS_ASKS_PUBLIC_KEY)
        count = 0;
    else if (asked->what == SS_ASKS_PEER_AT)
        values[0] = PyLong_FromUnsignedLong(asked->index);
    else
        values[0] = bytes_of(asked->first, asked->first_len);
    if (asked->what == SS_ASKS_SEND) {
        values[1] = bytes_of(asked->name, asked->name_len);
        values[2] = bytes_of(asked->body, asked->body_len);
        count = 3;
    }
    PyObject *result = NULL;
    bool made = true;
    for (int i = 0; i < count; i++)
        made = made && values[i] != NULL;
    if (made)
        result = PyObject_CallFunctionObjArgs(method, values[0], values[1], values[2], NULL);
    for (int i = 0; i < count; i++)
        Py_XDECREF(values[i]);
    return result;
}

/* Gives the answer, if there is nothing to be said of it; -1 with an exception. */
static int answer(ss_desk *desk, ss_asked *asked, PyObject *row, PyObject *result) {
    slipstream_bytes bytes = {NULL, 0};
    long status = SLIPSTREAM_OK;
    if (result == Py_None)
        status = PyLong_AsLong(PyTuple_GetItem(row, NONE));
    else if (ss_door_at_once(result, &bytes)) {
        const size_t least = PyLong_AsSize_t(PyTuple_GetItem(row, LEAST));
        const size_t most = PyLong_AsSize_t(PyTuple_GetItem(row, MOST));
        status = bytes.len >= least && bytes.len <= most ? SLIPSTREAM_OK : SLIPSTREAM_FAILED;
    } else
        status = SLIPSTREAM_FAILED;
    if (PyErr_Occurred())
        return -1;
    if (status != SLIPSTREAM_FAILED)
        ss_desk_answer(desk, asked, (int32_t)status, bytes.data, bytes.len);
    return 0;
}

PyObject *ss_door_serve(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != COUNT)
        return ss_door_fail_count("serve", SS_ARGUMENTS_serve, count);
    ss_desk *desk = PyLong_AsVoidPtr(args[DESK]);
    ss_asked *asked = PyLong_AsVoidPtr(args[ASKED]);
    PyObject *row = desk == NULL || asked == NULL ? NULL : find(args[METHODS], asked);
    PyObject *begun = NULL;
    if (row == NULL || (asked->is_last && (begun = PyObject_CallNoArgs(args[BEGIN])) == NULL))
        return NULL;
    Py_XDECREF(begun);
    const uint32_t process = ss_os_process();
    PyObject *result = call(PyTuple_GetItem(row, CALL), asked);
    ss_os_end_if_forked(process);
    if (result != NULL && answer(desk, asked, row, result) != 0) {
        Py_DECREF(result);
        return NULL;
    }
    return result;
}
