/* Issuer "local": a root made once and kept, or a CA from files; signs at once. */
#include "local.h"
#include "local_config.h"
#include "x509_key.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

/* The chain a server needs, for the request's key and the order's names. */
static char *
local_issue(const json_t *config, const struct issuer_request *req, time_t now,
    struct error *err)
{
    const char                     *why = NULL;
    CLEANUP(ca) struct ca          *ca = NULL;
    CLEANUP(x509) X509             *cert = NULL;
    CLEANUP(x509_req) X509_REQ     *csr = NULL;
    const struct ca_profile         profile = {
        .serial = req->serial ? req->serial : "", .sans = req->sans,
        .not_before = req->not_before,
        .not_after = req->not_after ? req->not_after
                     : req->not_before + local_validity(config),
        .eku = CA_EKU_SERVER_AUTH, .must_staple = req->must_staple,
        .ocsp_url = local_text(config, "ocsp_url"),
        .ca_issuers_url = local_text(config, "ca_issuers_url"),
        .crl_url = local_text(config, "crl_url")
    };

    csr = certctl_csr_from_pem(req->csr_pem, strlen(req->csr_pem), &why);

    if (csr == NULL) {
        error_set(err, ERR_INVALID, "certification request: %s", why);
        return NULL;
    }

    ca = local_ca(config, now, err);
    cert = ca ? ca_issue(ca, X509_REQ_get0_pubkey(csr), &profile, err) : NULL;

    return cert ? ca_chain_pem(ca, cert, err) : NULL;
}

/* One step is enough: the order's serial and validity are drawn, so that a
 * repeated one issues the same certificate. */
static void
local_step(const struct issuer_context *ctx, const json_t *state,
    const struct issuer_request *req, struct issuer_step *ret)
{
    struct error  err = { 0 };

    (void) state;

    ret->chain_pem = local_issue(ctx->config, req, ctx->now, &err);
    ret->outcome = ISSUER_ISSUED;

    if (ret->chain_pem == NULL) {
        issuer_step_failed(ret, &err);
    }
}

/* The caller's database is what CRL and OCSP answer from: nothing else to tell. */
static bool
local_revoke(const struct issuer_context *ctx, const struct issuer_certificate *cert,
    int reason, struct error *err)
{
    (void) ctx, (void) cert;

    return ca_reason_known(reason)
           || error_set(err, ERR_INVALID, "RFC 5280 5.3.1: %d is no reason for a "
                        "revocation", reason);
}

static bool
local_chain(const struct issuer_context *ctx, char **ret, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = local_ca(ctx->config, ctx->now, err);

    *ret = ca ? ca_cert_pem(ca, err) : NULL;

    return *ret != NULL;
}

/* The serial of a certificate that ca has issued, in hex. */
static bool
cert_serial(const struct ca *ca, const unsigned char *der, size_t len,
    char **ret, struct error *err)
{
    BIGNUM               *number;
    const unsigned char  *p = der;
    CLEANUP(x509) X509   *cert = d2i_X509(NULL, &p, (long) len);

    if (cert == NULL || p != der + len
        || X509_check_issued(ca->cert, cert) != X509_V_OK
        || X509_verify(cert, X509_get0_pubkey(ca->cert)) != 1)
    {
        ERR_clear_error();
        return error_set(err, ERR_INVALID, "RFC 6960 4.2.2.2: the certificate is "
                         "not issued by this CA");
    }

    number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    *ret = number ? BN_bn2hex(number) : NULL;
    BN_free(number);

    return *ret || error_set_ossl(err, ERR_INTERNAL, "serial number");
}

static bool
local_ocsp(const json_t *config, const unsigned char *cert_der, size_t len,
    time_t revoked_at, int reason, unsigned char **ret, size_t *ret_len,
    struct error *err)
{
    time_t                   now = time(NULL);
    struct ca_ocsp_answer    answer;
    CLEANUP(ca) struct ca   *ca = local_ca(config, now, err);
    CLEANUP(ossl_mem) char  *serial = NULL;
    struct ca_ocsp_status    status = {
        .state = revoked_at ? CA_OCSP_REVOKED : CA_OCSP_GOOD,
        .revoked_at = revoked_at, .reason = reason
    };

    if (ca == NULL || !cert_serial(ca, cert_der, len, &serial, err)
        || !ca_ocsp_for(ca, serial, &status, now, local_ocsp_life(config), &answer,
                        err))
    {
        return false;
    }

    *ret = answer.der;
    *ret_len = answer.len;

    return true;
}

/* A certificate for a key that nobody keeps, for a name that nobody has (RFC 6761
 * 6.4): it leaves this function as its serial number. */
static bool
try_issue(const struct issuer_context *ctx, const struct ca *ca,
    char serial[CA_SERIAL_HEX], char *detail, size_t size, struct error *err)
{
    time_t                    life = local_validity(ctx->config), from, last;
    CLEANUP(pkey) EVP_PKEY   *key = certctl_key_generate("ec-p256");
    CLEANUP(x509) X509       *cert = NULL;
    struct ca_profile         profile = {
        .serial = serial, .sans = "DNS:test.invalid", .not_before = ctx->now,
        .not_after = ctx->now + life - 1, .eku = CA_EKU_SERVER_AUTH
    };

    if (key == NULL) {
        return error_set_ossl(err, ERR_INTERNAL, "key");
    }

    if (!ca_serial_new(serial, err)
        || (cert = ca_issue(ca, key, &profile, err)) == NULL
        || !ca_validity(ca, &from, &last, err))
    {
        return false;
    }

    if (X509_verify(cert, X509_get0_pubkey(ca->cert)) != 1) {
        return error_set_ossl(err, ERR_INVALID, "the signature does not verify");
    }

    if (last < profile.not_after) {
        snprintf(detail, size, "the CA, or one above it, ends in %lld days: certificates end "
                 "with it, before validity_days", (long long) (last - ctx->now) / 86400);
    }

    return true;
}

static bool
try_ocsp(const struct issuer_context *ctx, const struct ca *ca, const char *serial,
    struct error *err)
{
    const struct ca_ocsp_status  good = { .state = CA_OCSP_GOOD };
    struct ca_ocsp_answer        answer = { 0 };
    bool                         ok = ca_ocsp_for(ca, serial, &good, ctx->now,
                                                  local_ocsp_life(ctx->config), &answer, err);

    OPENSSL_free(answer.der);

    return ok;
}

/* Opening it checks certificate, key, chain and validity. */
static bool
local_test(const struct issuer_context *ctx, json_t *report, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = local_ca(ctx->config, ctx->now, err);
    char                    serial[CA_SERIAL_HEX], detail[200] = "";
    bool                    ok = ca != NULL;

    issuer_report(report, "CA certificate, chain and key", ok ? NULL : err, NULL);

    if (ok) {
        ok = try_issue(ctx, ca, serial, detail, sizeof(detail), err);
        issuer_report(report, "sign a certificate", ok ? NULL : err, *detail ? detail : NULL);
    }

    if (ok) {
        ok = try_ocsp(ctx, ca, serial, err);
        issuer_report(report, "sign an OCSP response", ok ? NULL : err, NULL);
    }

    return ok;
}

static const char *const  aliases[] = {
    "GenericCA", "local_ca", "local-ca", "internal", NULL
};

const struct issuer  issuer_local = {
    .kind    = {
        "local", aliases, "LocalConfig",
        "signs by itself: a root made once and kept, or a CA from files", local_fields
    },
    .prepare = local_prepare,
    .step    = local_step,
    .revoke  = local_revoke,
    .ocsp    = local_ocsp,
    .chain   = local_chain,
    .test    = local_test
};
