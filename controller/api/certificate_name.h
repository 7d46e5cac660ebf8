/* The names that a certificate may have. */
#pragma once
#include "error.h"
#include <stdbool.h>

/* A host name (RFC 1123 2.1), a wildcard (RFC 6125 6.4.3) or an address. */
bool certificate_name_check(const char *text, struct error *err);
