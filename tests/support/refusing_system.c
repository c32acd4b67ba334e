/* Has the kernel refuse calls from now on, in this process and its children, for LD_PRELOAD: those
 * that REFUSED names, each as "name:error" with the error's number. As a sandbox does. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static const struct {
    const char *name;
    unsigned number;
} calls[] = {
    {"memfd_create:", SYS_memfd_create},
    {"fallocate:", SYS_fallocate},
    {"pidfd_open:", SYS_pidfd_open},
};

__attribute__((constructor)) static void refuse(void) {
    enum { CALLS = sizeof calls / sizeof calls[0] };
    struct sock_filter code[2 * CALLS + 2];
    unsigned short used = 0;
    const char *refused = getenv("REFUSED");
    code[used++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                offsetof(struct seccomp_data, nr));
    for (size_t i = 0; refused != NULL && i < CALLS; i++) {
        const char *at = strstr(refused, calls[i].name);
        if (at == NULL)
            continue;
        const unsigned error = (unsigned)atoi(at + strlen(calls[i].name));
        code[used++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1);
        code[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
    }
    code[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {used, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        exit(77);
}
