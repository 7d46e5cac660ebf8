/* Small files that an operator names in a configuration. */
#pragma once
#include "error.h"
#include <stddef.h>

/*
 * The text of a regular file of less than max octets, to be freed with seal_wipe(),
 * as it may hold a key.  NULL with the path and the reason in err.
 */
char *file_text(const char *path, size_t max, struct error *err);
