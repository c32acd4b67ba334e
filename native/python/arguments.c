#include "python/arguments.h"

PyObject *ss_door_status_error;
size_t ss_door_bytes_at;

void ss_door_measure_bytes(void) {
    size_t found[2] = {0};
    for (Py_ssize_t i = 0; i < 2; i++) {
        PyObject *bytes = PyBytes_FromStringAndSize("bytes", 2 + 3 * i);
        const char *data = bytes == NULL ? NULL : PyBytes_AsString(bytes);
        if (data != NULL && Py_SIZE(bytes) == 2 + 3 * i)
            found[i] = (size_t)(data - (const char *)bytes);
        Py_XDECREF(bytes);
    }
    ss_door_bytes_at = found[0] == found[1] ? found[0] : 0;
}

void ss_door_raise(PyObject *error) {
    if (PyExceptionInstance_Check(error))
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    else
        PyErr_SetString(PyExc_SystemError, "this is not an exception");
    Py_DECREF(error);
}

PyObject *ss_door_fail(int32_t status, const char *what, uint64_t offset, uint64_t index) {
    PyObject *error = PyObject_CallFunction(ss_door_status_error, "isKK", (int)status, what,
                                            (unsigned long long)offset, (unsigned long long)index);
    if (error != NULL)
        ss_door_raise(error);
    return NULL;
}

PyObject *ss_door_fail_count(const char *function, const char *arguments, Py_ssize_t count) {
    PyErr_Format(PyExc_TypeError, "%s() takes %s, got %zd arguments", function, arguments, count);
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

bool ss_door_u32(PyObject *object, uint32_t *out) {
    const unsigned long value = PyLong_AsUnsignedLong(object);
    if (value == (unsigned long)-1 && PyErr_Occurred())
        return false;
    *out = (uint32_t)value;
    if (value <= UINT32_MAX)
        return true;
    PyErr_SetString(PyExc_OverflowError, "this is a number of 32 bits");
    return false;
}

bool ss_door_u64(PyObject *object, uint64_t *out) {
    *out = PyLong_AsUnsignedLongLong(object);
    return !(*out == (uint64_t)-1 && PyErr_Occurred());
}
