/* arguments: Python objects as arguments of the core, and its statuses as exceptions. */
#include "python/inner.h"

PyObject *ss_door_fail_function;
PyObject *ss_door_encode_function;

void ss_door_use(PyObject *fail, PyObject *encode) {
    ss_door_fail_function = Py_NewRef(fail);
    ss_door_encode_function = Py_NewRef(encode);
}

PyObject *ss_door_fail(int32_t status, const char *what, const ss_sent *sent) {
    PyObject *none = PyObject_CallFunction(ss_door_fail_function, "isKK", (int)status, what,
                                           sent == NULL ? 0ULL : (unsigned long long)sent->offset,
                                           sent == NULL ? 0ULL : (unsigned long long)sent->index);
    if (none != NULL) { /* it should have raised */
        Py_DECREF(none);
        PyErr_Format(PyExc_SystemError, "status %d was not raised", (int)status);
    }
    return NULL;
}

PyObject *ss_door_fail_count(const char *function, const char *expected, Py_ssize_t count) {
    PyErr_Format(PyExc_TypeError, "%s() takes %s, got %zd arguments", function, expected, count);
    return NULL;
}

bool ss_door_bytes(PyObject *object, slipstream_bytes *out, Py_buffer *view) {
    char *data;
    Py_ssize_t len;
    if (PyBytes_CheckExact(object)) {
        if (PyBytes_AsStringAndSize(object, &data, &len) != 0)
            return false;
        out->data = (const uint8_t *)data;
        out->len = (size_t)len;
        return true;
    }
    if (PyObject_GetBuffer(object, view, PyBUF_SIMPLE) != 0)
        return false;
    /* An empty buffer may have no address, but NULL would mean an absent value. */
    out->data = view->buf == NULL ? (const uint8_t *)"" : view->buf;
    out->len = (size_t)view->len;
    return true;
}

bool ss_door_height(PyObject *object, uint64_t *out) {
    if (object == Py_None) {
        *out = SLIPSTREAM_HEIGHT_NONE;
        return true;
    }
    *out = PyLong_AsUnsignedLongLong(object);
    if (*out != SLIPSTREAM_HEIGHT_NONE)
        return true;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_OverflowError, "a height of 2^64 - 1 means that there is none");
    return false;
}

bool ss_door_u64(PyObject *object, uint64_t *out) {
    *out = PyLong_AsUnsignedLongLong(object);
    return !(*out == (uint64_t)-1 && PyErr_Occurred());
}
