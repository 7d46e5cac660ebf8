/*
 * Certificates for unit tests, good and bad ones, made with OpenSSL alone so
 * that what is tested does not make its own evidence.
 */
#pragma once
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY  86400L

struct pki_ext {
    int          nid;
    const char  *value;             /* as openssl.cnf writes it */
};

struct pki_spec {
    const char      *cn;            /* NULL: an empty subject */
    const char      *sans;          /* openssl.cnf form; NULL: none */
    long             from, to;      /* seconds from now; 0, 0: a day around it */
    long             serial;        /* 0: 4096 */
    const char      *curve;         /* "P-256" unless given; or */
    int              rsa_bits;
    EVP_PKEY        *key;           /* instead of a new one */
    const EVP_MD    *md;            /* SHA-256 unless given */
    int              ca;
    struct pki_ext   ext[4];        /* more, up to nid 0 */
};

struct pki {
    X509      *cert;
    EVP_PKEY  *key;
};

/* Ends the test: a fixture that cannot be made proves nothing. */
#define PKI_MUST(test)                                                        \
    do {                                                                      \
        if (!(test)) {                                                        \
            printf("Bail out! %s:%d: %s\n", __FILE__, __LINE__, #test);       \
            ERR_print_errors_fp(stdout);                                      \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

__attribute__((unused)) static void
pki_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX       ctx;
    X509_EXTENSION  *ext;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    PKI_MUST(ext != NULL && X509_add_ext(cert, ext, -1));
    X509_EXTENSION_free(ext);
}

/* A certificate by spec, issued by ca, or by itself when ca is NULL. */
__attribute__((unused)) static struct pki
pki_make(const struct pki_spec *spec, const struct pki *ca)
{
    struct pki  p = { X509_new(), spec->key };
    X509       *issuer = ca ? ca->cert : p.cert;
    X509_NAME  *name = X509_get_subject_name(p.cert);
    long        from = spec->from || spec->to ? spec->from : -DAY;
    long        to = spec->from || spec->to ? spec->to : DAY;

    if (p.key == NULL) {
        p.key = spec->rsa_bits ? EVP_RSA_gen(spec->rsa_bits)
                               : EVP_EC_gen(spec->curve ? spec->curve : "P-256");
    } else {
        EVP_PKEY_up_ref(p.key);
    }

    PKI_MUST(p.key && X509_set_version(p.cert, 2)
             && ASN1_INTEGER_set(X509_get_serialNumber(p.cert),
                                 spec->serial ? spec->serial : 4096)
             && X509_gmtime_adj(X509_getm_notBefore(p.cert), from)
             && X509_gmtime_adj(X509_getm_notAfter(p.cert), to)
             && X509_set_pubkey(p.cert, p.key));

    if (spec->cn) {
        PKI_MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                     (const unsigned char *) spec->cn, -1, -1, 0));
    }

    PKI_MUST(X509_set_issuer_name(p.cert, X509_get_subject_name(issuer)));

    if (spec->ca) {
        pki_add(p.cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
        pki_add(p.cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
    }

    if (spec->sans) {
        pki_add(p.cert, issuer, NID_subject_alt_name, spec->sans);
    }

    for (int i = 0; i < 4 && spec->ext[i].nid; i++) {
        pki_add(p.cert, issuer, spec->ext[i].nid, spec->ext[i].value);
    }

    PKI_MUST(X509_sign(p.cert, ca ? ca->key : p.key,
                       spec->md ? spec->md : EVP_sha256()));
    return p;
}

#define PKI(ca, ...)  pki_make(&(struct pki_spec) { __VA_ARGS__ }, ca)

__attribute__((unused)) static void
pki_free(struct pki *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

/* Its DER, to be OPENSSL_free()d; the length of it. */
__attribute__((unused)) static int
pki_der(X509 *cert, unsigned char **der)
{
    int  len;

    *der = NULL;
    len = i2d_X509(cert, der);
    PKI_MUST(len > 0);
    return len;
}

__attribute__((unused)) static STACK_OF(X509) *
pki_chain(X509 *a, X509 *b, X509 *c)
{
    STACK_OF(X509)  *chain = sk_X509_new_null();

    sk_X509_push(chain, a);
    if (b) sk_X509_push(chain, b);
    if (c) sk_X509_push(chain, c);
    return chain;
}
