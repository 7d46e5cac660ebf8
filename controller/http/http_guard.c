/* Which addresses a URL must not lead us to (RFC 6890, RFC 4291 and their registries). */
#include "http_internal.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define V4(a, b, c, d, bits)                                                  \
    { { [10] = 0xff, [11] = 0xff, a, b, c, d }, NETWORK_V4 + (bits) }

#define V6(bits, ...)  { { __VA_ARGS__ }, bits }

/*
 * Each with the reach from which it is allowed: HTTP_ANYWHERE are those that no
 * host of a fleet has.  To add one: add a row, before those that contain it, as
 * the first that fits decides.
 */
static const struct reserved {
    struct network   network;
    enum http_reach  reach;
    const char      *what;
} reserved[] = {
    /* what clouds tell a machine about itself, its passwords included; one is
       a public address, three are in private networks */
    { V4(169, 254, 169, 0, 24),                      HTTP_ANYWHERE, "cloud metadata" },
    { V4(169, 254, 170, 0, 24),                      HTTP_ANYWHERE, "cloud metadata" },
    { V4(169, 254, 42, 42, 32),                      HTTP_ANYWHERE, "cloud metadata" },
    { V4(100, 100, 100, 200, 32),                    HTTP_ANYWHERE, "cloud metadata" },
    { V4(168, 63, 129, 16, 32),                      HTTP_ANYWHERE, "cloud metadata" },
    { V4(192, 0, 0, 192, 32),                        HTTP_ANYWHERE, "cloud metadata" },
    { V6(32, 0xfd, 0x00, 0x0e, 0xc2),                HTTP_ANYWHERE, "cloud metadata" },
    { V6(32, 0xfd, 0x20, 0x00, 0xce),                HTTP_ANYWHERE, "cloud metadata" },
    { V6(128, 0xfd, 0, 0, 0x42, [15] = 0x42),        HTTP_ANYWHERE, "cloud metadata" },
    { V6(128, 0xfe, 0x80, [12] = 0xa9, 0xfe, 0xa9, 0xfe), HTTP_ANYWHERE, "cloud metadata" },

    /* the controller's own host answers at each of the first */
    { V4(0, 0, 0, 0, 32),                            HTTP_ANYWHERE, "unspecified" },
    { V4(0, 0, 0, 0, 8),                             HTTP_ANYWHERE, "this network" },
    { V4(10, 0, 0, 0, 8),                            HTTP_PRIVATE,  "private" },
    { V4(100, 64, 0, 0, 10),                         HTTP_PRIVATE,  "carrier-grade NAT" },
    { V4(127, 0, 0, 0, 8),                           HTTP_LOOPBACK, "loopback" },
    { V4(169, 254, 0, 0, 16),                        HTTP_ANYWHERE, "link-local" },
    { V4(172, 16, 0, 0, 12),                         HTTP_PRIVATE,  "private" },
    { V4(192, 0, 0, 0, 24),                          HTTP_ANYWHERE, "protocol assignments" },
    { V4(192, 0, 2, 0, 24),                          HTTP_PRIVATE,  "documentation" },
    { V4(192, 88, 99, 0, 24),                        HTTP_ANYWHERE, "6to4 relay" },
    { V4(192, 168, 0, 0, 16),                        HTTP_PRIVATE,  "private" },
    { V4(198, 18, 0, 0, 15),                         HTTP_PRIVATE,  "benchmarking" },
    { V4(198, 51, 100, 0, 24),                       HTTP_PRIVATE,  "documentation" },
    { V4(203, 0, 113, 0, 24),                        HTTP_PRIVATE,  "documentation" },
    { V4(224, 0, 0, 0, 4),                           HTTP_ANYWHERE, "multicast" },
    { V4(255, 255, 255, 255, 32),                    HTTP_ANYWHERE, "broadcast" },
    { V4(240, 0, 0, 0, 4),                           HTTP_ANYWHERE, "reserved" },

    { V6(128, [15] = 1),                             HTTP_LOOPBACK, "loopback" },
    { V6(128, 0),                                    HTTP_ANYWHERE, "unspecified" },
    { V6(96, 0),                                     HTTP_ANYWHERE, "IPv4-compatible" },
    { V6(48, 0x00, 0x64, 0xff, 0x9b, 0, 1),          HTTP_ANYWHERE, "local NAT64" },
    { V6(64, 0x01),                                  HTTP_ANYWHERE, "discard" },
    { V6(32, 0x20, 0x01, 0, 0),                      HTTP_ANYWHERE, "Teredo" },
    { V6(23, 0x20, 0x01),                            HTTP_ANYWHERE, "protocol assignments" },
    { V6(32, 0x20, 0x01, 0x0d, 0xb8),                HTTP_PRIVATE,  "documentation" },
    { V6(16, 0x20, 0x02),                            HTTP_ANYWHERE, "6to4" },
    { V6(20, 0x3f, 0xff),                            HTTP_PRIVATE,  "documentation" },
    { V6(7, 0xfc),                                   HTTP_PRIVATE,  "private" },
    { V6(10, 0xfe, 0x80),                            HTTP_ANYWHERE, "link-local" },
    { V6(10, 0xfe, 0xc0),                            HTTP_ANYWHERE, "site-local" },
    { V6(8, 0xff),                                   HTTP_ANYWHERE, "multicast" },

    /* all but 2000::/3, from which public addresses are assigned */
    { V6(3, 0),                                      HTTP_ANYWHERE, "not assigned" },
    { V6(2, 0x40),                                   HTTP_ANYWHERE, "not assigned" },
    { V6(1, 0x80),                                   HTTP_ANYWHERE, "not assigned" },
};

/* Prefixes of IPv6 addresses that end in the IPv4 address that a gateway, or our
 * own kernel, connects to instead. */
static const struct network  v4_carriers[] = {
    V4(0, 0, 0, 0, 0),                           /* mapped, RFC 4291 2.5.5.2 */
    V6(96, [8] = 0xff, 0xff),                    /* translated, RFC 7915 */
    V6(96, 0x00, 0x64, 0xff, 0x9b),              /* NAT64, RFC 6052 2.1 */
};

/* RFC 5214 6.1: below any prefix, the last eight bytes are 5efe and an IPv4
 * address; the bit in the first says that it is unique. */
static bool
is_isatap(const unsigned char *address)
{
    static const unsigned char  id[] = { 0x00, 0x5e, 0xfe };

    return (address[8] & ~0x02) == 0 && memcmp(address + 9, id, sizeof(id)) == 0;
}

/* Into the one form that the table has. */
static bool
normalize(const struct sockaddr *from, unsigned char *address)
{
    bool  v4 = from->sa_family == AF_INET;

    if (!v4 && from->sa_family != AF_INET6) {
        return false;
    }

    if (v4) {
        memcpy(address + NETWORK_V4 / 8,
               &((const struct sockaddr_in *) from)->sin_addr, 4);
    } else {
        memcpy(address, &((const struct sockaddr_in6 *) from)->sin6_addr,
               NETWORK_BYTES);
    }

    for (size_t i = 0; i < sizeof(v4_carriers) / sizeof(v4_carriers[0]); i++) {
        v4 = v4 || network_has(&v4_carriers[i], address);
    }

    if (v4) {
        memcpy(address, v4_carriers[0].prefix, NETWORK_V4 / 8);
    }

    return true;
}

/* The first that fits; NULL for an address of the Internet. */
static const struct reserved *
find(const unsigned char *address)
{
    bool  v4 = network_has(&v4_carriers[0], address);

    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (v4 == (reserved[i].network.bits > NETWORK_V4
                   && network_has(&v4_carriers[0], reserved[i].network.prefix))
            && network_has(&reserved[i].network, address))
        {
            return &reserved[i];
        }
    }

    return NULL;
}

static const char *
judge(const struct networks *allowed, enum http_reach reach,
    const unsigned char *address)
{
    const struct reserved  *row = find(address);

    if (row == NULL || reach >= row->reach) {
        return NULL;
    }

    /* a wide network in the list does not open a narrow one in the table */
    return reach >= HTTP_PRIVATE
           && networks_match(allowed, address) >= row->network.bits
           ? NULL : row->what;
}

const char *
http_address_reserved(const struct networks *allowed, enum http_reach reach,
    const struct sockaddr *address)
{
    const char     *what;
    unsigned char   bytes[NETWORK_BYTES] = { 0 };

    if (reach == HTTP_ANYWHERE) {
        return NULL;
    }

    if (!normalize(address, bytes)) {
        return "neither IPv4 nor IPv6";
    }

    what = judge(allowed, reach, bytes);

    if (what == NULL && is_isatap(bytes)) {
        memcpy(bytes, v4_carriers[0].prefix, NETWORK_V4 / 8);
        what = judge(allowed, reach, bytes);
    }

    return what;
}

const char *
http_address_unusable(const char *text)
{
    static const struct networks   none = { 0 };
    struct sockaddr_in             v4 = { .sin_family = AF_INET };
    struct sockaddr_in6            v6 = { .sin6_family = AF_INET6 };
    const struct sockaddr         *address = NULL;

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        address = (const struct sockaddr *) &v4;

    } else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        address = (const struct sockaddr *) &v6;
    }

    return address ? http_address_reserved(&none, HTTP_LOOPBACK, address) : NULL;
}

bool
http_guard(const struct networks *allowed, enum http_reach reach,
    const struct sockaddr *address, struct error *err)
{
    char         text[INET6_ADDRSTRLEN] = "";
    const char  *what = http_address_reserved(allowed, reach, address);

    if (what == NULL) {
        return true;
    }

    inet_ntop(address->sa_family,
              address->sa_family == AF_INET
              ? (const void *) &((const struct sockaddr_in *) address)->sin_addr
              : (const void *) &((const struct sockaddr_in6 *) address)->sin6_addr,
              text, sizeof(text));

    return error_set(err, ERR_FORBIDDEN, "address %s is reserved (%s)%s", text, what,
                     reach >= HTTP_PRIVATE ? " and outgoing_networks does not list it"
                                           : "");
}

/* RFC 6761 6.3: these names are loopback, whatever a name server says. */
static bool
is_localhost(const char *host)
{
    size_t             len = strlen(host);
    static const char  name[] = ".localhost";

    if (len && host[len - 1] == '.') {
        len--;
    }

    return (len == sizeof(name) - 2 && strncasecmp(host, name + 1, len) == 0)
           || (len > sizeof(name) - 1
               && strncasecmp(host + len - (sizeof(name) - 1), name,
                              sizeof(name) - 1) == 0);
}

static bool
host_allowed(const struct networks *allowed, enum http_reach reach,
    const char *host, struct error *err)
{
    bool                    ok;
    struct error            other = { 0 };
    struct addrinfo        *found;
    const struct addrinfo   hints = { .ai_flags = AI_NUMERICHOST,
                                      .ai_socktype = SOCK_STREAM };

    if (is_localhost(host)) {
        return host_allowed(allowed, reach, "::1", &other)
               || host_allowed(allowed, reach, "127.0.0.1", err);
    }

    if (getaddrinfo(host, NULL, &hints, &found) != 0) {
        return true;
    }

    ok = http_guard(allowed, reach, found->ai_addr, err);
    freeaddrinfo(found);

    return ok;
}

bool
http_url_allowed(const struct networks *allowed, enum http_reach reach,
    const char *text, struct error *err)
{
    bool    ok = true;
    char   *host = NULL, *bare;
    CURLU  *url = curl_url();

    if (url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK)
    {
        bare = host + (*host == '[');
        bare[strcspn(bare, "]")] = '\0';
        ok = host_allowed(allowed, reach, bare, err);
    }

    curl_free(host);
    curl_url_cleanup(url);

    return ok;
}
