/* Lists of names as text, "DNS:a.example,IP:192.0.2.1", checked and converted. */
#include "wire.h"
#include "x509_key.h"
#include "x509_san.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <string.h>
#include <strings.h>

#define LABEL_MAX  63            /* RFC 1035 2.3.4 */


static bool
is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9');
}


/* LDH labels; "--" in places 3 and 4 is kept for A-labels (RFC 5890 2.3.1). */
static const char *
check_label(const char *label, size_t len)
{
    size_t  i;

    if (len == 0 || len > LABEL_MAX) {
        return "a DNS label must have 1 to 63 characters (RFC 1035 2.3.4)";
    }

    for (i = 0; i < len; i++) {
        if (!is_alnum(label[i]) && label[i] != '-') {
            return "a DNS name may hold letters, digits, \"-\" and \".\" only;"
                   " write other scripts as A-labels (RFC 5890 2.3.2.1)";
        }
    }

    if (label[0] == '-' || label[len - 1] == '-') {
        return "a DNS label must not begin or end with \"-\" (RFC 5890 2.3.1)";
    }

    if (len >= 4 && label[2] == '-' && label[3] == '-'
        && strncasecmp(label, "xn", 2) != 0)
    {
        return "a DNS label with \"--\" in third place must be an A-label"
               " (RFC 5890 2.3.1)";
    }

    return NULL;
}


static const char *
check_dns(const char *name)
{
    bool         wildcard = strncmp(name, "*.", 2) == 0;
    const char  *label, *dot, *why;

    if (strlen(name) > CERTCTL_NAME_MAX) {
        return "a DNS name may have at most 253 characters (RFC 1035 2.3.4)";
    }

    label = wildcard ? name + 2 : name;

    if (wildcard && strchr(label, '.') == NULL) {
        return "a wildcard needs two labels behind it (RFC 6125 7.2)";
    }

    for ( ;; ) {
        dot = strchr(label, '.');
        why = check_label(label, dot ? (size_t) (dot - label) : strlen(label));

        if (why != NULL) {
            return why;
        }

        if (dot == NULL) {
            break;
        }

        label = dot + 1;
    }

    return strspn(label, "0123456789") == strlen(label)
           ? "the last label of a DNS name is not all digits: an address is"
             " written IP:..."
           : NULL;
}


static const char *
check_text(const char *text)
{
    const char  *p;

    if (text[0] == '\0' || strlen(text) >= CERTCTL_SAN_TEXT) {
        return "a name must have 1 to 1024 characters";
    }

    for (p = text; *p; p++) {
        if (*p <= ' ' || *p > '~') {
            return "a name may hold printable ASCII only (RFC 5280 4.2.1.6)";
        }
    }

    return NULL;
}


static const char *
check_uri(const char *uri)
{
    const char  *colon = strchr(uri, ':'), *p;

    if (colon == NULL || colon == uri || is_alnum(uri[0]) == 0) {
        return "a URI needs a scheme (RFC 3986 3.1)";
    }

    for (p = uri; p < colon; p++) {
        if (!is_alnum(*p) && strchr("+-.", *p) == NULL) {
            return "a URI needs a scheme (RFC 3986 3.1)";
        }
    }

    return check_text(uri);
}


static const char *
check_email(const char *address)
{
    const char  *at = strchr(address, '@');

    if (at == NULL || at == address || at[1] == '\0' || strchr(at + 1, '@')) {
        return "an email name is written local@domain (RFC 5280 4.2.1.6)";
    }

    return check_text(address);
}


/* Addresses have one text and need no rule beyond being one. */
static const char *
check_ip(const char *text)
{
    unsigned char  ip[16];

    return inet_pton(AF_INET, text, ip) == 1
           || inet_pton(AF_INET6, text, ip) == 1
           ? NULL
           : "an IP name is one IPv4 or IPv6 address";
}


/* To add a kind of name: a row here, and certctl_san_text(). */
static const struct san_kind {
    const char   *text;
    int           type;
    const char  *(*check)(const char *text);
} san_kinds[] = {
    { "DNS:",   GEN_DNS,   check_dns },
    { "IP:",    GEN_IPADD, check_ip },
    { "URI:",   GEN_URI,   check_uri },
    { "email:", GEN_EMAIL, check_email },
    { NULL,     0,         NULL }
};


static ASN1_STRING *
encode(int type, const char *text)
{
    ASN1_STRING    *str = ASN1_STRING_type_new(type == GEN_IPADD
                              ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    unsigned char   ip[16];
    const void     *data = text;
    int             len = strlen(text);

    if (type == GEN_IPADD) {
        len = inet_pton(AF_INET, text, ip) == 1 ? 4 : 16;
        data = ip;

        if (len == 16) {
            inet_pton(AF_INET6, text, ip);
        }
    }

    if (str == NULL || !ASN1_STRING_set(str, data, len)) {
        ASN1_STRING_free(str);
        return NULL;
    }

    return str;
}


/* Appends "DNS:a.example"; NULL or the rule. */
static const char *
append(GENERAL_NAMES *names, const char *text)
{
    const struct san_kind  *kind;
    const char             *why;
    GENERAL_NAME           *gn;
    ASN1_STRING            *str;

    for (kind = san_kinds; kind->text != NULL; kind++) {
        if (strncmp(text, kind->text, strlen(kind->text)) == 0) {
            break;
        }
    }

    if (kind->text == NULL) {
        return "names are written DNS:..., IP:..., URI:... or email:...";
    }

    text += strlen(kind->text);
    why = kind->check(text);

    if (why != NULL) {
        return why;
    }

    gn = GENERAL_NAME_new();
    str = encode(kind->type, text);

    if (gn == NULL || str == NULL) {
        ASN1_STRING_free(str);
        GENERAL_NAME_free(gn);
        return "out of memory";
    }

    GENERAL_NAME_set0_value(gn, kind->type, str);

    if (!sk_GENERAL_NAME_push(names, gn)) {
        GENERAL_NAME_free(gn);
        return "out of memory";
    }

    return NULL;
}


GENERAL_NAMES *
certctl_sans_parse(const char *sans, const char **why)
{
    GENERAL_NAMES  *names = GENERAL_NAMES_new();
    char            text[CERTCTL_SAN_TEXT + 8];
    const char     *p = sans;
    size_t          len;

    *why = names ? NULL : "out of memory";

    while (*why == NULL) {
        len = strcspn(p, ",");

        if (len >= sizeof(text)) {
            *why = "a name must have 1 to 1024 characters";

        } else if (sk_GENERAL_NAME_num(names) == CERTCTL_SANS_MAX) {
            *why = "a certificate may hold at most 100 names";

        } else {
            memcpy(text, p, len);
            text[len] = '\0';
            *why = append(names, text);
        }

        if (p[len] == '\0') {
            break;
        }

        p += len + 1;
    }

    if (*why != NULL) {
        GENERAL_NAMES_free(names);
        return NULL;
    }

    return names;
}


const char *
certctl_sans_check(const char *sans)
{
    const char     *why;

    ERR_set_mark();
    GENERAL_NAMES_free(certctl_sans_parse(sans, &why));
    ERR_pop_to_mark();

    return why;
}


/* A comma inside a name would read as a second name: such a list has no text. */
static bool
print_one(BIO *bio, const GENERAL_NAME *gn, const char *separator)
{
    char         text[CERTCTL_SAN_TEXT];
    const char  *kind;

    return certctl_san_text(gn, &kind, text)
           && strchr(text, ',') == NULL
           && BIO_printf(bio, "%s%s:%s", separator, kind, text) > 0;
}


char *
certctl_sans_print(const GENERAL_NAMES *names, const char **why)
{
    BIO   *bio = BIO_new(BIO_s_mem());
    char  *data, *text = NULL;
    long   len;
    int    i;

    *why = NULL;

    if (sk_GENERAL_NAME_num(names) > CERTCTL_SANS_MAX) {
        *why = "a certificate may hold at most 100 names";
    }

    for (i = 0; *why == NULL && i < sk_GENERAL_NAME_num(names); i++) {
        if (!print_one(bio, sk_GENERAL_NAME_value(names, i), i ? "," : "")) {
            *why = "a subjectAltName is no plain DNS, IP, URI or email name";
        }
    }

    len = BIO_get_mem_data(bio, &data);

    if (*why == NULL) {
        text = OPENSSL_strndup(data, len);
        *why = text ? NULL : "out of memory";
    }

    BIO_free(bio);

    return text;
}


bool
certctl_san_equal(const GENERAL_NAME *a, const GENERAL_NAME *b)
{
    char         a_text[CERTCTL_SAN_TEXT], b_text[CERTCTL_SAN_TEXT];
    const char  *a_kind, *b_kind;

    if (!certctl_san_text(a, &a_kind, a_text)
        || !certctl_san_text(b, &b_kind, b_text)
        || strcmp(a_kind, b_kind) != 0)
    {
        return false;
    }

    return strcmp(a_kind, "URI") == 0 ? strcmp(a_text, b_text) == 0
                                      : strcasecmp(a_text, b_text) == 0;
}
