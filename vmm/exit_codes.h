/* Process exit codes, Firecracker's numbers (contract 2.1): platforms tell causes apart by them. */
#ifndef WICK_EXIT_CODES_H
#define WICK_EXIT_CODES_H

enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_GENERIC = 1,
	EXIT_CODE_UNEXPECTED = 2,
	EXIT_CODE_SIGSYS = 148,
	EXIT_CODE_SIGBUS = 149,
	EXIT_CODE_SIGSEGV = 150,
	EXIT_CODE_SIGXFSZ = 151,
	EXIT_CODE_BAD_CONFIGURATION = 152, /* config file, logger options */
	EXIT_CODE_ARGUMENTS = 153,
	EXIT_CODE_SIGXCPU = 154,
	EXIT_CODE_SIGHUP = 156, /* 155, SIGPIPE's, is never used: SIGPIPE is only logged */
	EXIT_CODE_SIGILL = 157,
};

#endif
