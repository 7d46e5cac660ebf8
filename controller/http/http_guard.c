/* Which addresses a stranger's URL must not lead us to (RFC 6890, RFC 4291). */
#include "http_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct block {
    unsigned char  prefix[16];
    int            bits;
    const char    *what;
};

/* To add one: add a row; the first that fits is named in the error. */
static const struct block  v4_blocks[] = {
    { { 0 },                 8, "this host" },
    { { 10 },                8, "private" },
    { { 100, 64 },          10, "carrier-grade NAT" },
    { { 127 },               8, "loopback" },
    { { 169, 254 },         16, "link-local" },
    { { 172, 16 },          12, "private" },
    { { 192, 0, 0 },        24, "protocol assignments" },
    { { 192, 0, 2 },        24, "documentation" },
    { { 192, 88, 99 },      24, "6to4 relay" },
    { { 192, 168 },         16, "private" },
    { { 198, 18 },          15, "benchmarking" },
    { { 198, 51, 100 },     24, "documentation" },
    { { 203, 0, 113 },      24, "documentation" },
    { { 224 },               4, "multicast" },
    { { 240 },               4, "reserved" }
};

static const struct block  v6_blocks[] = {
    { { [15] = 1 },                  128, "loopback" },
    { { 0 },                         128, "unspecified" },
    { { 0x00, 0x64, 0xff, 0x9b, 0, 1 }, 48, "local translation" },
    { { 0x01 },                       64, "discard" },
    { { 0x20, 0x01, 0x00 },           23, "protocol assignments" },
    { { 0x20, 0x01, 0x0d, 0xb8 },     32, "documentation" },
    { { 0x20, 0x02 },                 16, "6to4" },
    { { 0xfc },                        7, "private" },
    { { 0xfe, 0x80 },                 10, "link-local" },
    { { 0xfe, 0xc0 },                 10, "site-local" },
    { { 0xff },                        8, "multicast" }
};

/* IPv6 forms that carry an IPv4 address in their last four bytes. */
static const struct block  v4_carriers[] = {
    { { [10] = 0xff, [11] = 0xff },   96, "mapped" },
    { { 0x00, 0x64, 0xff, 0x9b },     96, "NAT64" }
};


static bool
in_block(const unsigned char *address, const struct block *block)
{
    int  whole = block->bits / 8;
    int  rest = block->bits % 8;

    if (memcmp(address, block->prefix, whole) != 0) {
        return false;
    }

    return rest == 0
           || (address[whole] ^ block->prefix[whole]) >> (8 - rest) == 0;
}

static const char *
find(const unsigned char *address, const struct block *blocks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (in_block(address, &blocks[i])) {
            return blocks[i].what;
        }
    }

    return NULL;
}

#define FIND(address, blocks)                                                 \
    find(address, blocks, sizeof(blocks) / sizeof(blocks[0]))

const char *
http_address_reserved(const struct sockaddr *address)
{
    const unsigned char  *bytes;

    if (address->sa_family == AF_INET) {
        bytes = (const void *)
                &((const struct sockaddr_in *) address)->sin_addr;
        return FIND(bytes, v4_blocks);
    }

    if (address->sa_family != AF_INET6) {
        return "neither IPv4 nor IPv6";
    }

    bytes = (const void *) &((const struct sockaddr_in6 *) address)->sin6_addr;

    if (FIND(bytes, v4_carriers)) {
        return FIND(bytes + 12, v4_blocks);
    }

    return FIND(bytes, v6_blocks);
}
