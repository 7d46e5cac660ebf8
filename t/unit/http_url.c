/* URLs: each argument stays where it stands; and names of records, by a function
 * and by a pattern that say the same. */
#include "http.h"
#include "record.h"

#include "tap.h"
#include <regex.h>
#include <stdio.h>
#include <string.h>

#define BASE  "https://edge.example:9443"

static const struct {
    const char  *text;
    const char  *encoded;          /* NULL: refused */
} segments[] = {
    { "shop.example", "shop.example" }, { "*.shop.example", "%2A.shop.example" },
    { "shop.example/rollback#", "shop.example%2Frollback%23" },
    { "../sessions/flush#", "..%2Fsessions%2Fflush%23" }, { "a?b=c&d", "a%3Fb%3Dc%26d" },
    { "%2e%2e", "%252e%252e" }, { "a b", "a%20b" }, { "a\r\nX: y", "a%0D%0AX%3A%20y" },
    { "a\\b", "a%5Cb" }, { "\xc3\xa9", "%C3%A9" }, { "a@b:c", "a%40b%3Ac" },
    { "...", "..." }, { "", NULL }, { ".", NULL }, { "..", NULL },
};

static const char *const  bases[] = {
    BASE, BASE "/", BASE "///", BASE "?a=b", BASE "/#c", BASE "/?d/"
};

static bool
pattern_has(const char *text)
{
    regex_t  re;
    bool     found;

    if (regcomp(&re, "^" CERTCTL_RECORD_CLASS "$", REG_EXTENDED | REG_NOSUB) != 0) {
        return false;
    }

    found = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);

    return found;
}

static void
test_segments(void)
{
    for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        struct error        err = { 0 };
        char                want[200];
        CLEANUP(mem) char  *url = http_url(BASE, &err, "/v1/certificates/%s/csr", segments[i].text);
        CLEANUP(mem) char  *query = http_url(BASE, &err, "/v1?n=%d&name=%s", 5, segments[i].text);

        snprintf(want, sizeof(want), BASE "/v1/certificates/%s/csr",
                 segments[i].encoded ? segments[i].encoded : "");

        ok(segments[i].encoded ? url && strcmp(url, want) == 0
                               : url == NULL && err.code == ERR_INVALID,
           "%zu in a path: %s", i, url ? url : err.detail);
        ok(query != NULL && strncmp(query, BASE "/v1?n=5&name=", strlen(BASE) + 13) == 0
           && strpbrk(query + strlen(BASE) + 13, "/?#&= ") == NULL, "and in a query");
    }
}

static void
test_bases(void)
{
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        struct error        err = { 0 };
        CLEANUP(mem) char  *url = http_url(bases[i], &err, "/a");

        ok(url && strcmp(url, BASE "/a") == 0, "base %s: %s", bases[i], url ? url : err.detail);
    }
}

static void
test_records(void)
{
    char  big[CERTCTL_NAME_MAX + 2], one[2] = "";
    int   same = 0;

    for (int c = 1; c < 256; c++) {
        one[0] = (char) c;
        same += pattern_has(one) == (certctl_record_char(c) != 0);
    }

    ok(same == 255, "the pattern has the characters of the function");

    memset(big, 'a', sizeof(big));
    ok(certctl_record_valid(big, CERTCTL_NAME_MAX), "253 characters");
    ok(!certctl_record_valid(big, CERTCTL_NAME_MAX + 1), "not 254");
    ok(!certctl_record_valid("", 0) && !certctl_record_valid(".", 1)
       && !certctl_record_valid("..", 2) && certctl_record_valid("..a", 3),
       "dots alone are no name");
    ok(!certctl_record_valid("a\0b", 3) && !certctl_record_valid("a/b", 3), "no NUL, no slash");
    ok(certctl_record_valid("_agent", 6) && !certctl_record_usable("_agent", 6)
       && certctl_record_usable("a_b", 3), "\"_\" at the head is the module's own");
}

int
main(void)
{
    struct error        err = { 0 };
    char                big[HTTP_URL_MAX];
    CLEANUP(mem) char  *url = NULL;

    test_segments();
    test_bases();
    test_records();

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    url = http_url(BASE, &err, "/%s", big);
    ok(url == NULL && err.code == ERR_INVALID, "too long: %s", err.detail);

    return done_testing();
}
