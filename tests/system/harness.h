/*
 * What a system test stands on: a wick that is started in a folder of its own, watched, talked to over its API
 * socket, and gone when the test ends. Deadlines only protect against hanging: no test claims a time.
 *
 * Whatever goes wrong in here fails the test with wick's output and log in the message.
 */
#ifndef WICK_SYSTEM_HARNESS_H
#define WICK_SYSTEM_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { DEADLINE_S = 180 };

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct text {
	char *bytes; /* always NUL-terminated; may contain NULs before that */
	size_t len;
};

struct wick {
	pid_t pid;
	int out_fd, err_fd, in_fd;
	struct text out, err; /* what it has written so far */
	char dir[64];         /* its working folder; log, config and socket are in it */
	bool has_ended;
	int status; /* as waitpid gives it, when it has ended */
};

/* For deadlines. */
int64_t now_ms(void);

/* --- files: paths in wick's world ----------------------------------------------------------------------- */

/* A file that the build or the runner has put beside wick, as an absolute path (kept until the test ends). */
const char *built(const char *relative);
/* Kept until the test ends, as all strings that functions here return. */
char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A new folder for the test's files; wick_start makes one by itself. */
const char *make_dir(void);
void write_file(const char *path, const void *bytes, size_t len);
struct text read_file(const char *path);
/* `bytes` long, looking random, the same for the same seed. */
void write_pattern(const char *path, size_t bytes, uint64_t seed);
/* As 64 hex digits, computed by sha256sum. */
const char *sha256_of(const char *path);

/* --- a wick ---------------------------------------------------------------------------------------------- */

/* How the next wick is started; zero: as root, with the harness's own limits. */
struct start_options {
	const char *dir;   /* start there instead of in a new folder */
	uid_t uid;         /* 0: as we are */
	bool has_no_dev;   /* sees an empty /dev; only root can do that */
	bool has_no_stdio; /* descriptors 0 to 2 are closed */
};

/* `args` without argv[0], NULL at the end. Runs in a new folder; a relative path in args is in it. */
struct wick *wick_start(const char *const *args);
struct wick *wick_start_with(const struct start_options *options, const char *const *args);
#define WICK(...) wick_start((const char *const[]){ __VA_ARGS__, NULL })

/* Reads what there is and goes on until `text` was written to stdout; fails if wick ends before. */
void wick_wait_output(struct wick *w, const char *text);
/* Until it has ended; returns the exit code, or 1000 + the signal that killed it. */
int wick_wait_exit(struct wick *w);
/* Takes in output that is there now, without waiting. */
void wick_read_output(struct wick *w);
/* What is typed at the guest's console. */
void wick_type(struct wick *w, const char *text);
/* Sends a signal; wick_kill also waits for the end. */
void wick_signal(struct wick *w, int number);
void wick_kill(struct wick *w);
/* The log file "log" in its folder ("" if none). */
struct text wick_log(struct wick *w);
/* A number out of /proc/PID/status, in the units used there ("VmRSS"). */
uint64_t wick_proc_status(struct wick *w, const char *key);

/* --- a machine: config file, log and API socket in wick's folder ----------------------------------------- */

struct drive {
	const char *id, *path;
	bool is_read_only, is_writeback;
};

struct machine {
	const char *kernel; /* default: the guest named by `guest` */
	const char *guest;  /* a bare-metal guest: guest/<name>.img */
	const char *initrd;
	const char *args; /* boot_args; "console=ttyS0" is put in front for bare-metal guests */
	unsigned int vcpus, mem_mib; /* 0: 1 and 128 */
	struct drive drives[8];      /* up to the first without an id */
	bool has_entropy, has_boot_timer;
};

const char *machine_json(const struct machine *m);
/* wick --api-sock api.sock --log-path log --config-file config.json */
struct wick *boot(const struct machine *m);
/* The same and then until it ends: exit code 0 and "DONE" of a bare-metal guest, or the test fails. */
struct wick *boot_guest_to_done(const struct machine *m);
/* A line of stdout that starts with `key` and a space: what follows. Fails if there is none. */
const char *output_value(struct wick *w, const char *key);
uint64_t output_number(struct wick *w, const char *key);

/* --- API --------------------------------------------------------------------------------------------------- */

struct response {
	int status;
	struct text head, body;
};

/* One request over a connection of its own. `body` NULL: none. */
struct response http(struct wick *w, const char *method, const char *path, const char *body);
/* http() that fails the test unless the status is `status`; returns the body. */
const char *expect_http(struct wick *w, const char *method, const char *path, const char *body,
			int status);
/* The wanted text occurs in what was said. */
#define expect_contains(w, text, part) \
	check(w, strstr((text), (part)), "\"%s\" is not in \"%s\"", (part), (text))
/* A connected socket, for raw bytes; the caller closes it. The second gives -1 when nobody listens. */
int api_connect(struct wick *w);
int api_try_connect(const struct wick *w);
/* Waits until the API answers. */
void wick_wait_api(struct wick *w);
struct response read_response(struct wick *w, int fd);
void send_text(struct wick *w, int fd, const char *text);

/* --- failing ----------------------------------------------------------------------------------------------- */

void check_failed(struct wick *w, const char *where, const char *condition, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), noreturn));
#define CHECK_TEXT2(x) #x
#define CHECK_TEXT(x)  CHECK_TEXT2(x)
/* `w` may be NULL; else its output and log become part of the message. */
#define check(w, condition, ...)                                                         \
	do {                                                                             \
		if (!(condition))                                                        \
			check_failed((w), __FILE__ ":" CHECK_TEXT(__LINE__), #condition, \
				     __VA_ARGS__);                                       \
	} while (0)

/* A suite's .fini: every wick that is left is killed, folders are removed. */
void harness_end(void);

#endif
