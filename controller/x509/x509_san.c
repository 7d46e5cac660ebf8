/* subjectAltName: certificates' names as text, and whom a certificate covers. */
#include "x509_info.h"
#include "x509_san.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>


/* Names go to logs, file names and JSON: printable ASCII or nothing. */
static bool
ia5_text(const ASN1_STRING *str, char *text)
{
    const unsigned char  *data = ASN1_STRING_get0_data(str);
    int                   i, len = ASN1_STRING_length(str);

    if (len <= 0 || len >= CERTCTL_SAN_TEXT) {
        return false;
    }

    for (i = 0; i < len; i++) {
        if (data[i] <= ' ' || data[i] > '~') {
            return false;
        }
    }

    memcpy(text, data, len);
    text[len] = '\0';

    return true;
}


static bool
ip_text(const ASN1_STRING *str, char *text)
{
    const unsigned char  *data = ASN1_STRING_get0_data(str);

    switch (ASN1_STRING_length(str)) {

    case 4:
        return inet_ntop(AF_INET, data, text, CERTCTL_SAN_TEXT) != NULL;

    case 16:
        return inet_ntop(AF_INET6, data, text, CERTCTL_SAN_TEXT) != NULL;

    default:
        return false;
    }
}


bool
certctl_san_text(const GENERAL_NAME *gn, const char **kind,
    char text[CERTCTL_SAN_TEXT])
{
    int          type;
    const void  *value = GENERAL_NAME_get0_value(gn, &type);

    switch (type) {

    case GEN_DNS:
        *kind = "DNS";
        return ia5_text(value, text);

    case GEN_IPADD:
        *kind = "IP";
        return ip_text(value, text);

    case GEN_EMAIL:
        *kind = "email";
        return ia5_text(value, text);

    case GEN_URI:
        *kind = "URI";
        return ia5_text(value, text);

    default:
        return false;
    }
}


int
certctl_names_each(const GENERAL_NAMES *names, certctl_san_fn *fn, void *data)
{
    char         text[CERTCTL_SAN_TEXT];
    const char  *kind;
    int          i, seen = 0;

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (!certctl_san_text(sk_GENERAL_NAME_value(names, i), &kind, text)) {
            continue;
        }

        seen++;

        if (!fn(kind, text, data)) {
            break;
        }
    }

    return seen;
}


int
certctl_x509_each_san(X509 *cert, certctl_san_fn *fn, void *data)
{
    GENERAL_NAMES  *names;
    int             seen;

    ERR_set_mark();
    names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    ERR_pop_to_mark();

    seen = certctl_names_each(names, fn, data);
    GENERAL_NAMES_free(names);

    return seen;
}


/*
 * The common name is not asked (RFC 6125 6.4.4 allows it, RFC 9525 and browsers
 * no longer do), "w*.example.com" does not match, and a leading dot, which
 * OpenSSL takes for "any subdomain", is no host.
 */
bool
certctl_x509_covers(X509 *cert, const char *host)
{
    unsigned int   flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
                           | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    unsigned char  ip[16];
    size_t         iplen;
    int            rc;

    if (host[0] == '\0' || host[0] == '.') {
        return false;
    }

    iplen = inet_pton(AF_INET, host, ip) == 1 ? 4
            : inet_pton(AF_INET6, host, ip) == 1 ? 16 : 0;

    ERR_set_mark();

    rc = iplen ? X509_check_ip(cert, ip, iplen, 0)
               : X509_check_host(cert, host, strlen(host), flags, NULL);

    ERR_pop_to_mark();

    return rc == 1;
}


struct uri_search {
    const char  *uri;
    bool         found;
};


static bool
match_uri(const char *kind, const char *text, void *data)
{
    struct uri_search  *search = data;

    search->found = strcmp(kind, "URI") == 0 && strcmp(text, search->uri) == 0;

    return !search->found;
}


bool
certctl_x509_has_uri(X509 *cert, const char *uri)
{
    struct uri_search  search = { uri, false };

    certctl_x509_each_san(cert, match_uri, &search);

    return search.found;
}
