/* limits: glibc gives the numbers of limits and of timers types of their own; elsewhere they are int. */
#ifndef SS_PROCESS_LIMITS_H
#define SS_PROCESS_LIMITS_H

#include <sys/resource.h>
#include <sys/time.h>

#if defined(__GLIBC__)
typedef __rlimit_resource_t ss_limit_number;
typedef __itimer_which_t ss_timer_number;
#else
typedef int ss_limit_number;
typedef int ss_timer_number;
#endif

#endif
