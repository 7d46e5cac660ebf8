/* The guard knows every reserved address, however it is written, and who may go there. */
#include "http_internal.h"

#include "tap.h"
#include <arpa/inet.h>
#include <netinet/in.h>

/* From where on it is allowed: P a public address, F private networks, L loopback,
 * - nowhere but by the list. */
static const struct {
    const char  *address;
    const char  *what;         /* NULL: public */
    char         from;
} cases[] = {
    { "0.0.0.0",             "unspecified",          '-' },
    { "0.1.2.3",             "this network",         '-' },
    { "10.0.0.1",            "private",              'F' },
    { "100.63.255.255",      NULL,                   'P' },
    { "100.64.0.1",          "carrier-grade NAT",    'F' },
    { "100.100.100.199",     "carrier-grade NAT",    'F' },
    { "100.100.100.200",     "cloud metadata",       '-' },
    { "100.127.255.255",     "carrier-grade NAT",    'F' },
    { "100.128.0.0",         NULL,                   'P' },
    { "127.0.0.1",           "loopback",             'L' },
    { "127.255.255.254",     "loopback",             'L' },
    { "128.0.0.1",           NULL,                   'P' },
    { "168.63.129.15",       NULL,                   'P' },
    { "168.63.129.16",       "cloud metadata",       '-' },
    { "169.253.255.255",     NULL,                   'P' },
    { "169.254.0.1",         "link-local",           '-' },
    { "169.254.42.42",       "cloud metadata",       '-' },
    { "169.254.169.254",     "cloud metadata",       '-' },
    { "169.254.170.2",       "cloud metadata",       '-' },
    { "169.255.0.0",         NULL,                   'P' },
    { "172.15.255.255",      NULL,                   'P' },
    { "172.16.0.1",          "private",              'F' },
    { "172.31.255.255",      "private",              'F' },
    { "172.32.0.1",          NULL,                   'P' },
    { "192.0.0.170",         "protocol assignments", '-' },
    { "192.0.0.192",         "cloud metadata",       '-' },
    { "192.0.2.1",           "documentation",        'F' },
    { "192.88.99.1",         "6to4 relay",           '-' },
    { "192.168.1.1",         "private",              'F' },
    { "198.18.0.1",          "benchmarking",         'F' },
    { "198.19.255.255",      "benchmarking",         'F' },
    { "198.51.100.1",        "documentation",        'F' },
    { "203.0.113.1",         "documentation",        'F' },
    { "224.0.0.1",           "multicast",            '-' },
    { "239.255.255.255",     "multicast",            '-' },
    { "240.0.0.1",           "reserved",             '-' },
    { "255.255.255.255",     "broadcast",            '-' },
    { "8.8.8.8",             NULL,                   'P' },

    { "::",                  "unspecified",          '-' },
    { "::1",                 "loopback",             'L' },
    { "::2",                 "IPv4-compatible",      '-' },
    { "::127.0.0.1",         "IPv4-compatible",      '-' },
    { "::8.8.8.8",           "IPv4-compatible",      '-' },
    { "::ffff:0.0.0.0",      "unspecified",          '-' },
    { "::ffff:127.0.0.1",    "loopback",             'L' },
    { "::ffff:7f00:1",       "loopback",             'L' },
    { "::ffff:a9fe:a9fe",    "cloud metadata",       '-' },
    { "::ffff:10.1.2.3",     "private",              'F' },
    { "::ffff:8.8.8.8",      NULL,                   'P' },
    { "::ffff:0:127.0.0.1",  "loopback",             'L' },
    { "::ffff:0:8.8.8.8",    NULL,                   'P' },
    { "::fffe:127.0.0.1",    "not assigned",         '-' },
    { "64:ff9b::10.1.2.3",   "private",              'F' },
    { "64:ff9b::a9fe:a9fe",  "cloud metadata",       '-' },
    { "64:ff9b::8.8.8.8",    NULL,                   'P' },
    { "64:ff9b:1::1",        "local NAT64",          '-' },
    { "64:ff9b:1::8.8.8.8",  "local NAT64",          '-' },
    { "64:ff9b:2::1",        "not assigned",         '-' },
    { "100::1",              "discard",              '-' },
    { "2001::1",             "Teredo",               '-' },
    { "2001:0:4136:e378:8000:63bf:80fe:fefe", "Teredo", '-' },
    { "2001:10::1",          "protocol assignments", '-' },
    { "2001:200::1",         NULL,                   'P' },
    { "2001:db8::1",         "documentation",        'F' },
    { "2002:7f00:1::",       "6to4",                 '-' },
    { "2002:808:808::1",     "6to4",                 '-' },
    { "2606:4700::1111",     NULL,                   'P' },
    { "2606:4700::5efe:127.0.0.1",     "loopback",       'L' },
    { "2606:4700::200:5efe:a9fe:a9fe", "cloud metadata", '-' },
    { "2606:4700::5efe:8.8.8.8",       NULL,             'P' },
    { "fe80::5efe:8.8.8.8",  "link-local",           '-' },
    { "3fff::1",             "documentation",        'F' },
    { "4000::1",             "not assigned",         '-' },
    { "5f00::1",             "not assigned",         '-' },
    { "8000::1",             "not assigned",         '-' },
    { "fbff::1",             "not assigned",         '-' },
    { "fc00::1",             "private",              'F' },
    { "fd00:42::41",         "private",              'F' },
    { "fd00:42::42",         "cloud metadata",       '-' },
    { "fd00:ec2::254",       "cloud metadata",       '-' },
    { "fd20:ce::254",        "cloud metadata",       '-' },
    { "fdff::1",             "private",              'F' },
    { "fe80::1",             "link-local",           '-' },
    { "fe80::a9fe:a9fe",     "cloud metadata",       '-' },
    { "febf::1",             "link-local",           '-' },
    { "fec0::1",             "site-local",           '-' },
    { "ff02::1",             "multicast",            '-' }
};

static void
address_of(const char *text, struct sockaddr_storage *ret)
{
    struct sockaddr_in   *v4 = (struct sockaddr_in *) ret;
    struct sockaddr_in6  *v6 = (struct sockaddr_in6 *) ret;

    *ret = (struct sockaddr_storage) { .ss_family = AF_INET };

    if (inet_pton(AF_INET, text, &v4->sin_addr) != 1) {
        *ret = (struct sockaddr_storage) { .ss_family = AF_INET6 };
        ok(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1, "%s is IPv6", text);
    }
}

static const char *
reserved(const char *list, enum http_reach reach, const char *text)
{
    struct error             err = { 0 };
    struct networks          allowed = { 0 };
    struct sockaddr_storage  address;

    address_of(text, &address);
    ok(networks_parse(list, &allowed, &err), "a list: %s", list);

    return http_address_reserved(&allowed, reach, (struct sockaddr *) &address);
}

/* A network of the list allows an address if it is no wider than the reserved
 * one, and only from HTTP_PRIVATE on. */
static void
lists(void)
{
    is_str(reserved("127.0.0.0/8", HTTP_PRIVATE, "127.0.0.1"), NULL, "as wide");
    is_str(reserved("127.0.0.0/8", HTTP_PRIVATE, "::ffff:127.0.0.1"), NULL, "mapped");
    is_str(reserved("127.0.0.0/8", HTTP_PRIVATE, "::1"), "loopback", "of IPv4 only");
    is_str(reserved("127.0.0.1/32, ::1/128", HTTP_PRIVATE, "::1"), NULL, "a second");
    is_str(reserved("127.0.0.1/32", HTTP_PRIVATE, "127.0.0.2"), "loopback", "narrower");
    is_str(reserved("127.0.0.0/8", HTTP_PUBLIC, "127.0.0.1"), "loopback", "public");
    is_str(reserved("10.0.0.0/8", HTTP_PUBLIC, "10.0.0.1"), "private", "public, private");
    is_str(reserved("169.254.0.0/16", HTTP_PRIVATE, "169.254.1.1"), NULL, "link-local");
    is_str(reserved("169.254.0.0/16", HTTP_PRIVATE, "169.254.169.254"), "cloud metadata",
           "metadata stays reserved in it");
    is_str(reserved("169.254.169.254/32", HTTP_PRIVATE, "169.254.169.254"), NULL,
           "unless it is said");
    is_str(reserved("fd00::/8", HTTP_PRIVATE, "fd00:ec2::254"), "cloud metadata",
           "nor does a private network open it");
    is_str(reserved("::/8", HTTP_PRIVATE, "127.0.0.1"), "loopback",
           "an IPv6 network has no IPv4 address");
    is_str(reserved("", HTTP_ANYWHERE, "169.254.169.254"), NULL, "anywhere");
}

static bool
url_allowed(const char *list, const char *url, struct error *err)
{
    struct networks  allowed = { 0 };

    *err = (struct error) { 0 };
    ok(networks_parse(list, &allowed, err), "a list: %s", list);

    return http_url_allowed(&allowed, HTTP_PRIVATE, url, err);
}

static void
urls(void)
{
    static const char *const  refused[] = {
        "https://127.0.0.1:9443", "https://2130706433", "https://0x7f000001:1",
        "https://017700000001", "https://127.1", "https://0x7f.1", "https://0177.0.0.01",
        "https://0", "https://0.0.0.0", "https://[::]:1", "https://[::1]",
        "https://[::ffff:127.0.0.1]:1", "https://[0:0:0:0:0:ffff:7f00:1]",
        "https://[::127.0.0.1]", "https://169.254.169.254", "https://[::ffff:a9fe:a9fe]",
        "https://2852039166", "https://0xa9.0xfe.0xa9.0xfe", "https://[64:ff9b::a9fe:a9fe]",
        "https://[2002:a9fe:a9fe::]", "https://[fd00:ec2::254]", "https://[fe80::1]",
        "https://255.255.255.255", "https://224.0.0.1", "https://localhost:1",
        "https://LOCALHOST.", "https://a.localhost", "http://127.0.0.1", "HTTPS://127.0.0.1",
        "https://user@127.0.0.1", "https://127.0.0.1/path", "https://%31%32%37.0.0.1",
    };
    static const char *const  allowed[] = {
        "https://10.0.0.1:9443", "https://[fd12::1]:9443", "https://100.64.0.1",
        "https://8.8.8.8", "https://edge1.example", "https://mylocalhost", "edge1 9443", "",
        "https://", "https://[fe80::1",
    };
    struct error              err;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        ok(!url_allowed("", refused[i], &err) && err.code == ERR_FORBIDDEN,
           "%s is refused: %s", refused[i], err.detail);
    }

    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        ok(url_allowed("", allowed[i], &err), "%s is not: %s", allowed[i], err.detail);
    }

    ok(url_allowed("127.0.0.0/8", "https://localhost", &err), "localhost, by the list");
    ok(url_allowed("::1/128", "https://localhost", &err), "localhost, of IPv6 only");
}

int
main(void)
{
    static const char  marks[] = "PFL";     /* beside enum http_reach */

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        is_str(reserved("", HTTP_PUBLIC, cases[i].address), cases[i].what, "%s: %s",
               cases[i].address, cases[i].what ? cases[i].what : "public");

        for (int reach = 0; marks[reach]; reach++) {
            const char  *mark = strchr(marks, cases[i].from);
            bool         open = mark && marks + reach >= mark;

            ok(open == (reserved("", reach, cases[i].address) == NULL), "%s: reach %d",
               cases[i].address, reach);
        }
    }

    lists();
    urls();

    return done_testing();
}
