/* Making the machine: lists of steps that a person can read. Boot is one; restore will be too. */
#ifndef WICK_BUILD_H
#define WICK_BUILD_H

#include "vmm/base/err.h"
#include "vmm/vm.h"

/*
 * Builds the configured machine and leaves it paused, ready to run. On failure the machine is torn
 * down again and `e` says which part refused and why; the configuration is untouched, so the start
 * can be tried again.
 */
int build_boot(struct vm *vm, struct err *e);

#endif
