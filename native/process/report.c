#include "process/report.h"

#include "base/clock.h"
#include "base/text.h"
#include "library/file.h"
#include "process/generation.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

static void copy_fault(const ss_control *control, ss_report *report) {
    ss_fault fault;
    memcpy(&fault, &control->fault, sizeof fault); /* hostile, and so is the path in it */
    if (fault.written == 0)
        return;
    report->has_fault = 1;
    report->code = fault.code;
    report->address = fault.address;
    report->pc = fault.pc;
    report->sp = fault.sp;
    report->module_start = fault.module_start;
    report->module_offset = fault.module_offset;
    report->registers =
        fault.registers < SS_REPORT_REGISTERS ? fault.registers : SS_REPORT_REGISTERS;
    memcpy(report->values, fault.values, sizeof report->values);
    fault.module[sizeof fault.module - 1] = '\0';
    ss_text_escape(report->module, sizeof report->module, fault.module, strlen(fault.module));
    report->thread = fault.thread;
    fault.thread_name[sizeof fault.thread_name - 1] = '\0';
    ss_text_escape(report->thread_name, sizeof report->thread_name, fault.thread_name,
                   strlen(fault.thread_name));
    report->frames = fault.frames < SS_REPORT_FRAMES ? fault.frames : SS_REPORT_FRAMES;
    memcpy(report->frame_pc, fault.frame_pc, sizeof report->frame_pc);
    memcpy(report->frame_offset, fault.frame_offset, sizeof report->frame_offset);
    for (uint32_t i = 0; i < SS_REPORT_FRAMES; i++)
        report->frame_module[i] =
            fault.frame_module[i] <= SS_REPORT_MODULES ? fault.frame_module[i] : 0;
    for (uint32_t i = 0; i < SS_REPORT_MODULES; i++) {
        fault.modules[i][sizeof fault.modules[i] - 1] = '\0';
        ss_text_escape(report->modules[i], sizeof report->modules[i], fault.modules[i],
                       strlen(fault.modules[i]));
    }
    ss_file_build_id(fault.module, report->build_id, sizeof report->build_id);
}

/* An application that ignores SIGCHLD takes the status away; then only a signal that the
 * worker itself could note is known. */
static void find_status(const ss_generation *generation, ss_report *report) {
    const int32_t noted = generation->control->fault.signal; /* hostile */
    siginfo_t info;
    memset(&info, 0, sizeof info);
    report->exit_code = -1;
    if (waitid(P_PIDFD, (id_t)generation->pidfd, &info, WEXITED | WNOHANG) == 0 &&
        info.si_pid == generation->pid) {
        if (info.si_code == CLD_EXITED)
            report->exit_code = info.si_status;
        else
            report->signal = info.si_status;
        /* It hung while it noted what it died of. */
        if (report->signal == SIGKILL && generation->fault_ns != 0 && noted > 0 && noted < NSIG)
            report->signal = noted;
    } else if (report->has_fault && noted > 0 && noted < NSIG) {
        report->signal = noted;
    }
}

/* A plugin may end the process with the same number: so only what it looks like. */
static const char *of_a_worker(int exit_code) {
    switch (exit_code) {
    case SS_EXIT_HOST_GONE:
        return ", which a worker does when it has lost its host";
    case SS_EXIT_PROTOCOL:
        return ", which a worker does when it does not understand its host";
    case SS_EXIT_SET_UP:
        return ", which a worker does when it gets no memory or descriptor (ulimit -v, ulimit -n)";
    default:
        return "";
    }
}

static void say_reason(const ss_generation *generation, ss_report *report) {
    const size_t room = sizeof report->reason;
    if (generation->left_ns != 0)
        snprintf(report->reason, room,
                 "left to itself, for it may not be signalled (it runs as another user), and its "
                 "channel was closed: %.100s",
                 generation->kill_reason);
    else if (generation->kill_reason[0] != '\0')
        snprintf(report->reason, room, "killed by the host: %s", generation->kill_reason);
    else if (report->signal == SIGKILL && ss_oom_has_killed(generation))
        snprintf(report->reason, room,
                 "died of signal 9: killed by the kernel for lack of memory (%.150s counts it)",
                 generation->oom_file);
    else if (report->signal != 0)
        snprintf(report->reason, room, "died of signal %d (%s)", report->signal,
                 strsignal(report->signal));
    else if (report->exit_code >= 0)
        snprintf(report->reason, room, "ended by itself with exit code %d%s", report->exit_code,
                 of_a_worker(report->exit_code));
    else
        snprintf(report->reason, room, "ended; its status is not known");
}

void ss_report_fill(ss_report *report, const ss_generation *generation) {
    memset(report, 0, sizeof *report);
    report->pid = generation->pid;
    report->time_ns = (int64_t)ss_os_wall_ns();
    report->uptime_ms = (ss_os_now_ns() - generation->started_ns) / 1000000;
    copy_fault(generation->control, report);
    find_status(generation, report);
    say_reason(generation, report);
    for (uint32_t i = 0; i < SS_REPORT_LINES; i++)
        memcpy(report->lines[i],
               generation->last.text[(generation->last.next + i) % SS_REPORT_LINES],
               SS_REPORT_LINE);
}
