/* report: what is known of a worker's crash.
 *
 * Between the marks stand only declarations; the build parses them. */
#ifndef SS_REPORT_H
#define SS_REPORT_H

#include <stdint.h>

/* cdef:begin */
#define SS_REPORT_REGISTERS 32
#define SS_REPORT_LINES 20
#define SS_REPORT_LINE 256
#define SS_REPORT_FRAMES 32
#define SS_REPORT_MODULES 8

typedef struct ss_report {
    int64_t time_ns;
    int32_t pid;
    int32_t signal;      /* 0: it ended by itself */
    int32_t exit_code;   /* -1: unknown */
    int32_t code;        /* si_code */
    uint64_t address;
    uint64_t pc;
    uint64_t sp;
    uint64_t module_start;
    uint64_t module_offset;
    uint64_t ordinal;    /* in flight; 0: none */
    uint64_t run;        /* events in flight */
    uint64_t acknowledged;
    uint64_t uptime_ms;
    uint32_t in_flush;   /* they were delivered before; it was flushing them */
    uint32_t frames;     /* calls under way, innermost first */
    uint32_t has_fault;  /* the signal's details are known */
    uint32_t registers;
    uint64_t values[SS_REPORT_REGISTERS];
    uint8_t frame_head[48]; /* of the event in flight */
    char module[256];    /* the file that holds pc */
    int32_t thread;      /* that the signal came to */
    char thread_name[16];
    uint64_t frame_pc[SS_REPORT_FRAMES];
    uint64_t frame_offset[SS_REPORT_FRAMES]; /* in the module's file */
    uint32_t frame_module[SS_REPORT_FRAMES]; /* 1 + index; 0: unknown */
    char modules[SS_REPORT_MODULES][256];
    char build_id[129];  /* of the module, in hexadecimal; "" if it has none */
    char reason[256];    /* in a sentence */
    char lines[SS_REPORT_LINES][SS_REPORT_LINE]; /* the last log lines, oldest first; "" unused */
} ss_report;
/* cdef:end */

struct ss_generation;

/* What is known of how a generation ended, which was found dead just now: the process's part
 * of the report. The generation is reaped by it. */
void ss_report_fill(ss_report *report, const struct ss_generation *generation);

#endif
