/*
 * Reads /proc/PID/smaps, status and fd.
 */
#include "tests/bench/footprint.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LINE 512

static FILE *proc_open(pid_t pid, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

/* "Pss:      12 kB": whether the line has that key, and its number. */
static bool line_value(const char *line, const char *key, uint64_t *ret)
{
	size_t n = strlen(key);

	return strncmp(line, key, n) == 0 && line[n] == ':' &&
	       sscanf(line + n + 1, "%lu", ret) == 1;
}

struct mapping {
	char head[LINE]; /* addresses, access, file */
	bool is_writable;
	uint64_t size, rss, pss, anon;
};

static void mapping_count(const struct mapping *m, uint64_t ram_kib, bool verbose,
			  struct footprint *f)
{
	bool is_ram = m->is_writable && m->size >= ram_kib;

	if (is_ram) {
		f->ram_pss_kib += m->pss;
	} else {
		f->pss_kib += m->pss;
		f->rss_kib += m->rss;
		f->anon_kib += m->anon;
	}
	if (verbose && m->rss)
		(void)fprintf(stderr, "MAP %s size %lu rss %lu pss %lu anon %lu : %s",
			      is_ram ? "ram" : "own", m->size, m->rss, m->pss, m->anon, m->head);
}

static int smaps_read(pid_t pid, uint64_t ram_kib, bool verbose, struct footprint *f)
{
	char line[LINE], access[8];
	struct mapping m = { 0 };
	FILE *smaps = proc_open(pid, "smaps");

	if (!smaps)
		return -errno;
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%*x-%*x %7s", access) == 1) {
			mapping_count(&m, ram_kib, verbose, f);
			m = (struct mapping){ .is_writable = access[1] == 'w' };
			memcpy(m.head, line, sizeof(m.head));
		}
		(void)(line_value(line, "Size", &m.size) || line_value(line, "Rss", &m.rss) ||
		       line_value(line, "Pss", &m.pss) || line_value(line, "Anonymous", &m.anon));
	}
	mapping_count(&m, ram_kib, verbose, f);
	(void)fclose(smaps);
	return 0;
}

static int status_read(pid_t pid, struct footprint *f)
{
	char line[LINE];
	FILE *status = proc_open(pid, "status");

	if (!status)
		return -errno;
	while (fgets(line, sizeof(line), status))
		(void)(line_value(line, "Threads", &f->threads) ||
		       line_value(line, "VmPTE", &f->page_tables_kib));
	(void)fclose(status);
	return 0;
}

static int fds_count(pid_t pid, struct footprint *f)
{
	char path[64];
	const struct dirent *entry;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		f->fds += entry->d_name[0] != '.';
	(void)closedir(dir);
	return 0;
}

int footprint_read(pid_t pid, uint64_t ram_mib, bool verbose, struct footprint *ret)
{
	struct footprint f = { 0 };
	int rc = smaps_read(pid, ram_mib * 1024, verbose, &f);

	if (rc == 0)
		rc = status_read(pid, &f);
	if (rc == 0)
		rc = fds_count(pid, &f);
	if (rc == 0)
		*ret = f;
	return rc;
}
