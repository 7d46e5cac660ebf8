/* Networks as an operator lists them: "10.0.0.0/8, fd00::/8" (RFC 4632, RFC 4291). */
#pragma once
#include "error.h"
#include <stdbool.h>

#define NETWORKS_MAX    32       /* in one list */
#define NETWORK_BYTES   16       /* of an address: an IPv4 address is ::ffff:a.b.c.d */
#define NETWORK_V4      96       /* bits before those of an IPv4 address */

struct network {
    unsigned char  prefix[NETWORK_BYTES];
    int            bits;
};

struct networks {
    int             n;
    struct network  list[NETWORKS_MAX];
};

/* Whether the first bits of address are those of the network. */
bool network_has(const struct network *network, const unsigned char *address);

/* Appends those of a comma-separated list; ERR_INVALID with the rule, and then
 * what was appended is undefined. */
bool networks_parse(const char *text, struct networks *ret, struct error *err);

/* Bits of the narrowest one that has the address; -1 when none has. */
int networks_match(const struct networks *networks, const unsigned char *address);
