/* Extensions of certificates (RFC 5280 4.2): constants by text, URLs and names by parts. */
#include "ca_build.h"
#include "wire.h"
#include "x509_key.h"

#include <arpa/inet.h>
#include <string.h>

CLEANUP_FUNC(general_names, GENERAL_NAMES *, GENERAL_NAMES_free)
CLEANUP_FUNC(access, AUTHORITY_INFO_ACCESS *, AUTHORITY_INFO_ACCESS_free)
CLEANUP_FUNC(dist_points, CRL_DIST_POINTS *, CRL_DIST_POINTS_free)

static const struct san_kind {
    const char  *prefix;
    int          type;             /* of GENERAL_NAME, and of the text in it */
    int          string;
} san_kinds[] = {
    { "DNS:",   GEN_DNS,   V_ASN1_IA5STRING    },
    { "IP:",    GEN_IPADD, V_ASN1_OCTET_STRING },
    { "URI:",   GEN_URI,   V_ASN1_IA5STRING    },
    { "email:", GEN_EMAIL, V_ASN1_IA5STRING    },
    { NULL, 0, 0 }
};

bool
ca_extension_add(X509 *cert, X509 *issuer, int nid, const char *value,
    struct error *err)
{
    X509V3_CTX                         ctx;
    CLEANUP(x509_ext) X509_EXTENSION  *ext = NULL;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&ctx);

    ext = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);

    if (ext == NULL || !X509_add_ext(cert, ext, -1)) {
        return error_set_ossl(err, ERR_INTERNAL, OBJ_nid2ln(nid));
    }

    return true;
}

static bool
extension_put(X509 *cert, int nid, void *value, bool critical, struct error *err)
{
    if (X509_add1_ext_i2d(cert, nid, value, critical, X509V3_ADD_APPEND) != 1) {
        return error_set_ossl(err, ERR_INTERNAL, OBJ_nid2ln(nid));
    }

    return true;
}

/* A name of the given kind; octets are copied.  NULL when memory is short. */
static GENERAL_NAME *
general_name(int type, int string, const void *octets, size_t len)
{
    ASN1_STRING   *value = ASN1_STRING_type_new(string);
    GENERAL_NAME  *name = GENERAL_NAME_new();

    if (value == NULL || name == NULL
        || !ASN1_STRING_set(value, octets, (int) len))
    {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        return NULL;
    }

    GENERAL_NAME_set0_value(name, type, value);

    return name;
}

/* One "DNS:a" of len characters; NULL when it is no such name. */
static GENERAL_NAME *
san_name(const char *san, size_t len)
{
    const struct san_kind  *kind = san_kinds;
    size_t                  prefix;
    char                    text[INET6_ADDRSTRLEN];
    unsigned char           address[sizeof(struct in6_addr)];

    while (kind->prefix && strncmp(san, kind->prefix, strlen(kind->prefix)) != 0) {
        kind++;
    }

    prefix = kind->prefix ? strlen(kind->prefix) : len;

    if (prefix >= len) {
        return NULL;
    }

    san += prefix;
    len -= prefix;

    if (kind->type != GEN_IPADD) {
        return general_name(kind->type, kind->string, san, len);
    }

    if (len >= sizeof(text)) {
        return NULL;
    }

    memcpy(text, san, len);
    text[len] = '\0';

    if (inet_pton(AF_INET, text, address) == 1) {
        return general_name(kind->type, kind->string, address, 4);
    }

    return inet_pton(AF_INET6, text, address) == 1
           ? general_name(kind->type, kind->string, address, 16) : NULL;
}

bool
ca_extension_sans(X509 *cert, const char *sans, bool critical, struct error *err)
{
    size_t                                len;
    const char                           *why = certctl_sans_check(sans);
    GENERAL_NAME                         *name;
    CLEANUP(general_names) GENERAL_NAMES *names = GENERAL_NAMES_new();

    if (why) {
        return error_set(err, ERR_INVALID, "%s", why);
    }

    for ( ;; sans += len + 1) {
        len = strcspn(sans, ",");
        name = san_name(sans, len);

        if (name == NULL || names == NULL || !sk_GENERAL_NAME_push(names, name)) {
            GENERAL_NAME_free(name);
            return error_set(err, ERR_INVALID, "RFC 5280 4.2.1.6: "
                             "\"%.*s\" is no subjectAltName", (int) len, sans);
        }

        if (sans[len] == '\0') {
            break;
        }
    }

    return extension_put(cert, NID_subject_alt_name, names, critical, err);
}

static bool
access_add(AUTHORITY_INFO_ACCESS *access, int method, const char *url)
{
    ACCESS_DESCRIPTION  *desc;

    if (url == NULL || *url == '\0') {
        return true;
    }

    desc = ACCESS_DESCRIPTION_new();

    if (desc == NULL || access == NULL
        || !sk_ACCESS_DESCRIPTION_push(access, desc))
    {
        ACCESS_DESCRIPTION_free(desc);
        return false;
    }

    ASN1_OBJECT_free(desc->method);
    GENERAL_NAME_free(desc->location);

    desc->method = OBJ_nid2obj(method);
    desc->location = general_name(GEN_URI, V_ASN1_IA5STRING, url, strlen(url));

    return desc->location != NULL;
}

static bool
access_put(X509 *cert, const char *ocsp, const char *ca_issuers, struct error *err)
{
    CLEANUP(access) AUTHORITY_INFO_ACCESS  *access = AUTHORITY_INFO_ACCESS_new();

    if (!access_add(access, NID_ad_OCSP, ocsp)
        || !access_add(access, NID_ad_ca_issuers, ca_issuers))
    {
        return error_set_ossl(err, ERR_INTERNAL, "authorityInfoAccess");
    }

    return sk_ACCESS_DESCRIPTION_num(access) <= 0
           || extension_put(cert, NID_info_access, access, false, err);
}

static bool
crl_put(X509 *cert, const char *url, struct error *err)
{
    GENERAL_NAME                           *name;
    DIST_POINT                             *point = DIST_POINT_new();
    CLEANUP(dist_points) CRL_DIST_POINTS   *points = CRL_DIST_POINTS_new();

    if (points == NULL || point == NULL || !sk_DIST_POINT_push(points, point)) {
        DIST_POINT_free(point);
        return error_set_ossl(err, ERR_INTERNAL, "cRLDistributionPoints");
    }

    point->distpoint = DIST_POINT_NAME_new();
    name = general_name(GEN_URI, V_ASN1_IA5STRING, url, strlen(url));

    if (point->distpoint) {
        point->distpoint->type = 0;                          /* fullName */
        point->distpoint->name.fullname = GENERAL_NAMES_new();
    }

    if (name == NULL || point->distpoint == NULL
        || point->distpoint->name.fullname == NULL
        || !sk_GENERAL_NAME_push(point->distpoint->name.fullname, name))
    {
        GENERAL_NAME_free(name);
        return error_set_ossl(err, ERR_INTERNAL, "cRLDistributionPoints");
    }

    return extension_put(cert, NID_crl_distribution_points, points, false, err);
}

bool
ca_extension_urls(X509 *cert, const char *ocsp, const char *ca_issuers,
    const char *crl, struct error *err)
{
    return access_put(cert, ocsp, ca_issuers, err)
           && (crl == NULL || *crl == '\0' || crl_put(cert, crl, err));
}
