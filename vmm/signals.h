/* What signals do to the process (contract 2.1, 10.7). */
#ifndef WICK_SIGNALS_H
#define WICK_SIGNALS_H

#include "vmm/base/err.h"

/*
 * Fatal signals log one line and exit with their code, SIGPIPE is logged only. SIGTERM, SIGINT, SIGQUIT,
 * SIGABRT, SIGTRAP and SIGFPE kill as by default, so that a parent sees "killed by SIGTERM", but give the
 * terminal back first. As PID 1 of a PID namespace, where their default would be ignored, SIGTERM and SIGINT
 * end the process with exit code 0. Main thread, once.
 */
int signals_install(struct err *e);

#endif
