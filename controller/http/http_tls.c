/* Who the server has to be, decided inside the handshake. */
#include "http_internal.h"

#include "ossl.h"
#include "x509_chain.h"
#include "x509_key.h"
#include "x509_pem.h"

#include <openssl/err.h>
#include <string.h>
#include <strings.h>


static int
refuse(struct http_exchange *x, X509_STORE_CTX *verify, int code,
    const char *fmt, const char *a, const char *b)
{
    error_set(&x->why, ERR_PEER, fmt, a, b);
    X509_STORE_CTX_set_error(verify, code);

    return 0;
}

static int
verify_pin(struct http_exchange *x, X509_STORE_CTX *verify)
{
    const char                *rule;
    struct certctl_x509_info   info;

    rule = certctl_x509_info(X509_STORE_CTX_get0_cert(verify), &info);
    if (rule) {
        return refuse(x, verify, X509_V_ERR_UNSPECIFIED,
                      "server certificate: %s%s", rule, "");
    }

    if (strcasecmp(info.fingerprint, x->req->tls.pin) != 0) {
        return refuse(x, verify, X509_V_ERR_APPLICATION_VERIFICATION,
                      "server certificate has fingerprint %s, pinned is %s",
                      info.fingerprint, x->req->tls.pin);
    }

    rule = x->req->tls.check
           ? x->req->tls.check(X509_STORE_CTX_get0_cert(verify)) : NULL;
    if (rule) {
        return refuse(x, verify, X509_V_ERR_APPLICATION_VERIFICATION,
                      "server certificate: %s%s", rule, "");
    }

    X509_STORE_CTX_set_error(verify, X509_V_OK);
    return 1;
}

static int
verify_server(X509_STORE_CTX *verify, void *data)
{
    int                    code;
    struct http_exchange  *x = data;

    if (x->req->tls.pin) {
        return verify_pin(x, verify);
    }

    if (X509_verify_cert(verify) != 1) {
        code = X509_STORE_CTX_get_error(verify);
        return refuse(x, verify, code, "server certificate: %s%s",
                      X509_verify_cert_error_string(code), "");
    }

    if (x->req->tls.uri
        && !certctl_x509_has_uri(X509_STORE_CTX_get0_cert(verify),
                                 x->req->tls.uri))
    {
        return refuse(x, verify, X509_V_ERR_APPLICATION_VERIFICATION,
                      "server certificate does not name %s%s",
                      x->req->tls.uri, "");
    }

    return 1;
}

/* One certificate of a text with many; what else is in it is passed over. */
static bool
trust_block(X509_STORE *store, const struct certctl_pem_block *block)
{
    const unsigned char  *p = block->der;
    CLEANUP(x509) X509   *root = NULL;

    if (strstr(block->label, "CERTIFICATE") == NULL) {
        return false;
    }

    root = d2i_X509(NULL, &p, (long) block->len);

    return root && X509_STORE_add_cert(store, root) == 1;
}

static bool
trust(SSL_CTX *ctx, const char *text, struct error *err)
{
    int                        rc, count = 0;
    const char                *why;
    struct certctl_pem         pem;
    struct certctl_pem_block   block;

    certctl_pem_open(&pem, text, strlen(text));

    while ((rc = certctl_pem_next(&pem, &block, &why)) == 1) {
        count += trust_block(SSL_CTX_get_cert_store(ctx), &block);
        certctl_pem_free(&block);
    }

    ERR_clear_error();

    return (rc == 0 && count > 0)
           || error_set(err, ERR_INVALID, "trusted roots: %s",
                        rc == 0 ? "no certificate in the text" : why);
}

static bool
identify(SSL_CTX *ctx, const struct http_tls *tls)
{
    const char  *why;

    CLEANUP(x509_chain) STACK_OF(X509)  *chain = NULL;
    CLEANUP(pkey) EVP_PKEY              *key = NULL;

    chain = certctl_chain_from_pem(tls->cert_pem, strlen(tls->cert_pem), &why);
    if (!chain) {
        return false;
    }

    key = certctl_key_from_pem(tls->key_pem, strlen(tls->key_pem), &why);
    if (!key) {
        return false;
    }

    CLEANUP(x509) X509  *leaf = sk_X509_shift(chain);

    return SSL_CTX_use_cert_and_key(ctx, leaf, key, chain, 1) == 1;
}

CURLcode
http_tls_context(CURL *easy, void *ssl_ctx, void *data)
{
    SSL_CTX                *ctx = ssl_ctx;
    struct http_exchange   *x = data;
    const struct http_tls  *tls = &x->req->tls;

    (void) easy;

    if (tls->ca_pem && !trust(ctx, tls->ca_pem, &x->why)) {
        return CURLE_SSL_CACERT_BADFILE;
    }

    if (tls->cert_pem && !identify(ctx, tls)) {
        ERR_clear_error();
        error_set(&x->why, ERR_INVALID,
                  "the client certificate and its key do not fit");
        return CURLE_SSL_CERTPROBLEM;
    }

    /* x lives as long as this request; the connection may live longer, and
       must not come back to verify */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_cert_verify_callback(ctx, verify_server, x);

    return CURLE_OK;
}

void
http_tls_look(struct http_exchange *x)
{
    STACK_OF(X509)              *chain;
    struct curl_tlssessioninfo  *session = NULL;
    struct certctl_x509_info     info;

    x->looked = true;

    if (curl_easy_getinfo(x->easy, CURLINFO_TLS_SSL_PTR, &session) != CURLE_OK
        || !session || !session->internals)
    {
        return;
    }

    chain = SSL_get_peer_cert_chain(session->internals);

    if (!chain || sk_X509_num(chain) == 0
        || certctl_x509_info(sk_X509_value(chain, 0), &info) != NULL)
    {
        return;
    }

    memcpy(x->ret.fingerprint, info.fingerprint, sizeof(info.fingerprint));

    CLEANUP(ossl_mem) char  *pem = certctl_chain_to_pem(chain);

    if (pem) {
        x->ret.chain_pem = strdup(pem);
    }
}
