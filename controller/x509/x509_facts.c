/* A strict walk over DER (X.690) to what a report says of every certificate. */
#include "x509_facts.h"
#include <string.h>

#define TAG_BOOLEAN      0x01
#define TAG_INTEGER      0x02
#define TAG_BIT_STRING   0x03
#define TAG_OCTETS       0x04
#define TAG_OID          0x06
#define TAG_ENUMERATED   0x0a
#define TAG_UTC          0x17
#define TAG_GENERALIZED  0x18
#define TAG_SEQUENCE     0x30
#define TAG_URI          0x86       /* [6] of GeneralName */
#define TAG_CONTEXT(n)   (0xa0 | (n))
#define TAG_ANY          0

#define SERIAL_MAX       31         /* as certctl_x509_info() has room for */
#define URL_MAX          255
#define EXTENSIONS_MAX   64

#define TLS_FEATURE_STATUS_REQUEST  5       /* RFC 7633 section 6 */

static const unsigned char  oid_tls_feature[] = {
    0x2b, 6, 1, 5, 5, 7, 1, 24              /* 1.3.6.1.5.5.7.1.24 */
};
static const unsigned char  oid_access[] = {
    0x2b, 6, 1, 5, 5, 7, 1, 1               /* authorityInfoAccess */
};
static const unsigned char  oid_ocsp[] = {
    0x2b, 6, 1, 5, 5, 7, 48, 1              /* id-ad-ocsp */
};
static const unsigned char  oid_issuers[] = {
    0x2b, 6, 1, 5, 5, 7, 48, 2              /* id-ad-caIssuers */
};

#define IS(value, oid)                                                        \
    ((size_t) ((value).end - (value).p) == sizeof(oid)                        \
     && memcmp((value).p, oid, sizeof(oid)) == 0)


struct der {
    const unsigned char  *p;
    const unsigned char  *end;
};


static size_t
left(const struct der *in)
{
    return in->end - in->p;
}


/* Takes the next value of in, which must have this tag, and steps behind it. */
static bool
take(struct der *in, unsigned tag, struct der *ret)
{
    const unsigned char  *p = in->p;
    size_t                n, len;

    if (left(in) < 2 || (tag != TAG_ANY && *p != tag) || (*p & 0x1f) == 0x1f) {
        return false;
    }

    len = p[1];
    p += 2;

    if (len & 0x80) {
        n = len & 0x7f;

        /* the shortest form of a definite length (X.690 10.1) */
        if (n == 0 || n > 3 || n > (size_t) (in->end - p) || *p == 0) {
            return false;
        }

        for (len = 0; n > 0; n--) {
            len = len << 8 | *p++;
        }

        if (len < 0x80) {
            return false;
        }
    }

    if (len > (size_t) (in->end - p)) {
        return false;
    }

    *ret = (struct der) { p, p + len };
    in->p = p + len;

    return true;
}


static bool
next_is(const struct der *in, unsigned tag)
{
    return left(in) > 0 && *in->p == tag;
}


static bool
skip(struct der *in, unsigned tag)
{
    struct der  ignored;

    return take(in, tag, &ignored);
}


static bool
digits(const unsigned char **p, int n, int *ret)
{
    int  value = 0;

    while (n-- > 0) {
        if (**p < '0' || **p > '9') {
            return false;
        }

        value = value * 10 + (*(*p)++ - '0');
    }

    *ret = value;

    return true;
}


/* Days from 1970-01-01 to the first of a month, by the Gregorian calendar. */
static long
days_before(int year, int month)
{
    static const int  before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243,
                                   273, 304, 334 };
    long              y = year - 1;
    bool              leap;

    leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return y * 365 + y / 4 - y / 100 + y / 400 - 719162 + before[month - 1]
           + (leap && month > 2);
}


/* YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ (RFC 5280 4.1.2.5). */
static bool
take_time(struct der *in, time_t *ret)
{
    int                   year, month, day, hour, minute, second;
    bool                  utc = next_is(in, TAG_UTC);
    struct der            value;
    const unsigned char  *p;

    if (!take(in, utc ? TAG_UTC : TAG_GENERALIZED, &value)
        || left(&value) != (utc ? 13 : 15) || value.end[-1] != 'Z')
    {
        return false;
    }

    p = value.p;

    if (!digits(&p, utc ? 2 : 4, &year) || !digits(&p, 2, &month)
        || !digits(&p, 2, &day) || !digits(&p, 2, &hour)
        || !digits(&p, 2, &minute) || !digits(&p, 2, &second))
    {
        return false;
    }

    year += utc ? (year < 50 ? 2000 : 1900) : 0;

    if (year < 1950 || month < 1 || month > 12 || day < 1
        || day > days_before(year + month / 12, month % 12 + 1)
                 - days_before(year, month)
        || hour > 23 || minute > 59 || second > 59)
    {
        return false;
    }

    *ret = (days_before(year, month) + day - 1) * 86400L + hour * 3600L
           + minute * 60L + second;

    return true;
}


static bool
read_tls_feature(struct der value, bool *ret)
{
    struct der  list, feature;

    if (!take(&value, TAG_SEQUENCE, &list) || left(&value)) {
        return false;
    }

    while (left(&list)) {
        if (!take(&list, TAG_INTEGER, &feature) || left(&feature) == 0
            || (left(&feature) > 1 && (*feature.p == 0 || *feature.p == 0xff)))
        {
            return false;
        }

        *ret |= left(&feature) == 1
                && *feature.p == TLS_FEATURE_STATUS_REQUEST;
    }

    return true;
}


/* URLs of a sensible length, of responders and issuers, are all that is usual. */
static bool
read_access(struct der value, bool *ret)
{
    bool        ocsp;
    struct der  list, access, method, location;

    if (!take(&value, TAG_SEQUENCE, &list) || left(&value)) {
        return false;
    }

    while (left(&list)) {
        if (!take(&list, TAG_SEQUENCE, &access)
            || !take(&access, TAG_OID, &method)
            || !take(&access, TAG_URI, &location) || left(&access))
        {
            return false;
        }

        ocsp = IS(method, oid_ocsp);

        if ((!ocsp && !IS(method, oid_issuers))
            || left(&location) == 0 || left(&location) > URL_MAX
            || memchr(location.p, '\0', left(&location)))
        {
            return false;
        }

        *ret |= ocsp;
    }

    return true;
}


static bool
read_extension(struct der *list, unsigned *seen, struct certctl_x509_facts *ret)
{
    bool        feature, access;
    struct der  extension, oid, value;

    if (!take(list, TAG_SEQUENCE, &extension)
        || !take(&extension, TAG_OID, &oid)
        || (next_is(&extension, TAG_BOOLEAN) && !skip(&extension, TAG_BOOLEAN))
        || !take(&extension, TAG_OCTETS, &value) || left(&extension))
    {
        return false;
    }

    feature = IS(oid, oid_tls_feature);
    access = IS(oid, oid_access);

    /* of two of a kind OpenSSL takes neither (RFC 5280 4.2) */

    if (*seen & (feature | access << 1)) {
        return false;
    }

    *seen |= feature | access << 1;

    return (!feature || read_tls_feature(value, &ret->must_staple))
           && (!access || read_access(value, &ret->ocsp));
}


static bool
read_extensions(struct der *tbs, struct certctl_x509_facts *ret)
{
    int         n;
    unsigned    seen = 0;
    struct der  outer, list;

    if (left(tbs) == 0) {
        return true;
    }

    if (!take(tbs, TAG_CONTEXT(3), &outer) || left(tbs)
        || !take(&outer, TAG_SEQUENCE, &list) || left(&outer))
    {
        return false;
    }

    for (n = 0; left(&list); n++) {
        if (n == EXTENSIONS_MAX || !read_extension(&list, &seen, ret)) {
            return false;
        }
    }

    return true;
}


bool
certctl_x509_facts(const unsigned char *der, size_t len,
    struct certctl_x509_facts *ret)
{
    struct der                 in = { der, der + len };
    struct der                 cert, tbs, version, serial, validity;
    struct certctl_x509_facts  facts = { 0 };

    if (!take(&in, TAG_SEQUENCE, &cert)
        || !take(&cert, TAG_SEQUENCE, &tbs)
        || !skip(&cert, TAG_SEQUENCE)
        || !skip(&cert, TAG_BIT_STRING) || left(&cert))
    {
        return false;
    }

    if (!take(&tbs, TAG_CONTEXT(0), &version)
        || !take(&tbs, TAG_INTEGER, &serial)
        || left(&serial) == 0 || left(&serial) > SERIAL_MAX
        || !skip(&tbs, TAG_SEQUENCE)                /* signature */
        || !skip(&tbs, TAG_SEQUENCE)                /* issuer */
        || !take(&tbs, TAG_SEQUENCE, &validity)
        || !take_time(&validity, &facts.not_before)
        || !take_time(&validity, &facts.not_after) || left(&validity)
        || !skip(&tbs, TAG_SEQUENCE)                /* subject */
        || !skip(&tbs, TAG_SEQUENCE)                /* subjectPublicKeyInfo */
        || !read_extensions(&tbs, &facts))
    {
        return false;
    }

    facts.len = in.p - der;
    *ret = facts;

    return true;
}


/* To the ResponseData of a basic response (RFC 6960 4.2.1). */
static bool
take_response_data(struct der in, struct der *data)
{
    struct der  response, outer, bytes, basic, octets;

    return take(&in, TAG_SEQUENCE, &response)
           && skip(&response, TAG_ENUMERATED)
           && take(&response, TAG_CONTEXT(0), &outer)
           && take(&outer, TAG_SEQUENCE, &bytes)
           && skip(&bytes, TAG_OID)
           && take(&bytes, TAG_OCTETS, &octets)
           && take(&octets, TAG_SEQUENCE, &basic)
           && take(&basic, TAG_SEQUENCE, data);
}


time_t
certctl_ocsp_this_update(const unsigned char *der, size_t len)
{
    time_t      when;
    struct der  data, list, single;

    if (!take_response_data((struct der) { der, der + len }, &data)
        || (next_is(&data, TAG_CONTEXT(0)) && !skip(&data, TAG_CONTEXT(0)))
        || !skip(&data, TAG_ANY)                    /* responderID */
        || !skip(&data, TAG_GENERALIZED)            /* producedAt */
        || !take(&data, TAG_SEQUENCE, &list)
        || !take(&list, TAG_SEQUENCE, &single)
        || !skip(&single, TAG_SEQUENCE)             /* certID */
        || !skip(&single, TAG_ANY)                  /* certStatus */
        || !take_time(&single, &when))
    {
        return 0;
    }

    return when;
}
