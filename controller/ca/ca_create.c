/* A new authority: a root, or one below another (RFC 5280 4.2.1.9). */
#include "ca_build.h"
#include "x509_key.h"

#include <stdio.h>

/* The next pathLenConstraint must be smaller than the one above it. */
static const char *
path_rule(const struct ca *parent, int path_len)
{
    long  above = parent ? X509_get_pathlen(parent->cert) : -1;

    if (path_len < CA_PATH_LEN_ANY) {
        return "RFC 5280 4.2.1.9: pathLenConstraint is not negative";
    }

    if (above == 0) {
        return "RFC 5280 4.2.1.9: pathLenConstraint 0 allows no CA below";
    }

    return above < 0 || (path_len != CA_PATH_LEN_ANY && path_len < above) ? NULL
           : "RFC 5280 4.2.1.9: pathLenConstraint must be below the issuer's";
}

static bool
extensions_add(X509 *cert, X509 *issuer, const struct ca_spec *spec,
    struct error *err)
{
    char  basic[sizeof("critical,CA:TRUE,pathlen:-2147483648")];

    if (spec->path_len == CA_PATH_LEN_ANY) {
        snprintf(basic, sizeof(basic), "critical,CA:TRUE");
    } else {
        snprintf(basic, sizeof(basic), "critical,CA:TRUE,pathlen:%d",
                 spec->path_len);
    }

    return ca_extension_add(cert, issuer, NID_basic_constraints, basic, err)
           && ca_extension_add(cert, issuer, NID_key_usage, spec->signs_ocsp
                  ? "critical,keyCertSign,cRLSign,digitalSignature"
                  : "critical,keyCertSign,cRLSign", err)
           && ca_extension_add(cert, issuer, NID_subject_key_identifier, "hash",
                  err)
           /* A root need not name itself (4.2.1.1). */
           && (issuer == cert
               || ca_extension_add(cert, issuer, NID_authority_key_identifier,
                      "keyid:always", err))
           && ca_extension_urls(cert, spec->ocsp_url, spec->ca_issuers_url,
                  spec->crl_url, err);
}

static bool
cert_make(struct ca *ca, const struct ca *parent, const struct ca_spec *spec,
    struct error *err)
{
    X509  *issuer = parent ? parent->cert : ca->cert;
    char   serial[CA_SERIAL_HEX];

    return ca_serial_new(serial, err)
           && ca_cert_begin(ca->cert, issuer, ca->key, serial,
                  spec->common_name ? spec->common_name : "", err)
           && ca_cert_validity(ca->cert, parent, spec->not_before,
                  spec->not_after, err)
           && extensions_add(ca->cert, issuer, spec, err)
           && ca_cert_sign(ca->cert, parent ? parent->key : ca->key, err);
}

/* The certificates above one that parent has issued. */
static STACK_OF(X509) *
chain_above(const struct ca *parent)
{
    STACK_OF(X509)  *above;

    if (parent == NULL) {
        return sk_X509_new_null();
    }

    above = X509_chain_up_ref(parent->above);

    if (above && X509_up_ref(parent->cert)
        && !sk_X509_insert(above, parent->cert, 0))
    {
        X509_free(parent->cert);
        x509_chain_free(above);
        return NULL;
    }

    return above;
}

struct ca *
ca_create(const struct ca *parent, const struct ca_spec *spec, struct error *err)
{
    const char             *type = spec->key_type ? spec->key_type : "ec-p256";
    const char             *why = path_rule(parent, spec->path_len);
    CLEANUP(ca) struct ca  *ca = NULL;

    if (why) {
        error_set(err, ERR_INVALID, "%s", why);
        return NULL;
    }

    if (!certctl_key_type_known(type)) {
        error_set(err, ERR_INVALID, "\"%s\" is no key type: ec-p256, ec-p384, "
                  "rsa-2048, rsa-3072, rsa-4096 or ed25519", type);
        return NULL;
    }

    ca = calloc(1, sizeof(*ca));

    if (ca == NULL) {
        error_set(err, ERR_INTERNAL, "CA: out of memory");
        return NULL;
    }

    ca->cert = X509_new();
    ca->key = certctl_key_generate(type);
    ca->above = chain_above(parent);

    if (ca->cert == NULL || ca->key == NULL || ca->above == NULL) {
        error_set_ossl(err, ERR_INTERNAL, "CA");
        return NULL;
    }

    return cert_make(ca, parent, spec, err) ? TAKE(ca) : NULL;
}
