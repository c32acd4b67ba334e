/* serve: what a plugin asks, answered by a method of Python's. */
#ifndef SS_SERVE_H
#define SS_SERVE_H

#include <Python.h>

/* serve(desk, asked, methods, begin): a function of the module. */
PyObject *ss_door_serve(PyObject *module, PyObject *const *args, Py_ssize_t count);

#endif
