/* frames: frames to and from plain Python values; not for the hot path. */
#include "python/inner.h"

PyObject *ss_door_encode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    ss_draft draft = {.kind = 0};
    Py_buffer views[SS_MAX_SPANS];
    ss_door_no_views(views);
    PyObject *frame = NULL;
    uint64_t fields[4];
    (void)module;
    if (count != 9)
        return ss_door_fail_count("encode_frame", "nine arguments", count);
    for (int i = 0; i < 4; i++)
        if (!ss_door_u64(args[i], &fields[i]))
            return NULL;
    const int64_t time_ns = PyLong_AsLongLong(args[4]);
    if ((time_ns == -1 && PyErr_Occurred()) || !ss_door_height(args[5], &draft.height))
        return NULL;
    const unsigned long reasons = PyLong_AsUnsignedLong(args[6]);
    if (reasons == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    if (fields[0] > 63 || !ss_frame_shape((uint32_t)fields[0]).known)
        return ss_door_fail(SLIPSTREAM_INVALID_ARGUMENT, "kind", NULL);
    if (fields[1] > UINT32_MAX || reasons > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "flags and reasons are numbers of 32 bits");
        return NULL;
    }
    draft.kind = (uint32_t)fields[0];
    draft.flags = (uint32_t)fields[1];
    draft.stream = fields[2];
    draft.sequence = fields[3];
    draft.time_ns = time_ns;
    draft.reasons = (uint32_t)reasons;
    const ss_shape shape = ss_frame_shape(draft.kind);
    const Py_ssize_t spans = draft.kind >= SLIPSTREAM_KIND_APP_FIRST ? 1 : shape.spans;
    if (PyTuple_Size(args[7]) != spans || PyTuple_Size(args[8]) != shape.numbers) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "encode_frame() got a wrong number of values");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < spans; i++) {
        PyObject *span = PyTuple_GetItem(args[7], i);
        if (span == Py_None && (shape.optional >> i & 1) != 0)
            continue;
        if (!ss_door_bytes(span, &draft.spans[i], &views[i]))
            goto done;
    }
    for (Py_ssize_t i = 0; i < shape.numbers; i++)
        if (!ss_door_u64(PyTuple_GetItem(args[8], i), &draft.numbers[i]))
            goto done;
    const size_t size = ss_frame_size(&draft);
    if (size == 0) {
        ss_door_fail(SLIPSTREAM_TOO_LARGE, "event", NULL);
        goto done;
    }
    frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (frame != NULL)
        ss_frame_write((uint8_t *)PyBytes_AsString(frame), size, &draft);
done:
    ss_door_release(views);
    return frame;
}

static PyObject *bytes_or_none(const slipstream_bytes *span) {
    if (span->data == NULL)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)span->data, (Py_ssize_t)span->len);
}

PyObject *ss_door_decode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    Py_buffer view;
    slipstream_frame frame;
    PyObject *spans = NULL;
    PyObject *numbers = NULL;
    PyObject *result = NULL;
    ss_sent sent = {0};
    (void)module;
    if (count != 2)
        return ss_door_fail_count("decode_frame", "buffer, offset", count);
    if (!ss_door_u64(args[1], &sent.offset) || PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) != 0)
        return NULL;
    int32_t status = SLIPSTREAM_MALFORMED;
    if (sent.offset <= (uint64_t)view.len)
        status = ss_frame_check((const uint8_t *)view.buf + sent.offset,
                                (size_t)view.len - sent.offset, &frame);
    if (status != SLIPSTREAM_OK) {
        ss_door_fail(status, "frame", &sent);
        goto done;
    }
    const ss_shape shape = ss_frame_shape(frame.kind);
    const bool application = frame.kind >= SLIPSTREAM_KIND_APP_FIRST;
    const uint8_t *payload = frame.payload.data;
    const uint32_t fixed = slipstream_load_u32(payload);
    spans = PyTuple_New(application ? 1 : shape.spans);
    numbers = PyTuple_New(shape.numbers);
    if (spans == NULL || numbers == NULL)
        goto done;
    for (unsigned i = 0; i < shape.spans + (application ? 1u : 0u); i++) {
        slipstream_bytes span = {NULL, 0};
        if (application)
            slipstream_read_app(&frame, &span);
        else
            slipstream_read_span(&frame, fixed, 8 + 8 * i, 0, &span);
        PyObject *value = bytes_or_none(&span);
        if (value == NULL || PyTuple_SetItem(spans, i, value) != 0)
            goto done;
    }
    for (unsigned i = 0; i < shape.numbers; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(
            slipstream_load_u64(payload + 8 + 8 * ((size_t)shape.spans + i)));
        if (value == NULL || PyTuple_SetItem(numbers, i, value) != 0)
            goto done;
    }
    PyObject *height = frame.height == SLIPSTREAM_HEIGHT_NONE
                           ? Py_NewRef(Py_None)
                           : PyLong_FromUnsignedLongLong(frame.height);
    result = Py_BuildValue("nIIKKLNIOO", (Py_ssize_t)frame.whole.len, (unsigned)frame.kind,
                           (unsigned)frame.flags, (unsigned long long)frame.stream,
                           (unsigned long long)frame.sequence, (long long)frame.time_ns, height,
                           (unsigned)slipstream_load_u32(payload + 4), spans, numbers);
done:
    Py_XDECREF(spans);
    Py_XDECREF(numbers);
    PyBuffer_Release(&view);
    return result;
}
