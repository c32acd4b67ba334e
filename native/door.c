/* door: the few fast-call functions through which Python sends events. They live in the
 * same extension as the cffi bindings, but unlike those they keep the interpreter lock
 * while every plugin that gets the event is prompt; beside a busy Python thread a stream
 * of calls that drop the lock falls to some thousands a second.
 *
 * Two rules: never wait for the sequencer while holding the interpreter lock, and never
 * touch a Python object without it. */
#include <Python.h>

#include "dispatch.h"

#include <string.h>

#define LARGE_RUN (16 * 1024) /* bytes: from here on the lock is released anyway */
#define WAIT_SLICE_MS 100     /* between two looks for signals */

static PyObject *fail_callable;   /* fail(status, what, offset, index): raises */
static PyObject *encode_callable; /* encode(event, kinds): a frame, or None if unwanted */
static _Thread_local int parked;  /* a callback in Python left an exception to be raised */
static _Thread_local PyObject *raised[3]; /* by a signal handler, while waiting for room */

typedef struct door {
    PyObject_HEAD
    ss_core *core;
} door;

static PyObject *fail(int32_t status, const char *what, const ss_sent *sent) {
    PyObject *none = PyObject_CallFunction(fail_callable, "isKK", (int)status, what,
                                           sent == NULL ? 0ULL : (unsigned long long)sent->offset,
                                           sent == NULL ? 0ULL : (unsigned long long)sent->index);
    if (none != NULL) { /* it should have raised */
        Py_DECREF(none);
        PyErr_Format(PyExc_SystemError, "status %d was not raised", (int)status);
    }
    return NULL;
}

static PyObject *fail_arguments(const char *function, const char *expected, Py_ssize_t count) {
    PyErr_Format(PyExc_TypeError, "%s() takes %s, got %zd arguments", function, expected, count);
    return NULL;
}

/* Borrowed bytes of an argument; `view` has to be released if it holds an object. */
static bool take_bytes(PyObject *object, slipstream_bytes *out, Py_buffer *view) {
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

static bool take_height(PyObject *object, uint64_t *out) {
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

static bool take_u64(PyObject *object, uint64_t *out) {
    *out = PyLong_AsUnsignedLongLong(object);
    return !(*out == (uint64_t)-1 && PyErr_Occurred());
}

/* ---- Sending ------------------------------------------------------------------------- */

/* What is sent: a draft; frames of our own, checked; or the caller's frames. */
typedef struct load {
    ss_draft *draft;
    uint8_t *own;
    const uint8_t *frames;
    size_t len;
    bool stamped;
    bool routed;
    bool too_large; /* for some plugin's ring; the others have it */
    ss_sent sent;   /* of frames: how far it got */
} load;

static int32_t put(ss_core *core, load *what) {
    if (what->draft != NULL)
        return what->routed ? ss_core_route(core, what->draft)
                            : ss_core_put_draft(core, what->draft);
    if (what->own == NULL || ss_core_inside_callback(core))
        return ss_core_put_frames(core, what->frames, what->len, &what->sent);
    ss_core_put_own(core, what->own, what->len, what->stamped);
    return SLIPSTREAM_OK;
}

/* Asked while a full ring is waited for. The sequencer is held, but nobody waits for that
 * with the interpreter lock, so it can be had. */
static bool interrupted(void) {
    const PyGILState_STATE state = PyGILState_Ensure();
    const bool found = PyErr_CheckSignals() != 0;
    if (found)
        PyErr_Fetch(&raised[0], &raised[1], &raised[2]); /* raised when the call is over */
    PyGILState_Release(state);
    return found;
}

static int32_t leave(ss_core *core, load *what, int32_t status) {
    what->too_large = ss_core_leave(core) == SLIPSTREAM_TOO_LARGE;
    return status == SLIPSTREAM_OK && what->too_large ? SLIPSTREAM_TOO_LARGE : status;
}

static int32_t put_and_leave(ss_core *core, load *what) {
    int32_t status = ss_core_is_open(core) ? put(core, what) : SLIPSTREAM_WRONG_STATE;
    if (!ss_core_has_more(core))
        return leave(core, what, status);
    Py_BEGIN_ALLOW_THREADS
    ss_core_may_wait(core, interrupted);
    status = leave(core, what, status);
    Py_END_ALLOW_THREADS
    return status;
}

/* True, or false with a Python exception. `status` is that of the core. */
static bool send_load(ss_core *core, load *what, uint64_t kinds, int32_t *status) {
    const bool keep_lock = (ss_core_slow_kinds(core) & kinds) == 0 && what->len < LARGE_RUN;
    const bool inside = ss_core_inside(core);
    if (inside) {
        *status = ss_core_is_open(core) ? put(core, what) : SLIPSTREAM_WRONG_STATE;
    } else if (keep_lock && ss_core_try_enter(core)) {
        *status = put_and_leave(core, what);
    } else {
        do {
            Py_BEGIN_ALLOW_THREADS
            *status = ss_core_enter(core, WAIT_SLICE_MS);
            if (*status == SLIPSTREAM_OK) {
                ss_core_may_wait(core, interrupted);
                *status = leave(core, what, put(core, what));
            }
            Py_END_ALLOW_THREADS
            if (*status == SLIPSTREAM_TIMEOUT && PyErr_CheckSignals() != 0)
                return false;
        } while (*status == SLIPSTREAM_TIMEOUT);
    }
    if (raised[0] != NULL) {
        PyErr_Restore(raised[0], raised[1], raised[2]);
        memset(raised, 0, sizeof raised);
        return false;
    }
    if (parked && !inside) { /* the outer call is going to raise it */
        parked = 0;
        PyObject *none = PyObject_CallFunction(fail_callable, "isKK", SLIPSTREAM_PANIC, "parked",
                                               0ULL, 0ULL);
        if (none == NULL)
            return false;
        Py_DECREF(none); /* another call of the core has raised it */
    }
    return true;
}

/* None, or the exception for what became of a load. */
static PyObject *tell(const load *what, int32_t status, const char *name) {
    if (status == SLIPSTREAM_OK)
        Py_RETURN_NONE;
    return fail(status, what->too_large ? "ring" : name, &what->sent);
}

static PyObject *finish(bool sent, int32_t status, const load *what, Py_buffer *views) {
    for (int i = 0; i < SS_MAX_SPANS; i++)
        if (views[i].obj != NULL)
            PyBuffer_Release(&views[i]);
    return sent ? tell(what, status, "event") : NULL;
}

static bool is_wanted(const door *self, uint32_t kind) {
    return (ss_core_kinds(self->core) >> kind & 1) != 0;
}

/* Nobody wants the kind: nothing is done, except to say that the manager is closed. */
static PyObject *unwanted(const door *self) {
    if (!ss_core_is_open(self->core))
        return fail(SLIPSTREAM_WRONG_STATE, "event", NULL);
    Py_RETURN_NONE;
}

/* The spans of a draft from the first arguments; absent where None is allowed. */
static bool take_spans(PyObject *const *args, ss_draft *draft, Py_buffer *views) {
    const ss_shape shape = ss_frame_shape(draft->kind);
    const unsigned spans = draft->kind >= SLIPSTREAM_KIND_APP_FIRST ? 1 : shape.spans;
    for (unsigned i = 0; i < spans; i++)
        if (!(args[i] == Py_None && (shape.optional >> i & 1) != 0) &&
            !take_bytes(args[i], &draft->spans[i], &views[i]))
            return false;
    return true;
}

static inline size_t spans_len(const ss_draft *draft) {
    return draft->spans[0].len + draft->spans[1].len + draft->spans[2].len + draft->spans[3].len;
}

static PyObject *send_draft(const door *self, ss_draft *draft, Py_buffer *views, bool taken) {
    load what = {.draft = draft, .len = spans_len(draft)};
    int32_t status = SLIPSTREAM_OK;
    const bool sent =
        taken && send_load(self->core, &what, SLIPSTREAM_KIND_BIT(draft->kind), &status);
    return finish(sent, status, &what, views);
}

/* A view without an object is not to be released; the rest of it is never looked at. */
static inline void no_views(Py_buffer *views) {
    for (int i = 0; i < SS_MAX_SPANS; i++)
        views[i].obj = NULL;
}

static PyObject *door_mapping_update(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_MAPPING_UPDATE};
    if (count != 5)
        return fail_arguments("mapping_update", "program_id, mapping_name, key, value, height",
                              count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && take_height(args[4], &draft.height);
    return send_draft(self, &draft, views, taken);
}

static PyObject *door_mapping_removal(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_MAPPING_REMOVAL};
    if (count != 4)
        return fail_arguments("mapping_removal", "program_id, mapping_name, key, height", count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && take_height(args[3], &draft.height);
    return send_draft(self, &draft, views, taken);
}

static PyObject *door_staking_reward(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_STAKING_REWARD};
    if (count != 5)
        return fail_arguments("staking_reward", "staker, validator, reward, new_stake, height",
                              count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && take_u64(args[2], &draft.numbers[0]) &&
                       take_u64(args[3], &draft.numbers[1]) && take_height(args[4], &draft.height);
    return send_draft(self, &draft, views, taken);
}

static PyObject *door_block(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_BLOCK};
    if (count != 2)
        return fail_arguments("block", "block, height", count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && take_height(args[1], &draft.height);
    return send_draft(self, &draft, views, taken);
}

/* source, name, body, height */
static PyObject *door_payload(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_PAYLOAD};
    if (count != 4)
        return fail_arguments("payload", "source, name, body, height", count);
    if (!is_wanted(self, draft.kind))
        return unwanted(self);
    const bool taken = take_spans(args, &draft, views) && take_height(args[3], &draft.height);
    return send_draft(self, &draft, views, taken);
}

/* The same arguments; True if a plugin claims the name. */
static PyObject *door_route(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    const door *self = (const door *)object;
    Py_buffer views[SS_MAX_SPANS];
    no_views(views);
    ss_draft draft = {.kind = SLIPSTREAM_KIND_PAYLOAD};
    load what = {.draft = &draft, .routed = true};
    int32_t status = SLIPSTREAM_OK;
    if (count != 4)
        return fail_arguments("route", "source, name, body, height", count);
    const bool taken = take_spans(args, &draft, views) && take_height(args[3], &draft.height);
    what.len = spans_len(&draft);
    const bool sent =
        taken && send_load(self->core, &what, SLIPSTREAM_KIND_BIT(draft.kind), &status);
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
    load what = {.frames = frames, .len = len};
    int32_t status = SLIPSTREAM_OK;
    if (!send_load(self->core, &what, ~UINT64_C(0), &status))
        return NULL;
    if (status != SLIPSTREAM_OK)
        return tell(&what, status, "frame");
    return PyLong_FromUnsignedLongLong(what.sent.index);
}

/* An event as the bytes of one frame: as it is, or made by Python. A new reference; None
 * if nobody wants it. */
static PyObject *as_frame(const door *self, PyObject *event) {
    if (PyBytes_CheckExact(event)) {
        Py_INCREF(event);
        return event;
    }
    return PyObject_CallFunction(encode_callable, "OK", event,
                                 (unsigned long long)ss_core_kinds(self->core));
}

static bool is_one_frame(const uint8_t *frame, size_t len) {
    return len >= SLIPSTREAM_FRAME_HEADER_LEN && slipstream_load_u32(frame) == len;
}

static bool may_be_sent(uint32_t kind) {
    return kind <= SLIPSTREAM_KIND_PAYLOAD ||
           (kind >= SLIPSTREAM_KIND_APP_FIRST && kind <= SLIPSTREAM_KIND_APP_LAST);
}

static PyObject *fail_not_one_frame(uint64_t index) {
    const ss_sent sent = {.index = index};
    return fail(SLIPSTREAM_MALFORMED, "event", &sent);
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
        load what = {.frames = (const uint8_t *)data, .len = (size_t)len};
        int32_t status;
        const bool whole = is_one_frame(what.frames, what.len);
        const uint32_t kind = whole ? slipstream_load_u16(what.frames + 6) : 0;
        if (!whole)
            result = fail_not_one_frame(0);
        else if (may_be_sent(kind) && !is_wanted(self, kind))
            result = unwanted(self);
        else if (send_load(self->core, &what, SLIPSTREAM_KIND_BIT(kind & 63), &status))
            result = tell(&what, status, "frame");
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
    load what = {.own = run, .frames = run, .len = used};
    uint64_t kinds;
    int32_t status = ss_core_check(run, used, used, &what.sent, &kinds, &what.stamped);
    if (status != SLIPSTREAM_OK) {
        const ss_sent place = {.index = place_in_list(self, list, what.sent.index)};
        fail(status, "frame", &place);
    } else if ((ss_core_kinds(self->core) & kinds) == 0 && ss_core_is_open(self->core)) {
        result = PyLong_FromSsize_t(count);
    } else if (send_load(self->core, &what, kinds, &status)) {
        result = status == SLIPSTREAM_OK ? PyLong_FromSsize_t(count) : tell(&what, status, "event");
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
    if (!ss_core_is_open(self->core))
        return fail(SLIPSTREAM_WRONG_STATE, "event", NULL);
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

/* Door(address of an ss_core) keeps the core alive. */
static PyObject *door_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    unsigned long long address;
    (void)keywords;
    if (!PyArg_ParseTuple(args, "K", &address))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    door *self = (door *)alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->core = (ss_core *)(uintptr_t)address;
    ss_core_retain(self->core);
    return (PyObject *)self;
}

static void door_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    ss_core_release(((door *)object)->core);
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

/* ---- Frames for people: to and from plain Python values -------------------------------- */

/* encode_frame(kind, flags, stream, sequence, time_ns, height, reasons, spans, numbers) */
static PyObject *encode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    ss_draft draft = {.kind = 0};
    Py_buffer views[SS_MAX_SPANS];
    no_views(views);
    PyObject *frame = NULL;
    uint64_t fields[4];
    (void)module;
    if (count != 9)
        return fail_arguments("encode_frame", "nine arguments", count);
    for (int i = 0; i < 4; i++)
        if (!take_u64(args[i], &fields[i]))
            return NULL;
    const int64_t time_ns = PyLong_AsLongLong(args[4]);
    if ((time_ns == -1 && PyErr_Occurred()) || !take_height(args[5], &draft.height))
        return NULL;
    const unsigned long reasons = PyLong_AsUnsignedLong(args[6]);
    if (reasons == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    if (fields[0] > 63 || !ss_frame_shape((uint32_t)fields[0]).known)
        return fail(SLIPSTREAM_INVALID_ARGUMENT, "kind", NULL);
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
        if (!take_bytes(span, &draft.spans[i], &views[i]))
            goto done;
    }
    for (Py_ssize_t i = 0; i < shape.numbers; i++)
        if (!take_u64(PyTuple_GetItem(args[8], i), &draft.numbers[i]))
            goto done;
    const size_t size = ss_frame_size(&draft);
    if (size == 0) {
        fail(SLIPSTREAM_TOO_LARGE, "event", NULL);
        goto done;
    }
    frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (frame != NULL)
        ss_frame_write((uint8_t *)PyBytes_AsString(frame), size, &draft);
done:
    for (int i = 0; i < SS_MAX_SPANS; i++)
        if (views[i].obj != NULL)
            PyBuffer_Release(&views[i]);
    return frame;
}

static PyObject *bytes_or_none(const slipstream_bytes *span) {
    if (span->data == NULL)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)span->data, (Py_ssize_t)span->len);
}

/* decode_frame(buffer, offset): (frame_len, kind, flags, stream, sequence, time_ns, height,
 * reasons, spans, numbers) */
static PyObject *decode_frame(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    Py_buffer view;
    slipstream_frame frame;
    PyObject *spans = NULL;
    PyObject *numbers = NULL;
    PyObject *result = NULL;
    ss_sent sent = {0};
    (void)module;
    if (count != 2)
        return fail_arguments("decode_frame", "buffer, offset", count);
    if (!take_u64(args[1], &sent.offset) || PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) != 0)
        return NULL;
    int32_t status = SLIPSTREAM_MALFORMED;
    if (sent.offset <= (uint64_t)view.len)
        status = ss_frame_check((const uint8_t *)view.buf + sent.offset,
                                (size_t)view.len - sent.offset, &frame);
    if (status != SLIPSTREAM_OK) {
        fail(status, "frame", &sent);
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

/* The exception that a callback in Python has kept is to be raised by the call that
 * caused it. */
static PyObject *park(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    parked = 1;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"encode_frame", (PyCFunction)(void (*)(void))encode_frame, METH_FASTCALL, NULL},
    {"decode_frame", (PyCFunction)(void (*)(void))decode_frame, METH_FASTCALL, NULL},
    {"park", park, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* Called once, through cffi, which has released the lock. A failure leaves the module
 * without the names, and their import says so. */
static void ss_door_attach(void *module, void *fail_function, void *encode_function) {
    const PyGILState_STATE state = PyGILState_Ensure();
    fail_callable = Py_NewRef((PyObject *)fail_function);
    encode_callable = Py_NewRef((PyObject *)encode_function);
    PyObject *type = PyType_FromSpec(&door_spec);
    if (type == NULL || PyObject_SetAttrString((PyObject *)module, "Door", type) != 0 ||
        PyModule_AddFunctions((PyObject *)module, functions) != 0)
        PyErr_Print();
    Py_XDECREF(type);
    PyGILState_Release(state);
}
