/* The wanted machine (struct vm_config): defaults, checks across fields, copies. VMM thread. */
#include "vmm/vm_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arm64/layout.h"
#include "vmm/base/bits.h"

void vm_config_init(struct vm_config *c)
{
	memset(c, 0, sizeof(*c));
	c->machine.vcpu_count = 1;
	c->machine.mem_size_mib = 128;
}

void vm_config_fini(struct vm_config *c)
{
	free(c->drives);
	c->drives = NULL;
	c->ndrives = 0;
}

int vm_config_copy(const struct vm_config *from, struct vm_config *ret)
{
	struct block_config *drives = NULL;
	if (from->ndrives > 0) {
		drives = calloc(from->ndrives, sizeof(*drives));
		if (!drives)
			return -ENOMEM;
		memcpy(drives, from->drives, from->ndrives * sizeof(*drives));
	}
	*ret = *from;
	ret->drives = drives;
	return 0;
}

static int check_machine(const struct machine_config *m, unsigned int max_vcpus, struct err *e)
{
	if (m->smt)
		return err_set(e, -EINVAL,
			       "Enabling simultaneous multithreading is not supported on aarch64.");
	if (m->vcpu_count == 0 || m->vcpu_count > max_vcpus)
		return err_set(e, -EINVAL,
			       "The vCPU number is invalid! vcpu_count is %u, this host's KVM "
			       "allows 1 to %u.",
			       m->vcpu_count, max_vcpus);
	uint64_t page_mib = m->huge_pages == HUGE_PAGES_NONE ? 1 : 2;
	if (m->mem_size_mib == 0 || m->mem_size_mib % page_mib)
		return err_set(e, -EINVAL,
			       "The memory size (MiB) is either 0, or not a multiple of the "
			       "configured page size. (mem_size_mib is %llu, pages are %s)",
			       (unsigned long long)m->mem_size_mib,
			       page_mib == 1 ? "4 KiB" : "2 MiB");
	return 0;
}

int vm_config_set_machine(struct vm_config *c, const struct machine_config_update *u, bool is_put,
			  unsigned int max_vcpus, struct err *e)
{
	struct machine_config m = c->machine;
	if (is_put) { /* what a PUT leaves out is back at its default */
		m.smt = false;
		m.has_cpu_template = false;
		m.track_dirty_pages = false;
		m.huge_pages = HUGE_PAGES_NONE;
	}
	if (u->has_vcpu_count)
		m.vcpu_count = u->value.vcpu_count;
	if (u->has_mem_size_mib)
		m.mem_size_mib = u->value.mem_size_mib;
	if (u->has_smt)
		m.smt = u->value.smt;
	if (u->has_cpu_template) {
		m.has_cpu_template = u->value.cpu_template != CPU_TEMPLATE_NONE;
		m.cpu_template = u->value.cpu_template;
	}
	if (u->has_track_dirty_pages)
		m.track_dirty_pages = u->value.track_dirty_pages;
	if (u->has_huge_pages)
		m.huge_pages = u->value.huge_pages;
	int rc = check_machine(&m, max_vcpus, e);
	if (rc == 0)
		c->machine = m;
	return rc;
}

static struct block_config *find_drive(struct vm_config *c, const char *id)
{
	for (unsigned int i = 0; i < c->ndrives; i++)
		if (strcmp(c->drives[i].drive_id, id) == 0)
			return &c->drives[i];
	return NULL;
}

/* The root device becomes vda: it moves to the front, the others keep their order. */
static void put_root_first(struct vm_config *c)
{
	for (unsigned int i = 1; i < c->ndrives; i++) {
		if (!c->drives[i].is_root_device)
			continue;
		struct block_config root = c->drives[i];
		memmove(&c->drives[1], &c->drives[0], i * sizeof(root));
		c->drives[0] = root;
		return;
	}
}

int vm_config_set_drive(struct vm_config *c, const struct block_config *drive, struct err *e)
{
	struct block_config *same = find_drive(c, drive->drive_id);
	if (drive->is_root_device && c->ndrives > 0 && c->drives[0].is_root_device &&
	    same != &c->drives[0])
		return err_set(e, -EEXIST, "A root block device already exists!");
	int rc = block_check(drive, e);
	if (rc < 0)
		return err_prefix(e, rc, "Unable to create the virtio block device: ");
	if (!same) {
		struct block_config *v = reallocarray(c->drives, c->ndrives + 1, sizeof(*v));
		if (!v)
			return err_set(e, -ENOMEM, "No memory for another drive");
		c->drives = v;
		same = &c->drives[c->ndrives++];
	}
	*same = *drive;
	put_root_first(c);
	return 0;
}
