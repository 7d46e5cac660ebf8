/* Lists of networks are read as an operator means them, or refused with the rule. */
#include "network.h"

#include "tap.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char  *text;
    int          n;
} good[] = {
    { "", 0 }, { "  ", 0 }, { "10.0.0.0/8", 1 }, { " 10.0.0.0/8 ,\tfd00::/8 ", 2 },
    { "127.0.0.1/32", 1 }, { "::1/128", 1 }, { "fc00::/7", 1 }, { "10.0.0.0/008", 1 },
    { "128.0.0.0/8", 1 }, { "2001:db8:8000::/33", 1 },
};

static const struct {
    const char  *text, *rule;
} bad[] = {
    { "10.0.0.1/8",            "write 10.0.0.0/8 (RFC 4632 3.1)" },
    { "10.0.0.0/7",            "wider than /8" },
    { "0.0.0.0/0",             "wider than /8" },
    { "::/0",                  "wider than /7" },
    { "fd00::1/8",             "write fd00::/8" },
    { "2001:db8:8000::/32",    "write 2001:db8::/32" },
    { "10.0.0.0",              "CIDR notation" },
    { "10.0.0.0/",             "CIDR notation" },
    { "10.0.0.0/33",           "CIDR notation" },
    { "10.0.0.0/-8",           "CIDR notation" },
    { "10.0.0.0/+8",           "CIDR notation" },
    { "10.0.0.0/8x",           "CIDR notation" },
    { "10.0.0.0/ 8",           "CIDR notation" },
    { "10.0.0.0/99999999999999999999", "CIDR notation" },
    { "10.0.0.0 /8",           "CIDR notation" },
    { "10.0.0.0/8 fd00::/8",   "CIDR notation" },
    { "10.0.0/8",              "CIDR notation" },
    { "010.0.0.0/8",           "CIDR notation" },
    { "0x0a.0.0.0/8",          "CIDR notation" },
    { "edge.example/32",       "CIDR notation" },
    { "fd00::/129",            "CIDR notation" },
    { "fe80::1%lo/128",        "CIDR notation" },
    { "[::1]/128",             "CIDR notation" },
    { "10.0.0.0/8,",           "CIDR notation" },
    { ",10.0.0.0/8",           "CIDR notation" },
    { "10.0.0.0/8,,::1/128",   "CIDR notation" },
    { "::ffff:127.0.0.0/104",  "write it as IPv4" },
    { "::ffff:0:0/96",         "write it as IPv4" },
};

static int
match(const char *list, const char *address)
{
    struct error     err = { 0 };
    struct networks  networks = { 0 };
    unsigned char    bytes[NETWORK_BYTES] = { [10] = 0xff, [11] = 0xff };

    ok(networks_parse(list, &networks, &err), "%s: %s", list, err.detail);

    if (inet_pton(AF_INET, address, bytes + NETWORK_V4 / 8) != 1) {
        ok(inet_pton(AF_INET6, address, bytes) == 1, "%s is IPv6", address);
    }

    return networks_match(&networks, bytes);
}

static void
many(void)
{
    char             text[NETWORKS_MAX * 12 + 20] = "10.0.0.0/8";
    struct error     err = { 0 };
    struct networks  networks = { 0 };

    for (int i = 1; i < NETWORKS_MAX; i++) {
        snprintf(text + strlen(text), 12, ",10.0.0.0/8");
    }

    ok(networks_parse(text, &networks, &err), "as many as there may be");
    ok(!networks_parse("10.0.0.0/8", &networks, &err), "one more");
    ok(strstr(err.detail, "more than 32") != NULL, "%s", err.detail);
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct error     err = { 0 };
        struct networks  networks = { 0 };

        ok(networks_parse(good[i].text, &networks, &err), "\"%s\": %s", good[i].text,
           err.detail);
        ok(networks.n == good[i].n, "\"%s\": %d", good[i].text, networks.n);
    }

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error     err = { 0 };
        struct networks  networks = { 0 };

        ok(!networks_parse(bad[i].text, &networks, &err) && err.code == ERR_INVALID
           && strstr(err.detail, bad[i].rule), "\"%s\": %s", bad[i].text, err.detail);
    }

    ok(match("10.0.0.0/8", "10.255.0.1") == NETWORK_V4 + 8, "inside");
    ok(match("10.0.0.0/8", "11.0.0.0") == -1, "outside");
    ok(match("10.0.0.0/8, 10.1.0.0/16", "10.1.0.1") == NETWORK_V4 + 16, "the narrowest");
    ok(match("10.1.0.0/16, 10.0.0.0/8", "10.1.0.1") == NETWORK_V4 + 16, "in any order");
    ok(match("172.16.0.0/12", "172.31.255.255") == NETWORK_V4 + 12, "a bit in a byte");
    ok(match("172.16.0.0/12", "172.32.0.0") == -1, "and behind it");
    ok(match("fd00::/8", "fd12::1") == 8, "IPv6");
    ok(match("", "10.0.0.1") == -1, "none");
    ok(networks_match(NULL, (const unsigned char[NETWORK_BYTES]) { 0 }) == -1, "no list");
    many();

    return done_testing();
}
