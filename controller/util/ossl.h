/* OpenSSL's objects as locals that free themselves; its error queue as an error. */
#pragma once
#include "cleanup.h"
#include "error.h"
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

CLEANUP_FUNC(bio, BIO *, BIO_free_all)
CLEANUP_FUNC(bignum, BIGNUM *, BN_free)
CLEANUP_FUNC(pkey, EVP_PKEY *, EVP_PKEY_free)
CLEANUP_FUNC(md_ctx, EVP_MD_CTX *, EVP_MD_CTX_free)
CLEANUP_FUNC(x509, X509 *, X509_free)
CLEANUP_FUNC(x509_req, X509_REQ *, X509_REQ_free)
CLEANUP_FUNC(x509_crl, X509_CRL *, X509_CRL_free)
CLEANUP_FUNC(x509_name, X509_NAME *, X509_NAME_free)
CLEANUP_FUNC(x509_ext, X509_EXTENSION *, X509_EXTENSION_free)
CLEANUP_FUNC(asn1_integer, ASN1_INTEGER *, ASN1_INTEGER_free)
CLEANUP_FUNC(asn1_time, ASN1_TIME *, ASN1_TIME_free)

static inline void
x509_chain_free(STACK_OF(X509) *chain)
{
    sk_X509_pop_free(chain, X509_free);
}

CLEANUP_FUNC(x509_chain, STACK_OF(X509) *, x509_chain_free)

/*
 * "doing: OpenSSL's latest reason", with the queue emptied; returns false.  For
 * failures that no rule of ours explains: memory, or a defect.
 */
bool error_set_ossl(struct error *err, enum err code, const char *doing);
