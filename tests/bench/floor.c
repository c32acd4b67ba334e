/* What the figures are compared with: an empty fast-call function, and a bare C loop that
 * calls a plugin through its table for every frame of a run. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <linux/futex.h>
#include <sched.h>
#include <slipstream.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

static double since(const struct timespec *start) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) * 1e9 + (double)(now.tv_nsec - start->tv_nsec);
}

static void turn(_Atomic uint32_t *word, uint32_t from, uint32_t to) {
    while (*word != from)
        syscall(SYS_futex, word, FUTEX_WAIT, *word == from ? to : *word, NULL, NULL, 0);
    *word = to;
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Nanoseconds of a round trip, after so long an idle gap. */
static double round_trip(_Atomic uint32_t *word, int gap_us) {
    const struct timespec gap = {0, gap_us * 1000L};
    struct timespec start;
    nanosleep(&gap, NULL);
    clock_gettime(CLOCK_MONOTONIC, &start);
    turn(word, 0, 1);
    while (*word != 0)
        syscall(SYS_futex, word, FUTEX_WAIT, 1, NULL, NULL, 0);
    return since(&start);
}

/* futex(rounds, gap_us, processor): nanoseconds of each round trip between two processes over a
 * shared futex, after so long an idle gap. The other process is kept on a processor, if it is not
 * negative. */
static PyObject *futex(PyObject *module, PyObject *args) {
    int rounds;
    int gap_us;
    int processor;
    (void)module;
    if (!PyArg_ParseTuple(args, "iii", &rounds, &gap_us, &processor))
        return NULL;
    _Atomic uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const pid_t child = fork();
    if (child == 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(processor < 0 ? 0 : processor, &set);
        if (processor >= 0)
            sched_setaffinity(0, sizeof set, &set);
        for (int i = 0; i < rounds; i++)
            turn(word, 1, 0);
        _exit(0);
    }
    PyObject *list = PyList_New(rounds);
    for (int i = 0; i < rounds; i++)
        PyList_SetItem(list, i, PyFloat_FromDouble(round_trip(word, gap_us)));
    waitpid(child, NULL, 0);
    munmap((void *)(uintptr_t)word, 4096);
    return list;
}

/* ping_pong(rounds): nanoseconds that a cache line takes to another processor and back, of the
 * median batch of a hundred round trips between two processes that spin. */
static int by_size(const void *a, const void *b) {
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return (left > right) - (left < right);
}

static PyObject *ping_pong(PyObject *module, PyObject *args) {
    enum { BATCH = 100, BATCHES_MAX = 1000 };
    int batches;
    double found[BATCHES_MAX];
    (void)module;
    if (!PyArg_ParseTuple(args, "i", &batches))
        return NULL;
    if (batches < 1 || batches > BATCHES_MAX)
        return PyErr_Format(PyExc_ValueError, "1 to %d batches", BATCHES_MAX);
    _Atomic uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const uint32_t last = (uint32_t)batches * BATCH * 2;
    const pid_t child = fork();
    if (child == 0) {
        for (uint32_t turn = 1; turn < last; turn += 2) {
            while (*word != turn) {
            }
            *word = turn + 1;
        }
        _exit(0);
    }
    uint32_t turn = 0;
    for (int i = 0; i < batches; i++) {
        struct timespec start;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int n = 0; n < BATCH; n++) {
            *word = turn + 1;
            turn += 2;
            while (*word != turn) {
            }
        }
        found[i] = since(&start) / BATCH;
    }
    waitpid(child, NULL, 0);
    munmap((void *)(uintptr_t)word, 4096);
    qsort(found, (size_t)batches, sizeof *found, by_size);
    return PyFloat_FromDouble(found[batches / 2]);
}

/* socket(events, bytes): nanoseconds an event, one write each, over a socket pair to another
 * process that reads them. */
static PyObject *socket_writes(PyObject *module, PyObject *args) {
    int events;
    int bytes;
    int ends[2];
    char data[4096] = {0};
    struct timespec start;
    (void)module;
    if (!PyArg_ParseTuple(args, "ii", &events, &bytes))
        return NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    const pid_t child = fork();
    if (child == 0) {
        int64_t left = (int64_t)events * bytes;
        close(ends[0]);
        while (left > 0) {
            const ssize_t n = read(ends[1], data, (size_t)bytes);
            if (n <= 0)
                _exit(1);
            left -= n;
        }
        _exit(0);
    }
    close(ends[1]);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < events; i++)
        if (write(ends[0], data, (size_t)bytes) != bytes)
            return PyErr_SetFromErrno(PyExc_OSError);
    waitpid(child, NULL, 0);
    const double ns = since(&start) / events;
    close(ends[0]);
    return PyFloat_FromDouble(ns);
}

static PyMethodDef methods[] = {
    {"futex", futex, METH_VARARGS, NULL},
    {"ping_pong", ping_pong, METH_VARARGS, NULL},
    {"socket_writes", socket_writes, METH_VARARGS, NULL},
    {"empty", (PyCFunction)(void (*)(void))empty, METH_FASTCALL, NULL},
    {"loop", loop, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "floor", NULL, -1, methods,
                                        NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_floor(void) {
    return PyModule_Create(&definition);
}
