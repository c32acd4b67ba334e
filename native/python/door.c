/* door: the few fast-call functions through which Python sends events. They live in the
 * same extension as the cffi bindings, but unlike those they keep the interpreter lock
 * while every plugin that gets the event is prompt; beside a busy Python thread a stream
 * of calls that drop the lock falls to some thousands a second. */
#include "python/door.h"

#include <string.h>

#include "python/door_doc.h"
#include "python/arguments.h"
#include "python/frames.h"
#include "python/send.h"
#include "python/serve.h"

typedef struct door {
    PyObject_HEAD ss_sequencer *sequencer;
} door;

static bool is_wanted(const door *self, uint32_t kind) {
    return (ss_sequencer_kinds(self->sequencer) >> kind & 1) != 0;
}

/* Nobody wants the kind: nothing is done, except to say that the manager is closed. */
static PyObject *unwanted(const door *self) {
    if (!ss_sequencer_is_open(self->sequencer))
        return ss_door_fail(SLIPSTREAM_WRONG_STATE, "event", 0, 0);
    Py_RETURN_NONE;
}

/* ---- Events from their values ---------------------------------------------------------- */

/* The arguments of a kind in the order of its frame: spans, numbers; then the height, and
 * the encoding if it is given. */
static inline bool take_values(PyObject *const *args, bool has_word, ss_shape shape,
                               ss_draft *draft, Py_buffer *views) {
    for (unsigned i = 0; i < shape.spans; i++)
        if (!ss_door_span(*args++, shape.optional >> i & 1, &draft->spans[i], &views[i]))
            return false;
    for (unsigned i = 0; i < shape.numbers; i++)
        if (!ss_door_u64(*args++, &draft->numbers[i]))
            return false;
    return ss_door_height(*args++, &draft->height) &&
           (!has_word || ss_door_u32(*args, &draft->word));
}

/* Is nothing of it other than what nearly everybody gives? It is asked of an event that nobody
 * wants, a pointer for each value. */
static inline bool are_plain(PyObject *const *args, ss_shape shape) {
    bool plain = true;
    for (unsigned i = 0; i < shape.spans; i++, args++)
        plain &= PyBytes_CheckExact(*args) || (shape.optional >> i & 1 && *args == Py_None);
    for (unsigned i = 0; i < shape.numbers; i++, args++)
        plain &= PyLong_CheckExact(*args);
    return plain && (PyLong_CheckExact(*args) || *args == Py_None);
}

/* What is wrong with an event is also told while nobody wants it: texts for bytes, mostly. */
static __attribute__((noinline)) bool are_usable(PyObject *const *args, bool has_word,
                                                 uint32_t kind) {
    ss_draft draft;
    Py_buffer views[SS_MAX_SPANS];
    ss_door_no_views(views);
    const bool usable = take_values(args, has_word, ss_frame_shape(kind), &draft, views);
    ss_door_release(views);
    return usable;
}

/* Sends one event. It is compiled into each of its callers, where all of `kind` is known. */
static inline __attribute__((always_inline)) PyObject *
send_values(const door *self, PyObject *const *args, Py_ssize_t count, uint32_t kind, bool routed,
            const char *name, const char *arguments) {
    const ss_shape shape = ss_frame_shape(kind);
    const Py_ssize_t needed = shape.spans + shape.numbers + 1;
    if (count != needed && count != needed + 1)
        return ss_door_fail_count(name, arguments, count);
    if (!routed && !is_wanted(self, kind))
        return are_plain(args, shape) || are_usable(args, count != needed, kind) ? unwanted(self)
                                                                                : NULL;
    Py_buffer views[SS_MAX_SPANS];
    ss_door_no_views(views);
    ss_draft draft;
    ss_draft_start(&draft, kind);
    ss_outgoing what = {.draft = &draft, .routed = routed};
    int32_t status = SLIPSTREAM_OK;
    bool sent = take_values(args, count != needed, shape, &draft, views);
    if (sent) {
        for (unsigned i = 0; i < shape.spans; i++)
            what.len += draft.spans[i].len;
        sent = ss_door_send(self->sequencer, &what, SLIPSTREAM_KIND_BIT(kind), &status);
    }
    ss_door_release(views);
    if (!sent)
        return NULL;
    if (routed && (status == SLIPSTREAM_OK || status == SLIPSTREAM_NOT_FOUND))
        return PyBool_FromLong(status == SLIPSTREAM_OK);
    return ss_door_tell(&what, status, "event");
}

#define SENDS(name, kind, routed)                                                                  \
    static PyObject *door_##name(PyObject *self, PyObject *const *args, Py_ssize_t count) {        \
        return send_values((const door *)self, args, count, kind, routed, #name,                   \
                           SS_ARGUMENTS_##name);                                                   \
    }
SENDS(mapping_update, SLIPSTREAM_KIND_MAPPING_UPDATE, false)
SENDS(mapping_removal, SLIPSTREAM_KIND_MAPPING_REMOVAL, false)
SENDS(staking_reward, SLIPSTREAM_KIND_STAKING_REWARD, false)
SENDS(block, SLIPSTREAM_KIND_BLOCK, false)
SENDS(payload, SLIPSTREAM_KIND_PAYLOAD, false)
SENDS(route, SLIPSTREAM_KIND_PAYLOAD, true)

/* ---- Events and frames ----------------------------------------------------------------- */

/* Sends the caller's frames; how many they are as a Python int. */
static PyObject *send_frames(const door *self, const uint8_t *frames, size_t len) {
    ss_outgoing what = {.frames = frames, .len = len};
    int32_t status = SLIPSTREAM_OK;
    if (!ss_door_send(self->sequencer, &what, ~UINT64_C(0), &status))
        return NULL;
    if (status != SLIPSTREAM_OK)
        return ss_door_tell(&what, status, "frame");
    return PyLong_FromUnsignedLongLong(what.sent.index);
}

/* See ss_door_frame_of. */
static PyObject *as_frame(const door *self, PyObject *event) {
    return ss_door_frame_of(event, ss_sequencer_kinds(self->sequencer));
}

static bool is_one_frame(const uint8_t *frame, size_t len) {
    return len >= SLIPSTREAM_FRAME_HEADER_LEN && slipstream_load_u32(frame) == len;
}

static PyObject *fail_not_one_frame(uint64_t index) {
    return ss_door_fail(SLIPSTREAM_MALFORMED, "event", 0, index);
}

static inline PyObject *send_one(const door *self, const uint8_t *frame, size_t len) {
    ss_outgoing what = {.frames = frame, .len = len};
    int32_t status;
    if (!is_one_frame(frame, len))
        return fail_not_one_frame(0);
    const uint32_t kind = slipstream_load_u16(frame + 6);
    if (kind < 64 && !is_wanted(self, kind) && ss_frame_shape(kind).sent != 0)
        return unwanted(self);
    if (!ss_door_send(self->sequencer, &what, SLIPSTREAM_KIND_BIT(kind & 63), &status))
        return NULL;
    return ss_door_tell(&what, status, "frame");
}

/* A ready frame (bytes) or an event, to all subscribers. */
static PyObject *door_broadcast(PyObject *object, PyObject *event) {
    const door *self = (const door *)object;
    slipstream_bytes bytes;
    char *data;
    Py_ssize_t len;
    if (ss_door_at_once(event, &bytes))
        return send_one(self, bytes.data, bytes.len);
    PyObject *frame = as_frame(self, event);
    if (frame == NULL)
        return NULL;
    if (frame == Py_None) {
        Py_DECREF(frame);
        return unwanted(self);
    }
    PyObject *result = NULL;
    if (PyBytes_AsStringAndSize(frame, &data, &len) == 0)
        result = send_one(self, (const uint8_t *)data, (size_t)len);
    Py_DECREF(frame);
    return result;
}

/* The frame of an event in a list. Encoding runs Python, which may take it out of there. */
static PyObject *frame_at(const door *self, PyObject *list, Py_ssize_t i) {
    PyObject *event = PySequence_GetItem(list, i);
    PyObject *frame = event == NULL ? NULL : as_frame(self, event);
    Py_XDECREF(event);
    return frame;
}

/* The place in the list of gathered frame number `nth`: events that nobody wants were left
 * out. Only for messages. */
static uint64_t place_in_list(const door *self, PyObject *list, uint64_t nth) {
    Py_ssize_t i = 0;
    for (uint64_t seen = 0; i < PyList_Size(list); i++) {
        PyObject *frame = frame_at(self, list, i);
        const bool gathered = frame != NULL && frame != Py_None;
        Py_XDECREF(frame);
        PyErr_Clear();
        if (gathered && seen++ == nth)
            break;
    }
    return (uint64_t)i;
}

typedef struct frame_run {
    uint8_t *bytes;
    size_t used;
    size_t room;
} frame_run;

static bool append(frame_run *run, const char *frame, size_t len) {
    if (run->room - run->used < len) {
        size_t room = run->room == 0 ? 64 * 1024 : run->room;
        while (room - run->used < len)
            room *= 2;
        uint8_t *larger = PyMem_Realloc(run->bytes, room);
        if (larger == NULL) {
            PyErr_NoMemory();
            return false;
        }
        run->bytes = larger;
        run->room = room;
    }
    memcpy(run->bytes + run->used, frame, len);
    run->used += len;
    return true;
}

/* Gathers the frames of a list, so that the list may change while they are sent. */
static bool gather(const door *self, PyObject *list, Py_ssize_t count, frame_run *run) {
    bool good = true;
    for (Py_ssize_t i = 0; good && i < count; i++) {
        char *data;
        Py_ssize_t len;
        PyObject *frame = frame_at(self, list, i);
        if (frame == NULL)
            return false;
        if (frame != Py_None) {
            good = PyBytes_AsStringAndSize(frame, &data, &len) == 0;
            if (good && !is_one_frame((const uint8_t *)data, (size_t)len)) {
                fail_not_one_frame((uint64_t)i);
                good = false;
            }
            good = good && append(run, data, (size_t)len);
        }
        Py_DECREF(frame);
    }
    return good;
}

static PyObject *send_run(const door *self, PyObject *list, Py_ssize_t count, frame_run *run) {
    ss_outgoing what = {.own = run->bytes, .frames = run->bytes, .len = run->used};
    uint64_t kinds;
    int32_t status =
        ss_sequencer_check(run->bytes, run->used, run->used, &what.sent, &kinds, &what.stamped);
    if (status != SLIPSTREAM_OK)
        return ss_door_fail(status, "frame", 0, place_in_list(self, list, what.sent.index));
    const bool wanted = (ss_sequencer_kinds(self->sequencer) & kinds) != 0;
    if (wanted || !ss_sequencer_is_open(self->sequencer)) {
        if (!ss_door_send(self->sequencer, &what, kinds, &status))
            return NULL;
        if (status != SLIPSTREAM_OK)
            return ss_door_tell(&what, status, "event");
    }
    return PyLong_FromSsize_t(count);
}

static PyObject *send_list(const door *self, PyObject *list) {
    frame_run run = {0};
    const Py_ssize_t count = PyList_Size(list);
    PyObject *result = gather(self, list, count, &run) ? send_run(self, list, count, &run) : NULL;
    PyMem_Free(run.bytes);
    return result;
}

/* Frames and events of any iterable; the number of them. */
static PyObject *door_broadcast_many(PyObject *object, PyObject *events) {
    if (PyList_CheckExact(events))
        return send_list((const door *)object, events);
    PyObject *list = PySequence_List(events);
    if (list == NULL)
        return NULL;
    PyObject *result = send_list((const door *)object, list);
    Py_DECREF(list);
    return result;
}

/* A buffer of frames, one behind the other; the number of them. Bytes are sent as they are,
 * any other buffer is copied first. */
static PyObject *door_broadcast_frames(PyObject *object, PyObject *frames) {
    Py_buffer view;
    if (PyObject_GetBuffer(frames, &view, PyBUF_SIMPLE) != 0)
        return NULL;
    const uint8_t *run = view.buf;
    uint8_t *copy = NULL;
    if (!PyBytes_Check(frames) && view.len > 0) {
        /* It could be written to between the check and the plugin that reads it. */
        copy = PyMem_Malloc((size_t)view.len);
        if (copy == NULL) {
            PyBuffer_Release(&view);
            return PyErr_NoMemory();
        }
        memcpy(copy, run, (size_t)view.len);
        run = copy;
    }
    PyObject *result = send_frames((const door *)object, run, (size_t)view.len);
    PyMem_Free(copy);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *door_has_subscribers(PyObject *object, PyObject *kind) {
    const door *self = (const door *)object;
    int overflow; /* a number of any size is no kind, but none the less a number */
    const long number = PyLong_AsLongAndOverflow(kind, &overflow);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    if (!ss_sequencer_is_open(self->sequencer))
        return ss_door_fail(SLIPSTREAM_WRONG_STATE, "event", 0, 0);
    return PyBool_FromLong(number >= 0 && number < 64 && is_wanted(self, (uint32_t)number));
}

/* ---- The module ------------------------------------------------------------------------ */

#define FAST(name, function)                                                                       \
    { #name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL, SS_DOC_##name }
#define PLAIN(name, function, flags)                                                               \
    { #name, function, flags, SS_DOC_##name }

static PyMethodDef door_methods[] = {
    FAST(mapping_update, door_mapping_update),
    FAST(mapping_removal, door_mapping_removal),
    FAST(staking_reward, door_staking_reward),
    FAST(block, door_block),
    FAST(payload, door_payload),
    FAST(route, door_route),
    PLAIN(broadcast, door_broadcast, METH_O),
    PLAIN(broadcast_many, door_broadcast_many, METH_O),
    PLAIN(broadcast_frames, door_broadcast_frames, METH_O),
    PLAIN(has_subscribers, door_has_subscribers, METH_O),
    {NULL, NULL, 0, NULL},
};

/* Door(address of an ss_sequencer) keeps the core alive. */
static PyObject *door_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    unsigned long long address;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "K", &address))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    door *self = (door *)alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->sequencer = (ss_sequencer *)(uintptr_t)address;
    ss_sequencer_retain(self->sequencer);
    return (PyObject *)self;
}

static void door_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    ss_sequencer_release(((door *)object)->sequencer);
    release(object);
    Py_DECREF(type);
}

static PyType_Slot door_slots[] = {
    {Py_tp_new, (void *)door_new},
    {Py_tp_dealloc, (void *)door_dealloc},
    {Py_tp_methods, door_methods},
    {Py_tp_doc, SS_DOC_Door},
    {0, NULL},
};

static PyType_Spec door_spec = {
    .name = "slipstream._core.Door",
    .basicsize = sizeof(door),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = door_slots,
};

static PyMethodDef functions[] = {
    FAST(encode_frame, ss_door_encode_frame),
    FAST(decode_frame, ss_door_decode_frame),
    PLAIN(repeated_key, ss_door_repeated_key, METH_O),
    FAST(set_encoder, ss_door_set_encoder),
    FAST(serve, ss_door_serve),
    PLAIN(park, ss_door_park, METH_O),
    PLAIN(raise_parked, ss_door_raise_parked, METH_NOARGS),
    {NULL, NULL, 0, NULL},
};

/* Called once, through cffi, which has released the lock. A failure leaves the module
 * without the names, and their import says so. */
void ss_door_attach(void *module, void *status_error) {
    const PyGILState_STATE state = PyGILState_Ensure();
    ss_door_status_error = Py_NewRef((PyObject *)status_error);
    ss_door_measure_bytes();
    PyObject *type = PyType_FromSpec(&door_spec);
    if (type == NULL || PyObject_SetAttrString((PyObject *)module, "Door", type) != 0 ||
        PyModule_AddFunctions((PyObject *)module, functions) != 0)
        PyErr_Print();
    Py_XDECREF(type);
    PyGILState_Release(state);
}
