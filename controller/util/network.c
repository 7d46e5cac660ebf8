/* Reads a list of networks and finds addresses in it. */
#include "network.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A wider one would hold networks of strangers: the widest that are of one
 * purpose are 127.0.0.0/8 and fc00::/7. */
#define V4_MIN  8
#define V6_MIN  7

static const struct network  v4_mapped = {
    { [10] = 0xff, [11] = 0xff }, NETWORK_V4
};

bool
network_has(const struct network *network, const unsigned char *address)
{
    int  whole = network->bits / 8;
    int  rest = network->bits % 8;

    if (memcmp(address, network->prefix, whole) != 0) {
        return false;
    }

    return rest == 0
           || (address[whole] ^ network->prefix[whole]) >> (8 - rest) == 0;
}

int
networks_match(const struct networks *networks, const unsigned char *address)
{
    int  best = -1;

    for (int i = 0; networks && i < networks->n; i++) {
        if (networks->list[i].bits > best
            && network_has(&networks->list[i], address))
        {
            best = networks->list[i].bits;
        }
    }

    return best;
}

/* "10.0.0.0" or "fd00::"; *first is where the family's own bits begin. */
static bool
parse_address(const char *text, unsigned char *address, int *first)
{
    if (inet_pton(AF_INET, text, address + NETWORK_V4 / 8) == 1) {
        memcpy(address, v4_mapped.prefix, NETWORK_V4 / 8);
        *first = NETWORK_V4;
        return true;
    }

    *first = 0;

    return inet_pton(AF_INET6, text, address) == 1;
}

static bool
parse_bits(const char *text, int max, int *ret)
{
    char  *end;
    long   n = strtol(text, &end, 10);

    if (strspn(text, "0123456789") == 0 || *end || n > max) {
        return false;
    }

    *ret = (int) n;

    return true;
}

/* Bits behind the prefix are 0: else one of both numbers is a mistake. */
static bool
check_rest(const struct network *network, const char *text, int first,
    struct error *err)
{
    char            meant[INET6_ADDRSTRLEN] = "";
    struct network  cut = *network;

    for (int i = cut.bits; i < NETWORK_BYTES * 8; i++) {
        cut.prefix[i / 8] &= (unsigned char) ~(0x80 >> i % 8);
    }

    if (memcmp(cut.prefix, network->prefix, NETWORK_BYTES) == 0) {
        return true;
    }

    inet_ntop(first ? AF_INET : AF_INET6, cut.prefix + first / 8, meant,
              sizeof(meant));

    return error_set(err, ERR_INVALID, "%s has bits behind its prefix: write %s/%d "
                     "(RFC 4632 3.1)", text, meant, cut.bits - first);
}

static bool
parse_one(const char *text, struct network *ret, struct error *err)
{
    char   address[INET6_ADDRSTRLEN + 1];
    int    first, least;
    size_t len = strcspn(text, "/");

    snprintf(address, sizeof(address), "%.*s", (int) len, text);

    if (text[len] == '\0' || len >= sizeof(address)
        || !parse_address(address, ret->prefix, &first)
        || !parse_bits(text + len + 1, NETWORK_BYTES * 8 - first, &ret->bits))
    {
        return error_set(err, ERR_INVALID, "\"%.60s\" is not a network in CIDR "
                         "notation, such as 10.0.0.0/8 or fd00::/8 (RFC 4632 3.1)",
                         text);
    }

    least = first ? V4_MIN : V6_MIN;

    if (ret->bits < least) {
        return error_set(err, ERR_INVALID, "%s is wider than /%d: list the networks "
                         "one by one", text, least);
    }

    ret->bits += first;

    if (first == 0 && ret->bits >= NETWORK_V4 && network_has(&v4_mapped, ret->prefix)) {
        return error_set(err, ERR_INVALID, "%s is an IPv4 network in IPv6 notation: "
                         "write it as IPv4 (RFC 4291 2.5.5.2)", text);
    }

    return check_rest(ret, text, first, err);
}

/* Without the blanks around it; cut off when it is too long to be right. */
static void
trim(const char *text, size_t len, char *out, size_t size)
{
    while (len && (*text == ' ' || *text == '\t')) {
        text++;
        len--;
    }

    while (len && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
        len--;
    }

    snprintf(out, size, "%.*s", (int) len, text);
}

bool
networks_parse(const char *text, struct networks *ret, struct error *err)
{
    char    one[INET6_ADDRSTRLEN + 8];
    size_t  len;

    if (text[strspn(text, " \t")] == '\0') {
        return true;
    }

    for ( ;; text += len + 1) {
        len = strcspn(text, ",");
        trim(text, len, one, sizeof(one));

        if (ret->n == NETWORKS_MAX) {
            return error_set(err, ERR_INVALID, "there are more than %d networks",
                             NETWORKS_MAX);
        }

        if (!parse_one(one, &ret->list[ret->n], err)) {
            return false;
        }

        ret->n++;

        if (text[len] == '\0') {
            return true;
        }
    }
}
