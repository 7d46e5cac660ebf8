/* Checks requests against orders and chains against requests. */
#include "order_verify.h"

#include "x509_chain.h"
#include "x509_key.h"

#include <string.h>

static const char *
csr_rule(X509_REQ *req, const char *sans, const char *key_type)
{
    const char  *why = NULL;
    char        *asked = certctl_csr_sans(req);

    if (strcmp(certctl_key_type(X509_REQ_get0_pubkey(req)), key_type) != 0) {
        why = "its key is not of the type that was ordered";

    } else if (asked == NULL || strcmp(asked, sans) != 0) {
        why = "its names are not those that were ordered";
    }

    OPENSSL_free(asked);

    return why;
}

bool
order_verify_csr(const char *csr_pem, const char *sans, const char *key_type,
    struct error *err)
{
    const char  *why = NULL;
    X509_REQ    *req = certctl_csr_from_pem(csr_pem, strlen(csr_pem), &why);

    if (req) {
        why = csr_rule(req, sans, key_type);
        X509_REQ_free(req);
    }

    return why == NULL
           || error_set(err, ERR_PEER, "the host's certification request: %s", why);
}

static const char *
chain_rule(STACK_OF(X509) *chain, const struct issuer_request *req,
    struct certctl_x509_info *info)
{
    const char  *why = NULL;
    X509_REQ    *csr;

    csr = certctl_csr_from_pem(req->csr_pem, strlen(req->csr_pem), &why);
    if (csr == NULL) {
        return why;
    }

    why = certctl_chain_check(chain, NULL, time(NULL));

    if (why == NULL
        && EVP_PKEY_eq(X509_get0_pubkey(sk_X509_value(chain, 0)),
                       X509_REQ_get0_pubkey(csr)) != 1)
    {
        why = "the certificate is for another key than the request";
    }

    if (why == NULL) {
        why = certctl_chain_names_equal(chain, req->sans);
    }

    if (why == NULL) {
        why = certctl_x509_info(sk_X509_value(chain, 0), info);
    }

    X509_REQ_free(csr);

    return why;
}

bool
order_verify_chain(const char *chain_pem, const struct issuer_request *req,
    struct certctl_x509_info *info, struct error *err)
{
    const char      *why = NULL;
    STACK_OF(X509)  *chain = certctl_chain_from_pem(chain_pem, strlen(chain_pem), &why);

    if (chain) {
        why = chain_rule(chain, req, info);
        sk_X509_pop_free(chain, X509_free);
    }

    return why == NULL || error_set(err, ERR_PEER, "the CA's certificate: %s", why);
}
