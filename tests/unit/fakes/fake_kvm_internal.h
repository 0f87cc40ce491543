/* Shared by fake_kvm.c, fake_irq.c and fake_vgic.c; nobody else. */
#ifndef WICK_TESTS_FAKE_KVM_INTERNAL_H
#define WICK_TESTS_FAKE_KVM_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/core/kvm.h"

enum { FAKE_MAX_FDS = 600, FAKE_MAX_VCPUS = 512, FAKE_MAX_SLOTS = 64 };

#define FAKE_REG_MPIDR ARM64_SYS_REG(3, 0, 0, 0, 5)

enum fake_kind { FAKE_SYS, FAKE_VM, FAKE_VCPU, FAKE_DEVICE };

struct fake_fd {
	int fd;
	ino_t ino;
	enum fake_kind kind;
	unsigned int number; /* vCPU id or device type */
};

struct fake_reg {
	uint64_t id;
	uint8_t value[256];
};

struct fake_vcpu {
	unsigned int id;
	bool is_init;
	struct kvm_vcpu_init init;
	unsigned int aborts;
	struct fake_reg *reg;
	unsigned int nregs;
};

/* Counts the call; -errno if the test wants this one to fail. */
int fake_enter(const char *function);
void fake_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const struct fake_fd *fake_find_fd(int fd, enum fake_kind kind);
struct fake_vcpu *fake_vcpu_by_id(unsigned int id);
/* In creation order. */
struct fake_vcpu *fake_vcpus(unsigned int *ret_n);

/* MPIDR_EL1 as KVM makes it, with the knobs' bits flipped. */
uint64_t fake_mpidr(const struct fake_vcpu *v);
const char *fake_device_name(uint32_t type);

void fake_irq_reset(void);

void fake_vgic_reset(void);
int fake_vgic_create(uint32_t type);
bool fake_vgic_is_init(void);
/* Made but not initialised yet. */
bool fake_vgic_is_half_built(void);
int fake_vgic_set_attr(uint32_t type, uint32_t group, uint64_t attr, const void *value);
int fake_vgic_get_attr(uint32_t type, uint32_t group, uint64_t attr, void *value);

#endif
