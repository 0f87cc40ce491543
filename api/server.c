/*
 * The API server (struct api_server): a unix socket, at most ten connections, one thread ("fc_api") with its
 * own epoll. Owner: main. The thread alone touches connections once it runs; destroy stops it first.
 */
#include "api/server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/conn.h"
#include "vmm/base/cleanup.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"

#define CONNECTIONS_MAX 10
/*
 * The least that glibc takes on arm64; the deepest path (JSON of 128 levels, an error on the way, a
 * log line) needs a quarter.
 */
#define API_STACK_BYTES (128 * 1024)
#define BACKLOG         128

struct api_server {
	size_t max_payload;
	struct conn_service service;
	int listen_fd, epoll_fd, stop_fd;
	int reserve_fd; /* given up for a moment when there are no descriptors left */
	struct conn *conns[CONNECTIONS_MAX];
	bool is_running;
	pthread_t thread;
};

/* --- connections ------------------------------------------------------------------------------ */

/* Each source of events by its number: the connections are 0 to 9. */
enum { SOURCE_LISTEN = CONNECTIONS_MAX, SOURCE_STOP, SOURCE_COUNT };

static int watch(const struct api_server *s, int op, int fd, uint32_t events, uint32_t source)
{
	struct epoll_event ev = { .events = events, .data.u32 = source };
	return epoll_ctl(s->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
}

/* The 11th client gets an answer that no request of its asked for, and is closed. */
static void turn_away(int fd)
{
	static const char full[] = "HTTP/1.1 503\r\nServer: Firecracker API\r\n"
				   "Connection: close\r\nContent-Length: 40\r\n\r\n"
				   "{ \"error\": \"Too many open connections\" }";
	/* It fits a fresh socket's buffer; if the client is gone already, so be it. */
	(void)send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(fd); /* nothing to lose behind the answer */
}

static void add_connection(struct api_server *s, int fd)
{
	uint32_t i = 0;
	while (i < CONNECTIONS_MAX && s->conns[i])
		i++;
	if (i == CONNECTIONS_MAX) {
		turn_away(fd);
		return;
	}
	if (conn_create(fd, s->max_payload, &s->conns[i]) < 0) {
		log_error("No memory for another API connection");
		return;
	}
	int rc = watch(s, EPOLL_CTL_ADD, fd, EPOLLIN, i);
	if (rc < 0) {
		log_error("Cannot watch an API connection: %s", strerror(-rc));
		conn_destroy(s->conns[i]);
		s->conns[i] = NULL;
	}
}

/* Without a free descriptor the client would wait in the backlog and wake us for ever. */
static void refuse_without_descriptors(struct api_server *s)
{
	close_fd(&s->reserve_fd);
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	close_fd(&fd);
	s->reserve_fd = fcntl(s->epoll_fd, F_DUPFD_CLOEXEC, 0);
	log_error("No file descriptor left for an API connection");
}

static void accept_connection(struct api_server *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		add_connection(s, fd);
	else if (errno == EMFILE || errno == ENFILE)
		refuse_without_descriptors(s);
	/* Anything else is a client that has gone again. */
}

static void run_connection(struct api_server *s, uint32_t i, uint32_t events)
{
	struct conn *c = s->conns[i];
	if (!c)
		return;
	uint32_t before = conn_events(c);
	bool goes_on = conn_run(c, events, &s->service);
	if (goes_on && conn_events(c) != before)
		goes_on = watch(s, EPOLL_CTL_MOD, conn_fd(c), conn_events(c), i) == 0;
	if (!goes_on) {
		conn_destroy(c); /* closing takes it out of the epoll set */
		s->conns[i] = NULL;
	}
}

/* --- the thread ------------------------------------------------------------------------------- */

static void *serve(void *arg)
{
	struct api_server *s = arg;
	struct epoll_event events[SOURCE_COUNT];

	log_name_thread("fc_api");
	log_info("API server started.");
	for (;;) {
		int n = epoll_wait(s->epoll_fd, events, SOURCE_COUNT, -1);
		if (n < 0 && errno != EINTR) {
			log_error("The API server cannot wait for clients: %s", strerror(errno));
			return NULL;
		}
		for (int i = 0; i < n; i++) {
			uint32_t source = events[i].data.u32;
			if (source == SOURCE_STOP)
				return NULL;
			if (source == SOURCE_LISTEN)
				accept_connection(s);
			else
				run_connection(s, source, events[i].events);
		}
	}
}

/* --- public ----------------------------------------------------------------------------------- */

static int bind_socket(struct api_server *s, const char *path, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	if (len == 0 || len >= sizeof(addr.sun_path))
		return err_set(e, -ENAMETOOLONG,
			       "Failed to bind and run the HTTP server: the socket's path must "
			       "have 1 to %zu bytes: %.256s",
			       sizeof(addr.sun_path) - 1, path);
	memcpy(addr.sun_path, path, len);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd >= 0 && bind(s->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
	    listen(s->listen_fd, BACKLOG) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return err_set(
			e, -EADDRINUSE,
			"Failed to open the API socket at: %s. Check that it is not already used.",
			path);
	return err_set_os(e, -errno, "Failed to bind and run the HTTP server: IO error: %s", path);
}

static int open_events(struct api_server *s)
{
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll_fd < 0 || s->stop_fd < 0)
		return -errno;
	s->reserve_fd = fcntl(s->epoll_fd, F_DUPFD_CLOEXEC, 0);
	if (s->reserve_fd < 0)
		return -errno;
	int rc = watch(s, EPOLL_CTL_ADD, s->stop_fd, EPOLLIN, SOURCE_STOP);
	return rc < 0 ? rc : watch(s, EPOLL_CTL_ADD, s->listen_fd, EPOLLIN, SOURCE_LISTEN);
}

int api_server_create(const struct api_config *config, api_submit_fn submit, void *arg,
		      struct api_server **ret, struct err *e)
{
	struct api_server *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "No memory for the API server");
	*s = (struct api_server){ .max_payload = config->max_payload,
				  .service = { .submit = submit, .arg = arg },
				  .listen_fd = -1,
				  .epoll_fd = -1,
				  .stop_fd = -1,
				  .reserve_fd = -1 };
	s->service.request = calloc(1, sizeof(*s->service.request));
	int rc = s->service.request ? bind_socket(s, config->socket_path, e)
				    : err_set(e, -ENOMEM, "No memory for the API server");
	if (rc == 0 && (rc = open_events(s)) < 0)
		(void)err_set_os(e, rc, "Failed to bind and run the HTTP server: IO error");
	if (rc < 0) {
		api_server_destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int api_server_start(struct api_server *s, struct err *e)
{
	pthread_attr_t attr;
	int rc = pthread_attr_init(&attr);
	if (rc == 0) {
		rc = pthread_attr_setstacksize(&attr, API_STACK_BYTES);
		if (rc == 0)
			rc = pthread_create(&s->thread, &attr, serve, s);
		(void)pthread_attr_destroy(&attr); /* cannot fail on an initialised one */
	}
	if (rc != 0)
		return err_set_os(e, -rc, "Cannot start the API thread");
	s->is_running = true;
	return 0;
}

void api_server_destroy(struct api_server *s)
{
	if (!s)
		return;
	if (s->is_running) {
		(void)io_event_signal(s->stop_fd); /* a counter at its limit is signalled, too */
		(void)pthread_join(s->thread, NULL);
	}
	for (uint32_t i = 0; i < CONNECTIONS_MAX; i++)
		conn_destroy(s->conns[i]);
	close_fd(&s->listen_fd);
	close_fd(&s->epoll_fd);
	close_fd(&s->stop_fd);
	close_fd(&s->reserve_fd);
	free(s->service.request);
	free(s);
}
