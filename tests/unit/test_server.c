/* api/server.c, api/conn.c: real sockets, a fake VMM, clients that behave badly. */
#include "api/server.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fakes/fake_api.h"
#include "vmm/base/bits.h"

#define MAX_PAYLOAD 51200
#define WAIT_MS     5000

static struct fake_api fake;
static struct api_server *server;
static char dir[] = "/tmp/wick-server-XXXXXX";
static char path[64];

static void setup(void)
{
	struct err e;
	const struct log_config quiet = { .has_level = true, .level = LOG_OFF };
	cr_assert_eq(log_configure(&quiet, &e), 0);
	fake_api_init(&fake);
	cr_assert_not_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/api.sock", dir);
	const struct api_config config = { path, MAX_PAYLOAD };
	cr_assert_eq(api_server_create(&config, fake_api_submit, &fake, &server, &e), 0, "%s",
		     e.text);
	cr_assert_eq(api_server_start(server, &e), 0, "%s", e.text);
}

static void teardown(void)
{
	struct stat st;
	api_server_destroy(server);
	cr_expect_eq(stat(path, &st), 0, "the socket file stays");
	(void)unlink(path);
	(void)rmdir(dir);
	fake_api_fini(&fake);
}

TestSuite(server, .init = setup, .fini = teardown, .timeout = 60);

/* --- a client --- */

static int dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	memcpy(addr.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void say(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
		cr_assert_gt(n, 0, "send: %s", strerror(errno));
		bytes += n;
		len -= (size_t)n;
	}
}

static void say_text(int fd, const char *text)
{
	say(fd, text, strlen(text));
}

/* Waits for at least one byte. 0 at the end of the stream, -1 if nothing comes in time. */
static ssize_t hear(int fd, char *buf, size_t size, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	if (poll(&p, 1, wait_ms) <= 0)
		return -1;
	return recv(fd, buf, size, 0);
}

static void expect_bytes(int fd, const char *want, const char *claim)
{
	char buf[4096];
	size_t len = strlen(want), got = 0;
	while (got < len) {
		ssize_t n = hear(fd, buf + got, len - got, WAIT_MS);
		cr_assert_gt(n, 0, "%s: after %.*s", claim, (int)got, buf);
		got += (size_t)n;
	}
	cr_expect(!memcmp(buf, want, len), "%s: got %.*s", claim, (int)got, buf);
}

static void expect_end(int fd, const char *claim)
{
	char byte;
	cr_expect_eq(hear(fd, &byte, 1, WAIT_MS), 0, "%s", claim);
}

static void expect_silence(int fd, const char *claim)
{
	char byte;
	cr_expect_eq(hear(fd, &byte, 1, 50), -1, "%s", claim);
}

#define HEAD(code)  "HTTP/1.1 " code " \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
#define OK_EMPTY    HEAD("204") "\r\n"
#define JSON(n)     "Content-Type: application/json\r\nContent-Length: " n "\r\n\r\n"
#define ENTROPY     "PUT /entropy HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
#define GET_VERSION "GET /version HTTP/1.1\r\n\r\n"
#define VERSION     HEAD("200") JSON("32") "{\"firecracker_version\":\"" WICK_API_VERSION "\"}"
#define FULL                                                               \
	"HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: close\r\n" \
	"Content-Length: 40\r\n\r\n{ \"error\": \"Too many open connections\" }"

static unsigned int open_descriptors(void)
{
	unsigned int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* --- what a well-behaved client sees --- */

Test(server, answers_and_keeps_the_connection)
{
	int fd = dial();
	for (int i = 0; i < 3; i++) {
		say_text(fd, ENTROPY);
		expect_bytes(fd, OK_EMPTY, "PUT");
		say_text(fd, GET_VERSION);
		expect_bytes(fd, VERSION, "GET");
	}
	expect_silence(fd, "nothing more than was asked for");
	close(fd);
}

Test(server, one_byte_at_a_time_is_fine)
{
	static const char request[] = ENTROPY;
	int fd = dial();
	for (size_t i = 0; i < sizeof(request) - 1; i++)
		say(fd, request + i, 1);
	expect_bytes(fd, OK_EMPTY, "PUT");
	close(fd);
}

Test(server, a_slow_writer_holds_up_nobody)
{
	int slow = dial(), other = dial();
	say_text(slow, "PUT /entropy HTTP/1.1\r\nContent-");
	for (int i = 0; i < 10; i++) {
		say_text(other, GET_VERSION);
		expect_bytes(other, VERSION, "the other client");
	}
	say_text(slow, "Length: 2\r\n\r\n{");
	expect_silence(slow, "half a body");
	say_text(slow, "}");
	expect_bytes(slow, OK_EMPTY, "the slow client");
	close(slow);
	close(other);
}

Test(server, continue_is_sent_before_the_body)
{
	int fd = dial();
	say_text(fd, "PUT /entropy HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	expect_bytes(fd, HEAD("100") "\r\n", "100");
	say_text(fd, "{}");
	expect_bytes(fd, OK_EMPTY, "204");
	close(fd);
}

Test(server, pipelined_requests_are_answered_in_order)
{
	int fd = dial();
	char *flood = malloc(1000 * (sizeof(ENTROPY) + sizeof(GET_VERSION)));
	size_t len = 0;
	for (int i = 0; i < 100; i++)
		len += (size_t)sprintf(flood + len, "%s%s", ENTROPY, GET_VERSION);
	say(fd, flood, len);
	for (int i = 0; i < 100; i++)
		expect_bytes(fd, OK_EMPTY VERSION, "a pair");
	free(flood);
	close(fd);
}

Test(server, a_half_closed_client_gets_its_answers)
{
	int fd = dial();
	say_text(fd, ENTROPY GET_VERSION ENTROPY);
	shutdown(fd, SHUT_WR);
	expect_bytes(fd, OK_EMPTY VERSION OK_EMPTY, "all answers");
	expect_end(fd, "then the end");
	close(fd);
}

Test(server, what_a_client_sent_before_it_left_is_done)
{
	int fd = dial();
	say_text(fd, ENTROPY);
	close(fd);
	fd = dial();
	say_text(fd, GET_VERSION);
	expect_bytes(fd, VERSION, "the next client");
	cr_expect_eq(fake.nactions, 1);
	close(fd);
}

Test(server, a_body_at_the_limit)
{
	int fd = dial();
	char *body = malloc(MAX_PAYLOAD);
	memset(body, ' ', MAX_PAYLOAD);
	memcpy(body, "{}", 2);
	say_text(fd, "PUT /entropy HTTP/1.1\r\nContent-Length: 51200\r\n\r\n");
	say(fd, body, MAX_PAYLOAD);
	expect_bytes(fd, OK_EMPTY, "51200 bytes");
	free(body);
	close(fd);
}

/* --- clients that do not behave --- */

Test(server, an_oversized_body_is_refused_and_need_not_be_sent_in_vain)
{
	int fd = dial();
	char *body = calloc(1, 4 * MIB);
	say_text(fd, "PUT /entropy HTTP/1.1\r\nContent-Length: 4194304\r\n\r\n");
	say(fd, body, 4 * MIB); /* the server reads on, so that this ends */
	expect_bytes(fd,
		     HEAD("400")
			     JSON("151") "{ \"error\": \"Request payload with size 4194304 is "
					 "larger than the limit of 51200 allowed by server.\n"
					 "All previous unanswered requests will be dropped.\" }",
		     "too large");
	expect_end(fd, "and no further request");
	free(body);
	close(fd);
}

Test(server, bytes_that_are_no_request)
{
	int fd = dial();
	say_text(fd, ENTROPY "FETCH / HTTP/1.1\r\n\r\n" ENTROPY);
	expect_bytes(fd,
		     OK_EMPTY HEAD("400") JSON("110") "{ \"error\": \"Invalid HTTP Method: "
						      "Unsupported HTTP method.\nAll previous "
						      "unanswered requests will be dropped.\" }",
		     "one answer, one refusal");
	expect_end(fd, "nothing behind it is read");
	cr_expect_eq(fake.nactions, 1);
	close(fd);
}

Test(server, the_eleventh_client_is_turned_away)
{
	int fds[10];
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial();
		say_text(fds[i], GET_VERSION);
		expect_bytes(fds[i], VERSION, "one of ten");
	}
	for (int i = 0; i < 3; i++) {
		int extra = dial();
		expect_bytes(extra, FULL, "the eleventh");
		expect_end(extra, "is closed");
		close(extra);
	}
	close(fds[3]);
	for (int tries = 0;; tries++) { /* the server may not have seen the close yet */
		char buf[64] = "";
		fds[3] = dial();
		say_text(fds[3], GET_VERSION);
		if (hear(fds[3], buf, 13, WAIT_MS) == 13 && !memcmp(buf, "HTTP/1.1 200 ", 13))
			break;
		close(fds[3]);
		cr_assert_lt(tries, 1000);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

Test(server, a_client_that_never_reads_holds_up_nobody)
{
	int deaf = dial(), other = dial();
	size_t sent = 0;
	for (;;) { /* until neither side takes more */
		ssize_t n = send(deaf, GET_VERSION, sizeof(GET_VERSION) - 1,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		struct pollfd p = { .fd = deaf, .events = POLLOUT };
		if (n < 0 && poll(&p, 1, 200) == 0)
			break;
		sent += n > 0 ? (size_t)n : 0;
		cr_assert_lt(sent, 64 * MIB, "the server buffers without end");
	}
	for (int i = 0; i < 10; i++) {
		say_text(other, GET_VERSION);
		expect_bytes(other, VERSION, "the other client");
	}
	close(deaf);
	say_text(other, GET_VERSION);
	expect_bytes(other, VERSION, "after the deaf one has gone");
	close(other);
}

Test(server, a_deaf_client_that_listens_after_all_gets_everything)
{
	int fd = dial();
	unsigned int sent = 0;
	size_t part = 0; /* bytes of the last request that went out */
	for (;;) {
		ssize_t n = send(fd, &GET_VERSION[part], sizeof(GET_VERSION) - 1 - part,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		if (n < 0 && poll(&p, 1, 200) == 0)
			break;
		part += n > 0 ? (size_t)n : 0;
		sent += part == sizeof(GET_VERSION) - 1;
		part %= sizeof(GET_VERSION) - 1;
	}
	for (unsigned int i = 0; i < sent; i++)
		expect_bytes(fd, VERSION, "each answer");
	close(fd);
}

Test(server, passed_descriptors_do_not_stay)
{
	int fd = dial();
	say_text(fd, GET_VERSION);
	expect_bytes(fd, VERSION, "warm");
	unsigned int before = open_descriptors();
	for (int i = 0; i < 20; i++) {
		char control[CMSG_SPACE(sizeof(int))] = "";
		struct iovec iov = { (void *)ENTROPY, sizeof(ENTROPY) - 1 };
		struct msghdr m = { .msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = control,
				    .msg_controllen = sizeof(control) };
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
		cr_assert_eq(sendmsg(fd, &m, 0), (ssize_t)iov.iov_len);
		expect_bytes(fd, OK_EMPTY, "a request with a descriptor");
	}
	cr_expect_eq(open_descriptors(), before);
	close(fd);
}

Test(server, clients_that_leave_in_the_middle_leave_nothing)
{
	static const char request[] = ENTROPY;
	unsigned int before = open_descriptors();
	for (size_t len = 0; len < sizeof(request); len++) {
		int fd = dial();
		say(fd, request, len);
		close(fd);
	}
	int fd = dial();
	say_text(fd, GET_VERSION);
	char buf[64];
	cr_expect_gt(hear(fd, buf, sizeof(buf), WAIT_MS), 0);
	close(fd);
	for (int i = 0; i < 1000 && open_descriptors() != before; i++)
		usleep(1000);
	cr_expect_eq(open_descriptors(), before);
}

/* --- making and ending one --- */

Test(server, a_taken_path_is_refused_in_firecrackers_words)
{
	struct api_server *second = NULL;
	struct err e;
	char want[256];
	const struct api_config config = { path, MAX_PAYLOAD };
	cr_expect_eq(api_server_create(&config, fake_api_submit, &fake, &second, &e), -EADDRINUSE);
	(void)snprintf(want, sizeof(want),
		       "Failed to open the API socket at: %s. Check that it is not already used.",
		       path);
	cr_expect_str_eq(e.text, want);
	cr_expect_null(second);
}

Test(server, impossible_paths_are_refused)
{
	struct api_server *other;
	struct err e;
	char longer[200];
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	const char *const paths[] = { "", longer, "/nonexistent/dir/sock" };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const struct api_config config = { paths[i], MAX_PAYLOAD };
		cr_expect_lt(api_server_create(&config, fake_api_submit, &fake, &other, &e), 0);
		cr_expect_not_null(strstr(e.text, paths[i]), "%s", e.text);
	}
}

Test(server, destroy_ends_it_with_clients_connected)
{
	struct api_server *other;
	struct err e;
	char second[128];
	(void)snprintf(second, sizeof(second), "%s/two.sock", dir);
	const struct api_config config = { second, MAX_PAYLOAD };
	cr_assert_eq(api_server_create(&config, fake_api_submit, &fake, &other, &e), 0);
	api_server_destroy(other); /* never started */
	(void)unlink(second);
	cr_assert_eq(api_server_create(&config, fake_api_submit, &fake, &other, &e), 0);
	cr_assert_eq(api_server_start(other, &e), 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	memcpy(addr.sun_path, second, strlen(second));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	say_text(fd, "PUT /entropy HTTP/1.1\r\n");
	api_server_destroy(other);
	char byte; /* the end, or a reset where the server had not read all of it */
	cr_expect_leq(hear(fd, &byte, 1, WAIT_MS), 0, "the client sees the end");
	close(fd);
	(void)unlink(second);
	api_server_destroy(NULL);
}
