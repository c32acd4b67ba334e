#include "python/frames.h"

#include "base/json.h"
#include "python/arguments.h"
#include "python/door_doc.h"

/* What stands in a frame's payload, as the extension's functions see it: an application's own
 * kind is one span. */
typedef struct parts {
    ss_shape shape;
    bool application;
    unsigned spans;
} parts;

static parts parts_of(uint32_t kind) {
    const ss_shape shape = ss_frame_shape(kind);
    const bool application = kind >= SLIPSTREAM_KIND_APP_FIRST;
    return (parts){shape, application, application ? 1u : shape.spans};
}

/* Everything of a draft but spans and numbers, from the first seven arguments. */
static bool take_head(PyObject *const *args, ss_draft *draft) {
    uint64_t fields[4];
    for (int i = 0; i < 4; i++)
        if (!ss_door_u64(args[i], &fields[i]))
            return false;
    draft->time_ns = PyLong_AsLongLong(args[4]);
    if ((draft->time_ns == -1 && PyErr_Occurred()) || !ss_door_height(args[5], &draft->height))
        return false;
    if (!ss_door_u32(args[6], &draft->word))
        return false;
    if (fields[0] > 63 || !ss_frame_shape((uint32_t)fields[0]).known) {
        ss_door_fail(SLIPSTREAM_INVALID_ARGUMENT, "event", 0, 0);
        return false;
    }
    if (fields[1] > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "flags are a number of 32 bits");
        return false;
    }
    draft->kind = (uint32_t)fields[0];
    draft->flags = (uint32_t)fields[1];
    draft->stream = fields[2];
    draft->sequence = fields[3];
    return true;
}

/* Spans and numbers of a draft, from two tuples. */
static bool take_payload(PyObject *spans, PyObject *numbers, ss_draft *draft, Py_buffer *views) {
    const parts parts = parts_of(draft->kind);
    if (PyTuple_Size(spans) != parts.spans || PyTuple_Size(numbers) != parts.shape.numbers) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "encode_frame() got a wrong number of values");
        return false;
    }
    for (unsigned i = 0; i < parts.spans; i++)
        if (!ss_door_span(PyTuple_GetItem(spans, i), parts.shape.optional >> i & 1,
                          &draft->spans[i], &views[i]))
            return false;
    for (unsigned i = 0; i < parts.shape.numbers; i++)
        if (!ss_door_u64(PyTuple_GetItem(numbers, i), &draft->numbers[i]))
            return false;
    return true;
}

PyObject *ss_door_encode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    ss_draft draft = {.kind = 0};
    Py_buffer views[SS_MAX_SPANS];
    PyObject *frame = NULL;
    (void)module;
    if (count != 9)
        return ss_door_fail_count("encode_frame", SS_ARGUMENTS_encode_frame, count);
    ss_door_no_views(views);
    if (take_head(args, &draft) && take_payload(args[7], args[8], &draft, views)) {
        const size_t size = ss_frame_size(&draft);
        if (size == 0)
            ss_door_fail(SLIPSTREAM_TOO_LARGE, "event", 0, 0);
        else
            frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (frame != NULL)
            ss_frame_write((uint8_t *)PyBytes_AsString(frame), size, &draft);
    }
    ss_door_release(views);
    return frame;
}

static PyObject *bytes_or_none(const slipstream_bytes *span) {
    if (span->data == NULL)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)span->data, (Py_ssize_t)span->len);
}

static PyObject *spans_of(const slipstream_frame *frame) {
    const parts parts = parts_of(frame->kind);
    PyObject *spans = PyTuple_New(parts.spans);
    for (unsigned i = 0; spans != NULL && i < parts.spans; i++) {
        slipstream_bytes span = {NULL, 0};
        if (parts.application)
            slipstream_read_app(frame, &span);
        else
            slipstream_read_span(frame, slipstream_load_u32(frame->payload.data), 8 + 8 * i, 0,
                                 &span);
        PyObject *value = bytes_or_none(&span);
        if (value == NULL || PyTuple_SetItem(spans, i, value) != 0)
            Py_CLEAR(spans);
    }
    return spans;
}

static PyObject *numbers_of(const slipstream_frame *frame) {
    const ss_shape shape = ss_frame_shape(frame->kind);
    const uint8_t *first = frame->payload.data + 8 + 8 * (size_t)shape.spans;
    PyObject *numbers = PyTuple_New(shape.numbers);
    for (unsigned i = 0; numbers != NULL && i < shape.numbers; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(slipstream_load_u64(first + 8 * (size_t)i));
        if (value == NULL || PyTuple_SetItem(numbers, i, value) != 0)
            Py_CLEAR(numbers);
    }
    return numbers;
}

static PyObject *height_of(const slipstream_frame *frame) {
    if (frame->height == SLIPSTREAM_HEIGHT_NONE)
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(frame->height);
}

PyObject *ss_door_decode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    Py_buffer view;
    uint64_t offset;
    slipstream_frame frame;
    (void)module;
    if (count != 2)
        return ss_door_fail_count("decode_frame", SS_ARGUMENTS_decode_frame, count);
    if (!ss_door_u64(args[1], &offset) || PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) != 0)
        return NULL;
    int32_t status = SLIPSTREAM_MALFORMED;
    if (offset <= (uint64_t)view.len)
        status =
            ss_frame_check((const uint8_t *)view.buf + offset, (size_t)view.len - offset, &frame);
    PyObject *result = NULL;
    if (status == SLIPSTREAM_OK) /* "N" takes over what was made, and fails for NULL */
        result =
            Py_BuildValue("nIIKKLNINN", (Py_ssize_t)frame.whole.len, (unsigned)frame.kind,
                          (unsigned)frame.flags, (unsigned long long)frame.stream,
                          (unsigned long long)frame.sequence, (long long)frame.time_ns,
                          height_of(&frame), (unsigned)slipstream_load_u32(frame.payload.data + 4),
                          spans_of(&frame), numbers_of(&frame));
    else
        ss_door_fail(status, "frame", offset, 0);
    PyBuffer_Release(&view);
    return result;
}

PyObject *ss_door_repeated_key(PyObject *module, PyObject *line) {
    const char *key;
    size_t len;
    char *text;
    Py_ssize_t text_len;
    (void)module;
    if (PyBytes_AsStringAndSize(line, &text, &text_len) != 0)
        return NULL;
    if (!ss_json_repeats(text, (size_t)text_len, &key, &len))
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize(key, (Py_ssize_t)len);
}

/* ---- Events of Python -------------------------------------------------------------------- */

/* Makes frames, and of each class of events its kind and its attributes that are bytes. */
static PyObject *encoder;
static PyObject *fields;

PyObject *ss_door_set_encoder(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    PyObject *const before[] = {encoder, fields};
    (void)module;
    if (count != 2)
        return ss_door_fail_count("set_encoder", SS_ARGUMENTS_set_encoder, count);
    encoder = Py_NewRef(args[0]);
    fields = Py_NewRef(args[1]);
    Py_XDECREF(before[0]);
    Py_XDECREF(before[1]);
    Py_RETURN_NONE;
}

static bool has_only_bytes(PyObject *event, PyObject *of) {
    bool plain = true;
    for (Py_ssize_t i = 1; plain && i < PyTuple_Size(of); i++) {
        PyObject *value = PyObject_GetAttr(event, PyTuple_GetItem(of, i));
        plain = value != NULL && (PyBytes_CheckExact(value) || value == Py_None);
        Py_XDECREF(value);
    }
    if (!plain)
        PyErr_Clear();
    return plain;
}

PyObject *ss_door_frame_of(PyObject *event, uint64_t kinds) {
    if (PyBytes_CheckExact(event))
        return Py_NewRef(event);
    if (encoder == NULL)
        return PyErr_Format(PyExc_TypeError, "only bytes can be sent: set_encoder was not called");
    /* Borrowed: the table is made once, and nobody changes it. */
    PyObject *of = PyDict_GetItem(fields, (PyObject *)Py_TYPE(event));
    if (of != NULL && (kinds >> PyLong_AsLong(PyTuple_GetItem(of, 0)) & 1) == 0) {
        if (has_only_bytes(event, of))
            Py_RETURN_NONE;
        kinds = UINT64_MAX; /* what is wrong with it is told, wanted or not */
    }
    return PyObject_CallFunction(encoder, "OK", event, (unsigned long long)kinds);
}
