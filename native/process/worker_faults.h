/* worker_faults: what a worker notes of a deadly signal, before it dies of it. */
#ifndef SS_WORKER_FAULTS_H
#define SS_WORKER_FAULTS_H

#include "ring/ring.h"

/* From now on deadly signals are noted here. */
void ss_catch_faults(ss_fault *fault);
/* Gives the calling thread a stack for that, since its own may be what is full. */
void ss_use_fault_stack(void *unused);

#endif
