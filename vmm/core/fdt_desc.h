/*
 * What a device or an interrupt controller wants said of it in the device tree, as plain data.
 * Devices fill these in, arch/arm64/fdt.c writes them; neither knows the other.
 */
#ifndef WICK_CORE_FDT_DESC_H
#define WICK_CORE_FDT_DESC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/core/irq.h"
#include "vmm/core/types.h"

#define FDT_PHANDLE_GIC   1 /* interrupt-parent of the root node */
#define FDT_PHANDLE_CLOCK 2 /* apb-pclk, 24 MHz */
#define FDT_PHANDLE_MSI   3

enum fdt_prop_kind { FDT_PROP_EMPTY, FDT_PROP_CELLS, FDT_PROP_STRINGS };

struct fdt_prop {
	const char *name;
	enum fdt_prop_kind kind;
	unsigned int ncells;
	uint32_t cells[12];
	const char *strings; /* static, NUL separated */
	size_t strings_len;  /* with the last NUL */
};

struct fdt_desc {
	char name[48]; /* "uart@40002000" */
	unsigned int nprops;
	struct fdt_prop prop[12];
};

/* Too many properties or cells are our own mistake: they assert. */
void fdt_desc_init(struct fdt_desc *d, const char *name, gpa_t unit_address);
void fdt_desc_empty(struct fdt_desc *d, const char *prop);
void fdt_desc_cells(struct fdt_desc *d, const char *prop, const uint32_t *cells, unsigned int n);
void fdt_desc_u32(struct fdt_desc *d, const char *prop, uint32_t value);
/* A literal list: fdt_desc_strings(d, "compatible", "arm,pl031\0arm,primecell"). */
#define fdt_desc_strings(d, prop, literal) \
	fdt_desc_strings_len((d), (prop), (literal), sizeof(literal))
void fdt_desc_strings_len(struct fdt_desc *d, const char *prop, const char *strings, size_t len);
/* Appends one (address, size) pair of two cells each to "reg". */
void fdt_desc_reg(struct fdt_desc *d, gpa_t base, uint64_t size);
/* "interrupts": one SPI. */
void fdt_desc_spi(struct fdt_desc *d, uint32_t gsi, enum irq_trigger trigger);

/* A growing list, written in order. */
struct fdt_list {
	struct fdt_desc *v;
	unsigned int n, cap;
};
/* A zeroed new entry to fill in, or NULL when memory is out. Valid until the next call. */
struct fdt_desc *fdt_list_add(struct fdt_list *l);
void fdt_list_fini(struct fdt_list *l);

#endif
