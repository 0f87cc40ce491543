/* Stands in for the VMM thread: keeps what was submitted, answers as told. */
#ifndef WICK_FAKE_API_H
#define WICK_FAKE_API_H

#include "vmm/control.h"

struct fake_api {
	struct vm_config config; /* what GETs see; PUTs are put into it */
	struct vm_info info;
	const char *refusal; /* not NULL: every request fails with this text */
	enum vm_action actions[64];
	unsigned int nactions;
	struct vm_request last; /* without .out */
};

void fake_api_init(struct fake_api *f);
void fake_api_fini(struct fake_api *f);
/* An api_submit_fn; `arg` is the fake. */
void fake_api_submit(void *arg, struct vm_request *r);

#endif
