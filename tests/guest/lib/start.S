/*
 * How a bare-metal test guest starts: the arm64 Image header (so that a monitor loads it as a kernel at
 * 0x8020_0000), the exception vectors, and the way from reset to C with the MMU on. The translation table is
 * constant, so nothing is written before caches are on: real hardware needs that, an emulator does not mind.
 */
#define SCTLR_VALUE 0x30d01805	/* RES1, I, C, M */
#define TCR_VALUE   0x0000000200803519	/* 39 bits, 4 KiB, walks write-back inner shareable, TTBR1 off, 40-bit IPA */
#define MAIR_VALUE  0xff00	/* 0: device nGnRnE, 1: normal write-back */
#define DEVICE_1G   0x401	/* block, AF, attribute 0; executable, so that a jump reaches stage 2 */
#define NORMAL_1G   0x705	/* block, AF, inner shareable, attribute 1 */

	.section .head, "ax"
	.global image_start
image_start:
	b	boot
	.long	0
	.quad	0			/* text_offset */
	.quad	image_size
	.quad	0xa			/* little endian, 4 KiB pages, anywhere */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

boot:
	adrp	x20, boot_fdt
	mov	x19, x0
	mov	x21, #0			/* CPU index */
	b	enter_c

	.global secondary_boot
secondary_boot:				/* x0: CPU index, from CPU_ON's context argument */
	mov	x21, x0
	mov	x19, #0

enter_c:
	msr	daifset, #0xf
	ldr	x0, =MAIR_VALUE
	msr	mair_el1, x0
	ldr	x0, =TCR_VALUE
	msr	tcr_el1, x0
	adrp	x0, translation
	msr	ttbr0_el1, x0
	adrp	x0, vectors
	add	x0, x0, :lo12:vectors
	msr	vbar_el1, x0
	mov	x0, #(3 << 20)
	msr	cpacr_el1, x0
	isb
	tlbi	vmalle1
	ic	iallu
	dsb	sy
	isb
	ldr	x0, =SCTLR_VALUE
	msr	sctlr_el1, x0
	isb
	msr	tpidr_el1, x21
	adrp	x0, stacks
	add	x0, x0, :lo12:stacks
	add	x1, x21, #1
	add	x0, x0, x1, lsl #13	/* 8 KiB each */
	mov	sp, x0
	mov	x29, #0
	mov	x30, #0
	cbnz	x21, 1f
	adrp	x0, boot_fdt
	str	x19, [x0, :lo12:boot_fdt]
	bl	guest_start
1:	mov	x0, x21
	bl	secondary_start
2:	wfi
	b	2b

	.text
	.macro	vector kind
	.balign	128
	sub	sp, sp, #272
	stp	x0, x1, [sp]
	mov	x0, #\kind
	b	save
	.endm

	.balign	2048
vectors:
	.irp	kind, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vector	\kind
	.endr

save:
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	x8, x9, [sp, #64]
	stp	x10, x11, [sp, #80]
	stp	x12, x13, [sp, #96]
	stp	x14, x15, [sp, #112]
	stp	x16, x17, [sp, #128]
	stp	x18, x19, [sp, #144]
	stp	x20, x21, [sp, #160]
	stp	x22, x23, [sp, #176]
	stp	x24, x25, [sp, #192]
	stp	x26, x27, [sp, #208]
	stp	x28, x29, [sp, #224]
	mrs	x1, elr_el1
	stp	x30, x1, [sp, #240]
	mrs	x1, spsr_el1
	str	x1, [sp, #256]
	mov	x1, sp
	bl	trap
	ldp	x30, x1, [sp, #240]
	msr	elr_el1, x1
	ldr	x1, [sp, #256]
	msr	spsr_el1, x1
	ldp	x2, x3, [sp, #16]
	ldp	x4, x5, [sp, #32]
	ldp	x6, x7, [sp, #48]
	ldp	x8, x9, [sp, #64]
	ldp	x10, x11, [sp, #80]
	ldp	x12, x13, [sp, #96]
	ldp	x14, x15, [sp, #112]
	ldp	x16, x17, [sp, #128]
	ldp	x18, x19, [sp, #144]
	ldp	x20, x21, [sp, #160]
	ldp	x22, x23, [sp, #176]
	ldp	x24, x25, [sp, #192]
	ldp	x26, x27, [sp, #208]
	ldp	x28, x29, [sp, #224]
	ldp	x0, x1, [sp]
	add	sp, sp, #272
	eret

	/* Identity, in 1 GiB blocks: 0-2 GiB devices, RAM up to 256 GiB, then the 64-bit MMIO window. */
	.section .rodata
	.balign	4096
translation:
	.set	gib, 0
	.rept	512
	.if	gib >= 2 && gib < 256
	.quad	(gib << 30) | NORMAL_1G
	.else
	.quad	(gib << 30) | DEVICE_1G
	.endif
	.set	gib, gib + 1
	.endr

	.bss
	.balign	16
stacks:
	.space	64 * 8192		/* CPUS_MAX in guest.h */
	.balign	8
	.global	boot_fdt
boot_fdt:
	.quad	0
