/* Words of the whole machine: a guest physical address is never a plain integer by name. */
#ifndef WICK_CORE_TYPES_H
#define WICK_CORE_TYPES_H

#include <stdint.h>

typedef uint64_t gpa_t; /* guest physical address, bytes */

#endif
