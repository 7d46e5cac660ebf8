/* What a report says of every certificate, found by a walk over its DER. */
#include "x509_der.h"
#include "x509_facts.h"
#include "x509_info.h"
#include "x509_read.h"
#include <openssl/err.h>
#include <string.h>

#define TAG_URI          TAG_IMPLICIT(6)    /* of GeneralName */

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

#define IS(value, oid)  der_is(&(value), oid, sizeof(oid))


static bool
read_tls_feature(struct der value, bool *ret)
{
    struct der  list, feature;

    if (!der_take(&value, TAG_SEQUENCE, &list) || der_left(&value)) {
        return false;
    }

    while (der_left(&list)) {
        if (!der_take(&list, TAG_INTEGER, &feature) || der_left(&feature) == 0
            || (der_left(&feature) > 1
                && (*feature.p == 0 || *feature.p == 0xff)))
        {
            return false;
        }

        *ret |= der_left(&feature) == 1
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

    if (!der_take(&value, TAG_SEQUENCE, &list) || der_left(&value)) {
        return false;
    }

    while (der_left(&list)) {
        if (!der_take(&list, TAG_SEQUENCE, &access)
            || !der_take(&access, TAG_OID, &method)
            || !der_take(&access, TAG_URI, &location) || der_left(&access))
        {
            return false;
        }

        ocsp = IS(method, oid_ocsp);

        if ((!ocsp && !IS(method, oid_issuers))
            || der_left(&location) == 0 || der_left(&location) > URL_MAX
            || memchr(location.p, '\0', der_left(&location)))
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

    if (!der_take(list, TAG_SEQUENCE, &extension)
        || !der_take(&extension, TAG_OID, &oid)
        || (der_next_is(&extension, TAG_BOOLEAN)
            && !der_skip(&extension, TAG_BOOLEAN))
        || !der_take(&extension, TAG_OCTETS, &value) || der_left(&extension))
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

    if (der_left(tbs) == 0) {
        return true;
    }

    if (!der_take(tbs, TAG_CONTEXT(3), &outer) || der_left(tbs)
        || !der_take(&outer, TAG_SEQUENCE, &list) || der_left(&outer))
    {
        return false;
    }

    for (n = 0; der_left(&list); n++) {
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

    if (!der_take(&in, TAG_SEQUENCE, &cert)
        || !der_take(&cert, TAG_SEQUENCE, &tbs)
        || !der_skip(&cert, TAG_SEQUENCE)
        || !der_skip(&cert, TAG_BIT_STRING) || der_left(&cert))
    {
        return false;
    }

    if (!der_take(&tbs, TAG_CONTEXT(0), &version)
        || !der_take(&tbs, TAG_INTEGER, &serial)
        || der_left(&serial) == 0 || der_left(&serial) > SERIAL_MAX
        || !der_skip(&tbs, TAG_SEQUENCE)                /* signature */
        || !der_skip(&tbs, TAG_SEQUENCE)                /* issuer */
        || !der_take(&tbs, TAG_SEQUENCE, &validity)
        || !der_take_time(&validity, &facts.not_before)
        || !der_take_time(&validity, &facts.not_after) || der_left(&validity)
        || !der_skip(&tbs, TAG_SEQUENCE)                /* subject */
        || !der_skip(&tbs, TAG_SEQUENCE)          /* subjectPublicKeyInfo */
        || !read_extensions(&tbs, &facts))
    {
        return false;
    }

    facts.len = in.p - der;
    *ret = facts;

    return true;
}


const char *
certctl_x509_facts_read(const unsigned char *der, size_t len,
    struct certctl_x509_facts *ret)
{
    char                      url[URL_MAX + 1];
    X509                     *cert;
    const char               *rule = "its certificate cannot be read";
    const unsigned char      *p = der;
    struct certctl_x509_info  info;

    if (certctl_x509_facts(der, len, ret)) {
        return NULL;
    }

    ERR_set_mark();
    cert = certctl_x509_read(&p, len);

    if (cert != NULL) {
        rule = certctl_x509_info(cert, &info);
    }

    if (rule == NULL) {
        certctl_x509_ocsp_url(cert, url, sizeof(url));

        *ret = (struct certctl_x509_facts) { p - der, info.not_before, info.not_after,
                                             info.must_staple, url[0] != '\0' };
    }

    X509_free(cert);
    ERR_pop_to_mark();

    return rule;
}


/* To the ResponseData of a basic response (RFC 6960 4.2.1). */
static bool
take_response_data(struct der in, struct der *data)
{
    struct der  response, outer, bytes, basic, octets;

    return der_take(&in, TAG_SEQUENCE, &response)
           && der_skip(&response, TAG_ENUMERATED)
           && der_take(&response, TAG_CONTEXT(0), &outer)
           && der_take(&outer, TAG_SEQUENCE, &bytes)
           && der_skip(&bytes, TAG_OID)
           && der_take(&bytes, TAG_OCTETS, &octets)
           && der_take(&octets, TAG_SEQUENCE, &basic)
           && der_take(&basic, TAG_SEQUENCE, data);
}


time_t
certctl_ocsp_this_update(const unsigned char *der, size_t len)
{
    time_t      when;
    struct der  data, list, single;

    if (!take_response_data((struct der) { der, der + len }, &data)
        || (der_next_is(&data, TAG_CONTEXT(0))
            && !der_skip(&data, TAG_CONTEXT(0)))
        || !der_skip(&data, TAG_ANY)                    /* responderID */
        || !der_skip(&data, TAG_GENERALIZED)            /* producedAt */
        || !der_take(&data, TAG_SEQUENCE, &list)
        || !der_take(&list, TAG_SEQUENCE, &single)
        || !der_skip(&single, TAG_SEQUENCE)             /* certID */
        || !der_skip(&single, TAG_ANY)                  /* certStatus */
        || !der_take_time(&single, &when))
    {
        return 0;
    }

    return when;
}
