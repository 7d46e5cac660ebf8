/* Judges names as issuance will: with the parser that makes the extension. */
#include "certificate_name.h"

#include "http.h"
#include "wire.h"
#include "x509_san.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <libpsl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>


/* Of a name in ASCII every A-label that can be decoded is taken: registries have
 * some that IDNA2008 would not make (RFC 5891 5.4). */
#define IDN_ASCII  (IDN2_NONTRANSITIONAL | IDN2_NO_ALABEL_ROUNDTRIP)
#define IDN_OTHER  (IDN2_NONTRANSITIONAL | IDN2_ALABEL_ROUNDTRIP)

static bool
is_wildcard(const char *text)
{
    return strncmp(text, "*.", 2) == 0;
}

/* The one text of an address; false when it is none. */
static bool
address_text(const char *text, char out[INET6_ADDRSTRLEN])
{
    unsigned char  address[16];

    return (inet_pton(AF_INET, text, address) == 1
            && inet_ntop(AF_INET, address, out, INET6_ADDRSTRLEN))
           || (inet_pton(AF_INET6, text, address) == 1
               && inet_ntop(AF_INET6, address, out, INET6_ADDRSTRLEN));
}

/* 1.2.3 and 999.1.1.1 are no host names either: the last label is a number. */
static bool
ends_in_number(const char *text)
{
    const char  *dot = strrchr(text, '.');
    const char  *label = dot ? dot + 1 : text;

    return *label && label[strspn(label, "0123456789")] == '\0';
}

static bool
is_ascii(const char *text)
{
    while (*text && (unsigned char) *text < 0x80) {
        text++;
    }

    return *text == '\0';
}

/* Whether libidn2 has to read it: another script, or an A-label. */
static bool
is_international(const char *text)
{
    return !is_ascii(text) || strncasecmp(text, "xn--", 4) == 0 || strcasestr(text, ".xn--");
}

static char *
to_ascii(const char *text, struct error *err)
{
    uint8_t  *ascii = NULL;
    char     *copy;
    int       rc = idn2_lookup_u8((const uint8_t *) text, &ascii,
                               is_ascii(text) ? IDN_ASCII : IDN_OTHER);

    if (rc != IDN2_OK) {
        error_set(err, ERR_INVALID, "RFC 5891: not an internationalized domain name: %s",
                  idn2_strerror(rc));
        return NULL;
    }

    copy = strdup((const char *) ascii);
    idn2_free(ascii);

    return copy;
}

/* The name in ASCII, free(); not yet checked. */
static char *
name_ascii(const char *text, struct error *err)
{
    char               ip[INET6_ADDRSTRLEN], out[2 * CERTCTL_NAME_MAX];
    CLEANUP(mem) char  *host = NULL;
    const char         *star = is_wildcard(text) ? "*." : "";
    size_t              len;

    if (address_text(text, ip)) {
        return strdup(ip);
    }

    text += strlen(star);
    host = is_international(text) ? to_ascii(text, err) : strdup(text);

    if (host == NULL) {
        return NULL;
    }

    len = strlen(host);

    if (len > 1 && host[len - 1] == '.') {          /* RFC 1034 3.1 */
        host[len - 1] = '\0';
    }

    /* nor is it an address when it has become one, of digits of another script */
    if (ends_in_number(host) || address_text(host, ip)) {
        error_set(err, ERR_INVALID, "RFC 1123 2.1: neither a host name nor an IP address");
        return NULL;
    }

    snprintf(out, sizeof(out), "%s%s", star, host);

    return strdup(out);
}

static bool
ascii_check(const char *name, struct error *err)
{
    GENERAL_NAMES  *names;
    const char     *why = NULL;
    char            san[300], ip[INET6_ADDRSTRLEN];

    if (strlen(name) > CERTCTL_NAME_MAX || strchr(name, ',')) {
        return error_set(err, ERR_INVALID, "RFC 1123 2.1: one name of at most %d "
                         "characters", CERTCTL_NAME_MAX);
    }

    snprintf(san, sizeof(san), "%s:%s", address_text(name, ip) ? "IP" : "DNS", name);
    names = certctl_sans_parse(san, &why);

    if (names == NULL) {
        return error_set(err, ERR_INVALID, "%s", why);
    }

    GENERAL_NAMES_free(names);

    return true;
}

bool
certificate_name_check(const char *text, struct error *err)
{
    CLEANUP(mem) char  *name = name_ascii(text, err);

    return name && ascii_check(name, err);
}

char *
certificate_name_canonical(const char *text)
{
    struct error        ignored;
    CLEANUP(mem) char  *name = name_ascii(text, &ignored);

    return name && ascii_check(name, &ignored) ? TAKE(name) : NULL;
}

/* The newer one of Debian's file and what the library was built with. */
static const psl_ctx_t  *suffixes;

static void
suffixes_load(void)
{
    suffixes = psl_latest(NULL);
    suffixes = suffixes ? suffixes : psl_builtin();
}

const char *
certificate_name_reserved(const char *name)
{
    static pthread_once_t  once = PTHREAD_ONCE_INIT;
    char                   host[CERTCTL_NAME_MAX + 1];
    const char            *what = http_address_unusable(name);

    if (what) {
        return what;
    }

    snprintf(host, sizeof(host), "%s", is_wildcard(name) ? name + 2 : name);

    for (char *p = host; *p; p++) {
        *p = *p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p;
    }

    pthread_once(&once, suffixes_load);

    /* an unknown last label is a name of one's own, such as "intranet" */
    return psl_is_public_suffix2(suffixes, host, PSL_TYPE_ANY | PSL_TYPE_NO_STAR_RULE)
           ? "a public suffix" : NULL;
}
