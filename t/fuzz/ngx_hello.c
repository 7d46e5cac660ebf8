/*
 * ClientHellos: OpenSSL reads them, and the module asks what it has read, for
 * an ECDSA and an RSA certificate, and for the name under which it looks.
 */
#include "ngx_shim.h"
#include "ngx_certctl_client.c"
#include "ngx_certctl_store_impl.h"

static ngx_certctl_cert_t  certs[2];

static int
ask(SSL *ssl, void *data)
{
    char         key[CERTCTL_NAME_SIZE];
    const char  *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    if (name && certctl_host_key(name, key)) {
        FUZZ_MUST(strlen(key) == strlen(name));
    }

    for (int i = 0; i < 2; i++) {
        FUZZ_MUST(ngx_certctl_client_knows(ssl, &certs[i]) <= 1);
    }

    return 1;
}

static SSL_CTX *
server(void)
{
    static SSL_CTX  *ctx;
    struct pki       rsa;

    if (ctx) {
        return ctx;
    }

    rsa = PKI(NULL, .cn = "rsa", .rsa_bits = 2048);
    certs[0].x509 = fuzz_leaf()->cert;
    certs[0].kind = CERTCTL_KIND_ECDSA;
    certs[1].x509 = rsa.cert;
    certs[1].kind = CERTCTL_KIND_RSA;

    ctx = SSL_CTX_new(TLS_server_method());
    FUZZ_MUST(ctx && SSL_CTX_use_certificate(ctx, certs[0].x509)
              && SSL_CTX_use_PrivateKey(ctx, fuzz_leaf()->key)
              && SSL_CTX_use_certificate(ctx, rsa.cert)
              && SSL_CTX_use_PrivateKey(ctx, rsa.key));
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_cert_cb(ctx, ask, NULL);

    return ctx;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    SSL  *ssl = SSL_new(server());
    BIO  *in = BIO_new_mem_buf(data, (int) len), *out = BIO_new(BIO_s_mem());

    FUZZ_MUST(ssl && in && out);
    SSL_set_bio(ssl, in, out);
    (void) SSL_accept(ssl);
    ERR_clear_error();
    SSL_free(ssl);

    return 0;
}
