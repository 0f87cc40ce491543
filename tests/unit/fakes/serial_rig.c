/* A UART on a bus, a loop and an interrupt line (struct serial_rig), for the tests of
 * devices/serial*.c. */
#include "fakes/serial_rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "devices/serial.h"
#include "fakes/fake_kvm.h"

static int no_gic(void *gic, uint32_t intid, bool level)
{
	(void)gic, (void)intid, (void)level;
	cr_expect_fail("an irqfd line must not call the GIC");
	return -EIO;
}

static void *run_loop(void *arg)
{
	(void)loop_run(arg);
	return NULL;
}

void serial_rig_start_loop(struct serial_rig *r)
{
	cr_assert_eq(pthread_create(&r->thread, NULL, run_loop, r->env.loop), 0);
	r->has_thread = true;
}

int serial_rig_create(struct serial_rig *r, const char *path)
{
	static struct serial_config cfg;
	const struct irq_sink sink = { .set_spi = no_gic, .has_irqfd = true };
	fake_kvm_reset();
	r->kvm = KVM_CLOSED;
	cr_assert_eq(kvm_open(&r->kvm, &r->err), 0);
	cr_assert_eq(kvm_create_vm(&r->kvm, 40, &r->err), 0);
	irq_chip_init(&r->irqs, &r->kvm, &sink, 8);
	r->env = (struct device_env){ .kvm = &r->kvm, .irqs = &r->irqs };
	cr_assert_eq(bus_create(&r->env.bus), 0);
	cr_assert_eq(loop_create(&r->env.loop), 0);
	cfg = (struct serial_config){ .base = SERIAL_RIG_BASE, .has_serial_out_path = path };
	if (path)
		(void)snprintf(cfg.serial_out_path, sizeof(cfg.serial_out_path), "%s", path);
	return serial_device_ops.create(&r->env, &cfg, &r->uart, &r->err);
}

void test_replace_fd(int with, int fd)
{
	cr_assert_eq(dup2(with, fd), fd);
	cr_assert_eq(close(with), 0);
}

void serial_rig_init(struct serial_rig *r, const char *path)
{
	*r = (struct serial_rig){ .in = -1, .out = -1 };
	cr_assert_eq(serial_rig_create(r, path), 0, "%s", r->err.text);
}

void serial_rig_init_pipes(struct serial_rig *r)
{
	int in[2], out[2];
	cr_assert_eq(pipe(in), 0);
	cr_assert_eq(pipe(out), 0);
	test_replace_fd(in[0], STDIN_FILENO);
	test_replace_fd(out[1], STDOUT_FILENO);
	serial_rig_init(r, NULL);
	cr_assert_eq(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	r->in = in[1];
	r->out = out[0];
}

void serial_rig_fini(struct serial_rig *r)
{
	if (r->has_thread) {
		loop_stop(r->env.loop, 0);
		cr_assert_eq(pthread_join(r->thread, NULL), 0);
	}
	serial_device_ops.destroy(r->uart);
	cr_expect_eq(fake_kvm_irqfds(), 0);
	bus_destroy(r->env.bus);
	loop_destroy(r->env.loop);
	kvm_close(&r->kvm);
}

uint8_t serial_rig_get(struct serial_rig *r, unsigned int offset)
{
	uint8_t value = 0xee;
	cr_assert(bus_read(r->env.bus, SERIAL_RIG_BASE + offset, &value, 1));
	return value;
}

void serial_rig_put(struct serial_rig *r, unsigned int offset, uint8_t value)
{
	cr_assert(bus_write(r->env.bus, SERIAL_RIG_BASE + offset, &value, 1));
}

void serial_rig_put_text(struct serial_rig *r, const char *text)
{
	for (; *text; text++)
		serial_rig_put(r, THR, (uint8_t)*text);
}

uint64_t serial_rig_pulses(void)
{
	uint64_t n = 0;
	(void)!read(fake_kvm_irqfd(0), &n, sizeof(n)); /* EAGAIN: none */
	return n;
}

void test_sleep_ms(long ms)
{
	const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	(void)nanosleep(&t, NULL);
}

size_t test_read_within(int fd, char *buf, size_t size, size_t want)
{
	size_t have = 0;
	for (int ms = 0; have < want && ms < SERIAL_RIG_PATIENCE_MS; ms++) {
		ssize_t n = read(fd, buf + have, size - have);
		if (n > 0)
			have += (size_t)n;
		else
			test_sleep_ms(1);
	}
	return have;
}

bool serial_rig_becomes_ready(struct serial_rig *r)
{
	for (int ms = 0; ms < SERIAL_RIG_PATIENCE_MS; ms++) {
		if (serial_rig_get(r, LSR) & 1)
			return true;
		test_sleep_ms(1);
	}
	return false;
}
