/* The system tests' harness (harness.h). One test is one process; what it makes hangs on static lists. */
#include "harness.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WICKS_MAX = 32, DIRS_MAX = 32, TAIL = 3000 };

static struct wick *wicks[WICKS_MAX];
static unsigned int nwicks;
static char dirs[DIRS_MAX][64];
static unsigned int ndirs;

/* --- failing ----------------------------------------------------------------------------------------------- */

static void print_tail(const char *what, const struct text *t)
{
	size_t from = t->len > TAIL ? t->len - TAIL : 0;
	fprintf(stderr, "--- %s (%zu bytes)\n", what, t->len);
	for (size_t i = from; i < t->len; i++) {
		unsigned char c = (unsigned char)t->bytes[i];
		if (c == '\n' || (c >= 0x20 && c < 0x7f))
			fputc(c, stderr);
	}
	fputc('\n', stderr);
}

void check_failed(struct wick *w, const char *where, const char *condition, const char *fmt, ...)
{
	char message[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (w) {
		wick_read_output(w);
		struct text log = wick_log(w);
		print_tail("stdout", &w->out);
		print_tail("stderr", &w->err);
		print_tail("log", &log);
	}
	cr_assert(false, "%s: %s: %s", where, condition, message);
	abort(); /* not reached */
}

/* --- time -------------------------------------------------------------------------------------------------- */

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- strings and files --------------------------------------------------------------------------------------- */

char *format(const char *fmt, ...)
{
	char *s;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	check(NULL, n >= 0, "no memory");
	return s;
}

const char *built(const char *relative)
{
	const char *dir = getenv("WICK_DIR");
	const char *path = format("%s/%s", dir ? dir : "/wick", relative);
	check(NULL, access(path, R_OK) == 0, "%s is not there", path);
	return path;
}

const char *make_dir(void)
{
	check(NULL, ndirs < DIRS_MAX, "too many folders in one test");
	char *dir = dirs[ndirs];
	snprintf(dir, sizeof(dirs[0]), "/tmp/wick-test-XXXXXX");
	check(NULL, mkdtemp(dir), "mkdtemp: %s", strerror(errno));
	(void)chmod(dir, 0777); /* tests as another user write there too */
	ndirs++;
	return dir;
}

void write_file(const char *path, const void *bytes, size_t len)
{
	FILE *f = fopen(path, "w");
	check(NULL, f, "%s: %s", path, strerror(errno));
	check(NULL, fwrite(bytes, 1, len, f) == len, "%s: %s", path, strerror(errno));
	check(NULL, fclose(f) == 0, "%s: %s", path, strerror(errno));
}

static void append(struct text *t, const char *bytes, size_t len)
{
	char *grown = realloc(t->bytes, t->len + len + 1);
	check(NULL, grown, "no memory");
	t->bytes = grown;
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
	t->bytes[t->len] = '\0';
}

struct text read_file(const char *path)
{
	struct text t = { 0 };
	char buffer[65536];
	FILE *f = fopen(path, "r");
	check(NULL, f, "%s: %s", path, strerror(errno));
	append(&t, "", 0);
	for (size_t n; (n = fread(buffer, 1, sizeof(buffer), f)) > 0;)
		append(&t, buffer, n);
	fclose(f);
	return t;
}

void write_pattern(const char *path, size_t bytes, uint64_t seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	char *data = malloc(bytes + 8);
	check(NULL, data, "no memory");
	for (size_t i = 0; i < bytes; i += 8) {
		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		uint64_t word = x * UINT64_C(0x2545f4914f6cdd1d);
		memcpy(data + i, &word, 8);
	}
	write_file(path, data, bytes);
	free(data);
}

const char *sha256_of(const char *path)
{
	char sum[65] = "";
	FILE *p = popen(format("sha256sum '%s'", path), "r");
	check(NULL, p && fscanf(p, "%64s", sum) == 1 && strlen(sum) == 64,
	      "sha256sum %s does not work", path);
	pclose(p);
	return format("%s", sum);
}

/* --- a wick ------------------------------------------------------------------------------------------------- */

/* What the new process's descriptors 0 to 2 become. */
struct ends {
	int in, out, err;
};

static _Noreturn void become_wick(const struct wick *w, const struct start_options *o,
				  const char *const *args, const struct ends *e)
{
	const char *argv[64] = { built("wick") };
	unsigned int n = 1;

	/* Whatever becomes of the test, its wick does not outlive it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(e->in, 0);
	dup2(e->out, 1);
	dup2(e->err, 2);
	syscall(SYS_close_range, o->has_no_stdio ? 0u : 3u, ~0u, 0u);
	for (; *args && n < ARRAY_SIZE(argv) - 1; args++)
		argv[n++] = *args;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	if (chdir(w->dir) < 0)
		_exit(99);
	if (o->has_no_dev &&
	    (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	     mount("none", "/dev", "tmpfs", 0, NULL) < 0))
		_exit(96);
	if (o->uid) {
		if (setgid(o->uid) < 0 || setuid(o->uid) < 0)
			_exit(98);
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of the user clears it */
	}
	execv(argv[0], (char *const *)argv);
	_exit(97);
}

struct wick *wick_start_with(const struct start_options *o, const char *const *args)
{
	int in[2], out[2], err[2];
	struct wick *w = calloc(1, sizeof(*w));
	check(NULL, w && nwicks < WICKS_MAX, "too many wicks in one test");
	snprintf(w->dir, sizeof(w->dir), "%s", o->dir ? o->dir : make_dir());
	append(&w->out, "", 0);
	append(&w->err, "", 0);
	check(NULL,
	      pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0,
	      "pipe2: %s", strerror(errno));
	(void)fcntl(out[0], F_SETPIPE_SZ, 1 << 20); /* room while a test looks elsewhere */
	fflush(NULL);
	w->pid = fork();
	check(NULL, w->pid >= 0, "fork: %s", strerror(errno));
	if (w->pid == 0)
		become_wick(w, o, args, &(struct ends){ in[0], out[1], err[1] });
	close(in[0]);
	close(out[1]);
	close(err[1]);
	w->in_fd = in[1];
	(void)fcntl(w->in_fd, F_SETFL, O_NONBLOCK);
	(void)signal(SIGPIPE, SIG_IGN);
	w->out_fd = out[0];
	w->err_fd = err[0];
	(void)fcntl(w->out_fd, F_SETFL, O_NONBLOCK);
	(void)fcntl(w->err_fd, F_SETFL, O_NONBLOCK);
	wicks[nwicks++] = w;
	return w;
}

struct wick *wick_start(const char *const *args)
{
	return wick_start_with(&(struct start_options){ 0 }, args);
}

/* False at the end of the stream. */
static bool take_in(int *fd, struct text *t)
{
	char buffer[65536];
	while (*fd >= 0) {
		ssize_t n = read(*fd, buffer, sizeof(buffer));
		if (n < 0)
			return true; /* nothing now */
		if (n == 0) {
			close(*fd);
			*fd = -1;
			return false;
		}
		append(t, buffer, (size_t)n);
	}
	return false;
}

void wick_read_output(struct wick *w)
{
	(void)take_in(&w->out_fd, &w->out);
	(void)take_in(&w->err_fd, &w->err);
}

/* Waits for more output; false when both streams have ended. */
static bool wait_more(struct wick *w, int64_t deadline)
{
	struct pollfd p[2] = { { .fd = w->out_fd, .events = POLLIN },
			       { .fd = w->err_fd, .events = POLLIN } };
	int64_t left = deadline - now_ms();

	if (w->out_fd < 0 && w->err_fd < 0)
		return false;
	check(w, left > 0, "wick is still running after %d s", DEADLINE_S);
	(void)poll(p, 2, (int)left);
	wick_read_output(w);
	return true;
}

void wick_wait_output(struct wick *w, const char *text)
{
	const int64_t deadline = now_ms() + DEADLINE_S * 1000;
	wick_read_output(w);
	while (!memmem(w->out.bytes, w->out.len, text, strlen(text)))
		check(w, wait_more(w, deadline), "wick has ended without saying \"%s\"", text);
}

static int exit_code(const struct wick *w)
{
	return WIFEXITED(w->status) ? WEXITSTATUS(w->status) : 1000 + WTERMSIG(w->status);
}

int wick_wait_exit(struct wick *w)
{
	const int64_t deadline = now_ms() + DEADLINE_S * 1000;
	if (w->has_ended)
		return exit_code(w);
	while (wait_more(w, deadline))
		;
	check(w, waitpid(w->pid, &w->status, 0) == w->pid, "waitpid: %s", strerror(errno));
	w->has_ended = true;
	return exit_code(w);
}

void wick_type(struct wick *w, const char *text)
{
	/* A full pipe or a wick that has just ended: the test's own wait will tell. */
	if (write(w->in_fd, text, strlen(text)) < 0)
		return;
}

void wick_signal(struct wick *w, int number)
{
	check(w, !w->has_ended && kill(w->pid, number) == 0, "wick is not there to get signal %d",
	      number);
}

void wick_kill(struct wick *w)
{
	wick_signal(w, SIGKILL);
	(void)wick_wait_exit(w);
}

struct text wick_log(struct wick *w)
{
	const char *path = format("%s/log", w->dir);
	struct stat st;
	struct text none = { format("%s", ""), 0 };
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? read_file(path) : none;
}

uint64_t wick_proc_status(struct wick *w, const char *key)
{
	struct text t = read_file(format("/proc/%d/status", w->pid));
	const char *at = strstr(t.bytes, format("\n%s:", key));
	check(w, at, "/proc/PID/status has no %s", key);
	return strtoull(at + strlen(key) + 2, NULL, 10);
}

/* A wick that was built with SAN=... tells on stderr what it found; whatever else the test is about. */
static bool has_sanitizer_report(struct wick *w)
{
	wick_read_output(w);
	if (!strstr(w->err.bytes, "Sanitizer") && !strstr(w->err.bytes, "runtime error:"))
		return false;
	print_tail("stderr", &w->err);
	return true;
}

void harness_end(void)
{
	bool has_report = false;

	for (unsigned int i = 0; i < nwicks; i++) {
		has_report |= has_sanitizer_report(wicks[i]);
		if (wicks[i]->has_ended)
			continue;
		kill(wicks[i]->pid, SIGKILL);
		waitpid(wicks[i]->pid, NULL, 0);
	}
	for (unsigned int i = 0; i < ndirs; i++)
		if (system(format("rm -rf '%s'", dirs[i])) != 0)
			fprintf(stderr, "%s could not be removed\n", dirs[i]);
	nwicks = 0;
	ndirs = 0;
	cr_assert(!has_report, "a sanitizer has reported");
}

/* --- a machine ----------------------------------------------------------------------------------------------- */

static const char *drives_json(const struct machine *m)
{
	char *s = format("%s", "");
	for (unsigned int i = 0; i < ARRAY_SIZE(m->drives) && m->drives[i].id; i++) {
		const struct drive *d = &m->drives[i];
		s = format("%s%s{\"drive_id\": \"%s\", \"path_on_host\": \"%s\", "
			   "\"is_root_device\": false, "
			   "\"is_read_only\": %s, \"cache_type\": \"%s\"}",
			   s, i ? ", " : "", d->id, d->path, d->is_read_only ? "true" : "false",
			   d->is_writeback ? "Writeback" : "Unsafe");
	}
	return s;
}

const char *machine_json(const struct machine *m)
{
	const char *kernel = m->kernel ? m->kernel : built(format("guest/%s.img", m->guest));
	return format(
		"{\"boot-source\": {\"kernel_image_path\": \"%s\", \"boot_args\": \"%s%s\"%s},\n"
		" \"machine-config\": {\"vcpu_count\": %u, \"mem_size_mib\": %u},\n"
		" \"drives\": [%s]%s}\n",
		kernel, m->guest ? "console=ttyS0 " : "", m->args ? m->args : "",
		m->initrd ? format(", \"initrd_path\": \"%s\"", m->initrd) : "",
		m->vcpus ? m->vcpus : 1, m->mem_mib ? m->mem_mib : 128, drives_json(m),
		m->has_entropy ? ", \"entropy\": {}" : "");
}

struct wick *boot(const struct machine *m)
{
	const struct start_options o = { .dir = make_dir() };
	const char *json = machine_json(m);
	const char *const args[] = { "--api-sock",
				     "api.sock",
				     "--log-path",
				     "log",
				     "--config-file",
				     "config.json",
				     "--show-level",
				     "--show-log-origin",
				     m->has_boot_timer ? "--boot-timer" : NULL,
				     NULL };

	write_file(format("%s/config.json", o.dir), json, strlen(json));
	return wick_start_with(&o, args);
}

struct wick *boot_guest_to_done(const struct machine *m)
{
	struct wick *w = boot(m);
	int code = wick_wait_exit(w);
	check(w, memmem(w->out.bytes, w->out.len, "\nDONE\n", 6), "guest %s has not said DONE",
	      m->guest);
	check(w, code == 0, "exit code %d", code);
	return w;
}

const char *output_value(struct wick *w, const char *key)
{
	const char *line = w->out.bytes;
	const char *end = w->out.bytes + w->out.len;
	size_t n = strlen(key);

	while (line && (size_t)(end - line) > n) {
		if (strncmp(line, key, n) == 0 && line[n] == ' ') {
			const char *from = line + n + 1;
			return format("%.*s", (int)strcspn(from, "\r\n"), from);
		}
		line = memchr(line, '\n', (size_t)(end - line));
		line = line ? line + 1 : NULL;
	}
	check(w, false, "no line of the output starts with \"%s \"", key);
	return NULL;
}

uint64_t output_number(struct wick *w, const char *key)
{
	return strtoull(output_value(w, key), NULL, 10);
}

/* --- API ------------------------------------------------------------------------------------------------------- */

int api_try_connect(const struct wick *w)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = DEADLINE_S };
	snprintf(a.sun_path, sizeof(a.sun_path), "%.60s/api.sock", w->dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int api_connect(struct wick *w)
{
	int fd = api_try_connect(w);
	check(w, fd >= 0, "the API socket: %s", strerror(errno));
	return fd;
}

void wick_wait_api(struct wick *w)
{
	const int64_t deadline = now_ms() + DEADLINE_S * 1000;
	for (;;) {
		int fd = api_try_connect(w);
		if (fd >= 0) {
			close(fd);
			return;
		}
		wick_read_output(w);
		check(w, w->out_fd >= 0 && now_ms() < deadline, "the API socket does not come");
		usleep(20000);
	}
}

void send_text(struct wick *w, int fd, const char *text)
{
	size_t len = strlen(text);
	for (size_t done = 0; done < len;) {
		ssize_t n = send(fd, text + done, len - done, MSG_NOSIGNAL);
		check(w, n > 0, "send: %s", strerror(errno));
		done += (size_t)n;
	}
}

/* Byte by byte up to the empty line: what follows belongs to the next response. */
static void read_head(struct wick *w, int fd, struct text *head)
{
	char c;
	append(head, "", 0);
	while (head->len < 4 || strcmp(head->bytes + head->len - 4, "\r\n\r\n") != 0) {
		ssize_t n = recv(fd, &c, 1, 0);
		check(w, n == 1, "the response's head ends after \"%s\" (%s)", head->bytes,
		      n < 0 ? strerror(errno) : "closed");
		append(head, &c, 1);
	}
}

struct response read_response(struct wick *w, int fd)
{
	struct response r = { 0 };
	char buffer[4096];

	read_head(w, fd, &r.head);
	check(w, sscanf(r.head.bytes, "HTTP/1.1 %d ", &r.status) == 1, "no status line: \"%s\"",
	      r.head.bytes);
	const char *length = strcasestr(r.head.bytes, "\r\nContent-Length:");
	size_t left = length ? strtoul(length + 17, NULL, 10) : 0;
	append(&r.body, "", 0);
	while (left > 0) {
		ssize_t n = recv(fd, buffer, left < sizeof(buffer) ? left : sizeof(buffer), 0);
		check(w, n > 0, "the body ends %zu bytes early", left);
		append(&r.body, buffer, (size_t)n);
		left -= (size_t)n;
	}
	return r;
}

struct response http(struct wick *w, const char *method, const char *path, const char *body)
{
	int fd = api_connect(w);
	const char *head = format("%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path);
	send_text(w, fd,
		  body ? format("%sContent-Length: %zu\r\n\r\n%s", head, strlen(body), body)
		       : format("%s\r\n", head));
	struct response r = read_response(w, fd);
	close(fd);
	return r;
}

const char *expect_http(struct wick *w, const char *method, const char *path, const char *body,
			int status)
{
	struct response r = http(w, method, path, body);
	check(w, r.status == status, "%s %s gives %d, wanted is %d: %s", method, path, r.status,
	      status, r.body.bytes);
	return r.body.bytes;
}
