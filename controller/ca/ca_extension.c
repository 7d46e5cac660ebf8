/* Extensions of certificates (RFC 5280 4.2): constants by text, URLs and names by parts. */
#include "ca_build.h"
#include "x509_san.h"

CLEANUP_FUNC(general_names, GENERAL_NAMES *, GENERAL_NAMES_free)
CLEANUP_FUNC(access, AUTHORITY_INFO_ACCESS *, AUTHORITY_INFO_ACCESS_free)
CLEANUP_FUNC(dist_points, CRL_DIST_POINTS *, CRL_DIST_POINTS_free)

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

/* NULL when memory is short. */
static GENERAL_NAME *
url_name(const char *url)
{
    ASN1_IA5STRING  *value = ASN1_IA5STRING_new();
    GENERAL_NAME    *name = GENERAL_NAME_new();

    if (value == NULL || name == NULL || !ASN1_STRING_set(value, url, -1)) {
        ASN1_IA5STRING_free(value);
        GENERAL_NAME_free(name);
        return NULL;
    }

    GENERAL_NAME_set0_value(name, GEN_URI, value);

    return name;
}

bool
ca_extension_sans(X509 *cert, const char *sans, bool critical, struct error *err)
{
    const char                            *why;
    CLEANUP(general_names) GENERAL_NAMES  *names = certctl_sans_parse(sans, &why);

    return names ? extension_put(cert, NID_subject_alt_name, names, critical, err)
           : error_set(err, ERR_INVALID, "%s", why);
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
    desc->location = url_name(url);

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
    name = url_name(url);

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
