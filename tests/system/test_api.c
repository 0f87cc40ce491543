/* Runs test_api.py, which speaks to the API through curl and Python's http.client, and holds it to its word. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "harness.h"

TestSuite(api, .fini = harness_end);

enum { CLAIMS = 60 };

Test(api, clients_find_what_firecracker_promises)
{
	char line[4096];
	unsigned int ok = 0, claims = 0;
	FILE *p = popen(format("python3 '%s' 2>&1", built("system/test_api.py")), "r");

	cr_assert(p);
	while (fgets(line, sizeof(line), p)) {
		if (strncmp(line, "ok   ", 5) == 0)
			ok++;
		else if (sscanf(line, "claims: %u", &claims) != 1)
			fprintf(stderr, "%s", line);
	}
	int status = pclose(p);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		  "test_api.py has failed; its words are above");
	/* A script that leaves claims out has not passed. */
	cr_assert_eq(ok, CLAIMS, "%u claims held, %d are to be made", ok, CLAIMS);
	cr_assert_eq(claims, CLAIMS);
}
