/* A VMM that only remembers. */
#include "fakes/fake_api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void fake_api_init(struct fake_api *f)
{
	memset(f, 0, sizeof(*f));
	vm_config_init(&f->config);
	strcpy(f->info.id, "anonymous-instance");
}

void fake_api_fini(struct fake_api *f)
{
	vm_config_fini(&f->config);
}

static void put_drive(struct vm_config *c, const struct block_config *drive)
{
	struct block_config *grown = reallocarray(c->drives, c->ndrives + 1, sizeof(*c->drives));
	if (!grown)
		abort();
	c->drives = grown;
	c->drives[c->ndrives++] = *drive;
}

static void execute(struct fake_api *f, struct vm_request *r)
{
	struct err e;
	switch (r->action) {
	case VM_GET_INFO:
		r->out.info = f->info;
		break;
	case VM_GET_CONFIG:
		r->rc = vm_config_copy(&f->config, &r->out.config);
		break;
	case VM_PUT_MACHINE:
	case VM_PATCH_MACHINE:
		r->rc = vm_config_set_machine(&f->config, &r->in.machine,
					      r->action == VM_PUT_MACHINE, 32, &e);
		break;
	case VM_PUT_BOOT_SOURCE:
		f->config.boot = r->in.boot;
		f->config.has_boot_source = true;
		break;
	case VM_PUT_DRIVE:
		put_drive(&f->config, &r->in.drive);
		break;
	case VM_PUT_ENTROPY:
		f->config.has_entropy = true;
		break;
	default:
		break;
	}
}

void fake_api_submit(void *arg, struct vm_request *r)
{
	struct fake_api *f = arg;
	if (f->nactions < sizeof(f->actions) / sizeof(f->actions[0]))
		f->actions[f->nactions++] = r->action;
	f->last.action = r->action;
	f->last.in = r->in;
	r->rc = 0;
	if (f->refusal)
		r->rc = err_set(&r->err, -EINVAL, "%s", f->refusal);
	else
		execute(f, r);
}
