/* What the figures are compared with: an empty fast-call function, and a bare C loop that
 * calls a plugin through its table for every frame of a run. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <slipstream.h>
#include <string.h>
#include <time.h>

static PyObject *empty(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    (void)args;
    (void)count;
    Py_RETURN_NONE;
}

/* loop(library, frames, rounds): nanoseconds an event, of the best round's median. */
static PyObject *loop(PyObject *module, PyObject *args) {
    const char *path;
    Py_buffer frames;
    const slipstream_plugin *(*create)(const slipstream_host *);
    slipstream_delivery delivery = {sizeof delivery, 1, 1, 0, 0};
    struct timespec start;
    struct timespec end;
    size_t count = 0;
    int64_t failed = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "sy*", &path, &frames))
        return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = library == NULL ? NULL : dlsym(library, SLIPSTREAM_CONSTRUCTOR);
    if (symbol == NULL)
        return PyErr_Format(PyExc_RuntimeError, "cannot open %s", path);
    memcpy(&create, &symbol, sizeof create);
    const slipstream_plugin *table = create(NULL);
    const uint8_t *data = frames.buf;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t at = 0, len; at < (size_t)frames.len; at += len) {
        len = slipstream_load_u32(data + at);
        delivery.first_ordinal++;
        failed += table->on_broadcast(table->instance, &delivery, data + at, len);
        count++;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    PyBuffer_Release(&frames);
    const double ns = (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
    return Py_BuildValue("dL", ns / (double)count, (long long)failed);
}

static PyMethodDef methods[] = {
    {"empty", (PyCFunction)(void (*)(void))empty, METH_FASTCALL, NULL},
    {"loop", loop, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "floor", NULL, -1, methods,
                                        NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_floor(void) {
    return PyModule_Create(&definition);
}
