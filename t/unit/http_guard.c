/* The guard knows every reserved address, however it is written. */
#include "http_internal.h"

#include "tap.h"
#include <arpa/inet.h>
#include <netinet/in.h>

static const struct {
    const char  *address;
    const char  *what;         /* NULL: public */
} cases[] = {
    { "0.0.0.0",             "this host" },
    { "10.0.0.1",            "private" },
    { "100.63.255.255",      NULL },
    { "100.64.0.1",          "carrier-grade NAT" },
    { "100.127.255.255",     "carrier-grade NAT" },
    { "100.128.0.0",         NULL },
    { "127.0.0.1",           "loopback" },
    { "127.255.255.254",     "loopback" },
    { "128.0.0.1",           NULL },
    { "169.254.169.254",     "link-local" },
    { "172.15.255.255",      NULL },
    { "172.16.0.1",          "private" },
    { "172.31.255.255",      "private" },
    { "172.32.0.1",          NULL },
    { "192.168.1.1",         "private" },
    { "198.18.0.1",          "benchmarking" },
    { "198.19.255.255",      "benchmarking" },
    { "224.0.0.1",           "multicast" },
    { "255.255.255.255",     "reserved" },
    { "8.8.8.8",             NULL },
    { "::",                  "unspecified" },
    { "::1",                 "loopback" },
    { "::ffff:127.0.0.1",    "loopback" },
    { "::ffff:8.8.8.8",      NULL },
    { "64:ff9b::10.1.2.3",   "private" },
    { "64:ff9b::8.8.8.8",    NULL },
    { "64:ff9b:1::1",        "local translation" },
    { "100::1",              "discard" },
    { "2001:db8::1",         "documentation" },
    { "2001::1",             "protocol assignments" },
    { "2002:7f00:1::",       "6to4" },
    { "2606:4700::1111",     NULL },
    { "fc00::1",             "private" },
    { "fdff::1",             "private" },
    { "fe80::1",             "link-local" },
    { "febf::1",             "link-local" },
    { "fec0::1",             "site-local" },
    { "ff02::1",             "multicast" }
};

int
main(void)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sockaddr_in   v4 = { .sin_family = AF_INET };
        struct sockaddr_in6  v6 = { .sin6_family = AF_INET6 };
        const char          *got;

        if (inet_pton(AF_INET, cases[i].address, &v4.sin_addr) == 1) {
            got = http_address_reserved((struct sockaddr *) &v4);

        } else {
            ok(inet_pton(AF_INET6, cases[i].address, &v6.sin6_addr) == 1,
               "%s is IPv6", cases[i].address);
            got = http_address_reserved((struct sockaddr *) &v6);
        }

        is_str(got, cases[i].what, "%s: %s", cases[i].address,
               cases[i].what ? cases[i].what : "public");
    }

    return done_testing();
}
