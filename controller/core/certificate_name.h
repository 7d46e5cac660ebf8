/* What a name of a certificate is, and whether anybody may have it. */
#pragma once
#include "error.h"
#include <stdbool.h>

/* A host name (RFC 1123 2.1, IDNA2008), a wildcard (RFC 6125 6.4.3) or an address. */
bool certificate_name_check(const char *text, struct error *err);

/*
 * As it stands in a certificate: other scripts as A-labels (RFC 5890 2.3.2.1),
 * without the dot that ends an absolute name, addresses as RFC 5952 writes them.
 * NULL when it is no name; free().
 */
char *certificate_name_canonical(const char *text);

/* Why no host has this name, which check accepts: "a public suffix"; NULL: it may. */
const char *certificate_name_reserved(const char *name);
