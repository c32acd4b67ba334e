/* frames: frames to and from plain Python values; not for the hot path. */
#ifndef SS_FRAMES_H
#define SS_FRAMES_H

#include <Python.h>

/* Functions of the module: encode_frame, decode_frame and repeated_key. */
PyObject *ss_door_encode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *ss_door_decode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *ss_door_repeated_key(PyObject *module, PyObject *line);

PyObject *ss_door_set_encoder(PyObject *module, PyObject *const *args, Py_ssize_t count);

/* An event as the bytes of one frame: as it is, or made by Python. A new reference; None if its
 * kind is none of the wanted `kinds`, and nothing is wrong with it. */
PyObject *ss_door_frame_of(PyObject *event, uint64_t kinds);

#endif
