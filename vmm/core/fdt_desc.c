/* Device-tree wishes as data (fdt_desc, fdt_list). VMM thread, while the machine is built. */
#include "vmm/core/fdt_desc.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/bits.h"

/* Binding arm,gic-v3, interrupts: <type number flags>. */
enum { GIC_FDT_SPI = 0, GIC_FDT_EDGE_RISING = 1, GIC_FDT_LEVEL_HIGH = 4 };

static struct fdt_prop *add_prop(struct fdt_desc *d, const char *name, enum fdt_prop_kind kind)
{
	assert(d->nprops < ARRAY_SIZE(d->prop));
	struct fdt_prop *p = &d->prop[d->nprops++];
	*p = (struct fdt_prop){ .name = name, .kind = kind };
	return p;
}

void fdt_desc_init(struct fdt_desc *d, const char *name, gpa_t unit_address)
{
	*d = (struct fdt_desc){ 0 };
	int n = snprintf(d->name, sizeof(d->name), "%s@%llx", name,
			 (unsigned long long)unit_address);
	assert(n > 0 && (size_t)n < sizeof(d->name));
}

void fdt_desc_empty(struct fdt_desc *d, const char *prop)
{
	(void)add_prop(d, prop, FDT_PROP_EMPTY); /* the name alone says it */
}

static void append_cells(struct fdt_prop *p, const uint32_t *cells, unsigned int n)
{
	assert(p->ncells + n <= ARRAY_SIZE(p->cells));
	memcpy(&p->cells[p->ncells], cells, n * sizeof(cells[0]));
	p->ncells += n;
}

void fdt_desc_cells(struct fdt_desc *d, const char *prop, const uint32_t *cells, unsigned int n)
{
	append_cells(add_prop(d, prop, FDT_PROP_CELLS), cells, n);
}

void fdt_desc_u32(struct fdt_desc *d, const char *prop, uint32_t value)
{
	fdt_desc_cells(d, prop, &value, 1);
}

void fdt_desc_strings_len(struct fdt_desc *d, const char *prop, const char *strings, size_t len)
{
	struct fdt_prop *p = add_prop(d, prop, FDT_PROP_STRINGS);
	p->strings = strings;
	p->strings_len = len;
}

void fdt_desc_reg(struct fdt_desc *d, gpa_t base, uint64_t size)
{
	const uint32_t cells[] = { (uint32_t)(base >> 32), (uint32_t)base, (uint32_t)(size >> 32),
				   (uint32_t)size };
	for (unsigned int i = 0; i < d->nprops; i++) {
		if (strcmp(d->prop[i].name, "reg") == 0) {
			append_cells(&d->prop[i], cells, ARRAY_SIZE(cells));
			return;
		}
	}
	fdt_desc_cells(d, "reg", cells, ARRAY_SIZE(cells));
}

void fdt_desc_spi(struct fdt_desc *d, uint32_t gsi, enum irq_trigger trigger)
{
	const uint32_t flags = trigger == IRQ_LEVEL_HIGH ? GIC_FDT_LEVEL_HIGH : GIC_FDT_EDGE_RISING;
	fdt_desc_cells(d, "interrupts", (const uint32_t[]){ GIC_FDT_SPI, gsi, flags }, 3);
}

struct fdt_desc *fdt_list_add(struct fdt_list *l)
{
	if (l->n == l->cap) {
		unsigned int cap = l->cap ? 2 * l->cap : 8;
		struct fdt_desc *v = reallocarray(l->v, cap, sizeof(*v));
		if (!v)
			return NULL;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n] = (struct fdt_desc){ 0 };
	return &l->v[l->n++];
}

void fdt_list_fini(struct fdt_list *l)
{
	free(l->v);
	*l = (struct fdt_list){ 0 };
}
