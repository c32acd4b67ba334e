/* door: the few fast-call functions through which Python sends events. They live in the
 * same extension as the cffi bindings, but unlike those they keep the interpreter lock
 * while every plugin that gets the event is prompt; beside a busy Python thread a stream
 * of calls that drop the lock falls to some thousands a second. */
#include "python/door.h"

#include "python/inner.h"

#include <string.h>

typedef struct door {
    PyObject_HEAD ss_sequencer *sequencer;
} door;

static PyObject *finish(bool sent, int32_t status, const ss_outgoing *what, Py_buffer *views) {
    ss_door_release(views);
    return sent ? ss_door_tell(what, status, "event") : NULL;
}

static bool is_wanted(const door *self, uint32_t kind) {
    return (ss_sequencer_kinds(self->sequencer) >> kind & 1) != 0;
}

/* Nobody wants the kind: nothing is done, except to say that the manager is closed. */
static PyObject *unwanted(const door *self) {
    if (!ss_sequencer_is_open(self->sequencer))
        return ss_door_fail(SLIPSTREAM_WRONG_STATE, "event", NULL);
    Py_RETURN_NONE;
}

/* The spans of a draft from the first arguments; absent where None is allowed. */
static bool take_spans(PyObject *const *args, ss_draft *draft, Py_buffer *views) {
    const ss_shape shape = ss_frame_shape(draft->kind);
    const unsigned spans = draft->kind >= SLIPSTREAM_KIND_APP_FIRST ? 1 : shape.spans;
    for (unsigned i = 0; i < spans; i++)
        if (!(args[i] == Py_None && (shape.optional >> i & 1) != 0) &&
            !ss_door_bytes(args[i], &draft->spans[i], &views[i]))
            return false;
    return true;
}

static inline size_t spans_len(const ss_draft *draft) {
    return draft->spans[0].len + draft->spans[1].len + draft->spans[2].len + draft->spans[3].len;
}

static PyObject *send_draft(const door *self, ss_draft *draft, Py_buffer *views, bool taken) {
    ss_outgoing what = {.draft = draft, .len = spans_len(draft)};
    int32_t status = SLIPSTREAM_OK;
    const bool sent =
        taken && ss_door_send(self->sequencer, &what, SLIPSTREAM_KIND_BIT(draft->kind), &status);
    return finish(sent, status, &what, views);
}

static PyObject *door_mapping_update(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    ss_door_no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_MAPPING_UPDATE};
    if (count != 5)
        return ss_door_fail_count("mapping_update", "program_id, mapping_name, key, value, height",
                              count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && ss_door_height(args[4], &draft.height);
    return send_draft(self, &draft, views, taken);
}

static PyObject *door_mapping_removal(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    ss_door_no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_MAPPING_REMOVAL};
    if (count != 4)
        return ss_door_fail_count("mapping_removal", "program_id, mapping_name, key, height", count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && ss_door_height(args[3], &draft.height);
    return send_draft(self, &draft, views, taken);
}

static PyObject *door_staking_reward(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    ss_door_no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_STAKING_REWARD};
    if (count != 5)
        return ss_door_fail_count("staking_reward", "staker, validator, reward, new_stake, height",
                              count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && ss_door_u64(args[2], &draft.numbers[0]) &&
                       ss_door_u64(args[3], &draft.numbers[1]) && ss_door_height(args[4], &draft.height);
    return send_draft(self, &draft, views, taken);
}

static PyObject *door_block(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    ss_door_no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_BLOCK};
    if (count != 2)
        return ss_door_fail_count("block", "block, height", count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && ss_door_height(args[1], &draft.height);
    return send_draft(self, &draft, views, taken);
}

/* source, name, body, height */
static PyObject *door_payload(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    ss_door_no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_PAYLOAD};
    if (count != 4)
        return ss_door_fail_count("payload", "source, name, body, height", count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && ss_door_height(args[3], &draft.height);
    return send_draft(self, &draft, views, taken);
}

/* The same arguments; True if a plugin claims the name. */
static PyObject *door_route(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    ss_door_no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_PAYLOAD};
    ss_outgoing what = {.draft = &draft, .routed = true};
    int32_t status = SLIPSTREAM_OK;
    if (count != 4)
        return ss_door_fail_count("route", "source, name, body, height", count);
    const bool taken = take_spans(args, &draft, views) && ss_door_height(args[3], &draft.height);
    what.len = spans_len(&draft);
    const bool sent =
        taken && ss_door_send(self->sequencer, &what, SLIPSTREAM_KIND_BIT(draft.kind), &status);
    if (sent && status == SLIPSTREAM_NOT_FOUND) {
        PyObject *none = finish(true, SLIPSTREAM_OK, &what, views);
        Py_XDECREF(none);
        Py_RETURN_FALSE;
    }
    PyObject *done = finish(sent, status, &what, views);
    if (done == NULL)
        return NULL;
    Py_DECREF(done);
    Py_RETURN_TRUE;
}

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

/* An event as the bytes of one frame: as it is, or made by Python. A new reference; None
 * if nobody wants it. */
static PyObject *as_frame(const door *self, PyObject *event) {
    if (PyBytes_CheckExact(event)) {
        Py_INCREF(event);
        return event;
    }
    return PyObject_CallFunction(ss_door_encode_function, "OK", event,
                                 (unsigned long long)ss_sequencer_kinds(self->sequencer));
}

static bool is_one_frame(const uint8_t *frame, size_t len) {
    return len >= SLIPSTREAM_FRAME_HEADER_LEN && slipstream_load_u32(frame) == len;
}

static bool may_be_sent(uint32_t kind) {
    return ss_frame_shape(kind).known && kind != SLIPSTREAM_KIND_GAP;
}

static PyObject *fail_not_one_frame(uint64_t index) {
    const ss_sent sent = {.index = index};
    return ss_door_fail(SLIPSTREAM_MALFORMED, "event", &sent);
}

/* A ready frame (bytes) or an event, to all subscribers. */
static PyObject *door_broadcast(PyObject *object, PyObject *event) {
    const door *self = (const door *)object;
    char *data;
    Py_ssize_t len;
    PyObject *frame = as_frame(self, event);
    if (frame == NULL)
        return NULL;
    if (frame == Py_None) {
        Py_DECREF(frame);
        return unwanted(self);
    }
    PyObject *result = NULL;
    if (PyBytes_AsStringAndSize(frame, &data, &len) == 0) {
        ss_outgoing what = {.frames = (const uint8_t *)data, .len = (size_t)len};
        int32_t status;
        const bool whole = is_one_frame(what.frames, what.len);
        const uint32_t kind = whole ? slipstream_load_u16(what.frames + 6) : 0;
        if (!whole)
            result = fail_not_one_frame(0);
        else if (may_be_sent(kind) && !is_wanted(self, kind))
            result = unwanted(self);
        else if (ss_door_send(self->sequencer, &what, SLIPSTREAM_KIND_BIT(kind & 63), &status))
            result = ss_door_tell(&what, status, "frame");
    }
    Py_DECREF(frame);
    return result;
}

/* The place in the list of gathered frame number `nth`: events that nobody wants were left
 * out. Only for messages. */
static uint64_t place_in_list(const door *self, PyObject *list, uint64_t nth) {
    Py_ssize_t i = 0;
    for (uint64_t seen = 0; i < PyList_Size(list); i++) {
        PyObject *frame = as_frame(self, PyList_GetItem(list, i));
        const bool gathered = frame != NULL && frame != Py_None;
        Py_XDECREF(frame);
        PyErr_Clear();
        if (gathered && seen++ == nth)
            break;
    }
    return (uint64_t)i;
}

/* Frames of a list, gathered in one buffer, so that the list may change meanwhile. */
static PyObject *send_list(const door *self, PyObject *list) {
    const Py_ssize_t count = PyList_Size(list);
    size_t room = 64 * 1024;
    size_t used = 0;
    PyObject *result = NULL;
    uint8_t *run = PyMem_Malloc(room);
    Py_ssize_t i = 0;
    for (; run != NULL && i < count; i++) {
        char *data;
        Py_ssize_t len;
        PyObject *event = PyList_GetItem(list, i);
        PyObject *frame = event == NULL ? NULL : as_frame(self, event);
        if (frame == NULL || (frame != Py_None && PyBytes_AsStringAndSize(frame, &data, &len) != 0)) {
            Py_XDECREF(frame);
            goto done;
        }
        if (frame == Py_None) {
            Py_DECREF(frame);
            continue;
        }
        if (!is_one_frame((const uint8_t *)data, (size_t)len)) {
            fail_not_one_frame((uint64_t)i);
            Py_DECREF(frame);
            goto done;
        }
        if (room - used < (size_t)len) {
            while (room - used < (size_t)len)
                room *= 2;
            uint8_t *larger = PyMem_Realloc(run, room);
            if (larger == NULL) {
                Py_DECREF(frame);
                PyErr_NoMemory();
                goto done;
            }
            run = larger;
        }
        memcpy(run + used, data, (size_t)len);
        used += (size_t)len;
        Py_DECREF(frame);
    }
    if (run == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    ss_outgoing what = {.own = run, .frames = run, .len = used};
    uint64_t kinds;
    int32_t status = ss_sequencer_check(run, used, used, &what.sent, &kinds, &what.stamped);
    if (status != SLIPSTREAM_OK) {
        const ss_sent place = {.index = place_in_list(self, list, what.sent.index)};
        ss_door_fail(status, "frame", &place);
    } else if ((ss_sequencer_kinds(self->sequencer) & kinds) == 0 &&
               ss_sequencer_is_open(self->sequencer)) {
        result = PyLong_FromSsize_t(count);
    } else if (ss_door_send(self->sequencer, &what, kinds, &status)) {
        result = status == SLIPSTREAM_OK ? PyLong_FromSsize_t(count) : ss_door_tell(&what, status, "event");
    }
done:
    PyMem_Free(run);
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
        return ss_door_fail(SLIPSTREAM_WRONG_STATE, "event", NULL);
    return PyBool_FromLong(number >= 0 && number < 64 && is_wanted(self, (uint32_t)number));
}

static PyMethodDef door_methods[] = {
    {"mapping_update", (PyCFunction)(void (*)(void))door_mapping_update, METH_FASTCALL, NULL},
    {"mapping_removal", (PyCFunction)(void (*)(void))door_mapping_removal, METH_FASTCALL, NULL},
    {"staking_reward", (PyCFunction)(void (*)(void))door_staking_reward, METH_FASTCALL, NULL},
    {"block", (PyCFunction)(void (*)(void))door_block, METH_FASTCALL, NULL},
    {"payload", (PyCFunction)(void (*)(void))door_payload, METH_FASTCALL, NULL},
    {"route", (PyCFunction)(void (*)(void))door_route, METH_FASTCALL, NULL},
    {"broadcast", door_broadcast, METH_O, NULL},
    {"broadcast_many", door_broadcast_many, METH_O, NULL},
    {"broadcast_frames", door_broadcast_frames, METH_O, NULL},
    {"has_subscribers", door_has_subscribers, METH_O, NULL},
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
    {0, NULL},
};

static PyType_Spec door_spec = {
    .name = "slipstream._core.Door",
    .basicsize = sizeof(door),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = door_slots,
};

static PyMethodDef functions[] = {
    {"encode_frame", (PyCFunction)(void (*)(void))ss_door_encode_frame, METH_FASTCALL, NULL},
    {"decode_frame", (PyCFunction)(void (*)(void))ss_door_decode_frame, METH_FASTCALL, NULL},
    {"park", ss_door_park, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* Called once, through cffi, which has released the lock. A failure leaves the module
 * without the names, and their import says so. */
void ss_door_attach(void *module, void *fail, void *encode) {
    const PyGILState_STATE state = PyGILState_Ensure();
    ss_door_use((PyObject *)fail, (PyObject *)encode);
    PyObject *type = PyType_FromSpec(&door_spec);
    if (type == NULL || PyObject_SetAttrString((PyObject *)module, "Door", type) != 0 ||
        PyModule_AddFunctions((PyObject *)module, functions) != 0)
        PyErr_Print();
    Py_XDECREF(type);
    PyGILState_Release(state);
}
