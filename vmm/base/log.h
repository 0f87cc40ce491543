/*
 * The log: one process-wide sink, written by every thread, that never blocks a thread for its
 * reader. Line: "YYYY-MM-DDTHH:MM:SS.nnnnnnnnn [id:thread[:LEVEL][:file:line]] message"
 * (Firecracker's, UTC).
 */
#ifndef WICK_BASE_LOG_H
#define WICK_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* "Off", "Error", "Warn" or "Warning", "Info", "Debug", "Trace", in any case. */
bool log_level_parse(const char *name, enum log_level *ret);
const char *log_level_name(enum log_level level);

struct log_config {
	bool has_log_path;
	char log_path[4096];
	bool has_level;
	enum log_level level;
	bool has_show_level;
	bool show_level;
	bool has_show_log_origin;
	bool show_log_origin;
	bool has_module;
	char module[256]; /* only call sites whose file path starts with it; "" : all */
};

/*
 * `id` is copied (the microVM id). Until then lines say "anonymous-instance". A stdout that could block is opened
 * anew, non-blocking. Main thread, once.
 */
void log_init(const char *id);

/*
 * Applies a configuration (PUT /logger, --log-path …): a path is opened O_NONBLOCK|O_APPEND|O_CREAT
 * (file or FIFO); fields that are absent keep their value, except level, which goes back to Info as
 * in Firecracker. -errno with the message in `e`; nothing has changed then.
 */
int log_configure(const struct log_config *config, struct err *e);

/* Name of the calling thread in log lines (and its comm): at most 15 characters. */
void log_name_thread(const char *name);

bool log_is_enabled(enum log_level level);

void log_write(enum log_level level, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Async-signal-safe: writes `text` as a whole line without formatting through stdio. */
void log_write_from_signal(enum log_level level, const char *text);

/* Lines that were lost because the sink was full or gone; and lines that log_limited swallowed. */
uint64_t log_missed_count(void);
uint64_t log_limited_count(void);

/* A budget per call site for what a guest can provoke: 10 lines in 5 seconds, the rest counted. */
struct log_limit {
	uint64_t window_ns; /* start of the window; guarded by the log's lock */
	uint32_t lines;
};
bool log_limit_pass(struct log_limit *limit);

#define log_at(lvl, ...)                                                   \
	do {                                                               \
		if (log_is_enabled(lvl))                                   \
			log_write((lvl), __FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

/* For whatever a guest can cause: never more than the call site's budget. */
#define log_guest(lvl, ...)                                                 \
	do {                                                                \
		static struct log_limit log_limit_here;                     \
		if (log_is_enabled(lvl) && log_limit_pass(&log_limit_here)) \
			log_write((lvl), __FILE__, __LINE__, __VA_ARGS__);  \
	} while (0)

#endif
