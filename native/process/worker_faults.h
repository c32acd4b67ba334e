/* worker_faults: what a worker notes of a deadly signal, before it dies of it. */
#ifndef SS_WORKER_FAULTS_H
#define SS_WORKER_FAULTS_H

#include "ring/ring.h"

/* From now on deadly signals are noted here. */
void ss_catch_faults(ss_fault *fault);
/* The calling thread is the one on which the plugin is called. */
void ss_note_plugin_thread(void *unused);

#endif
