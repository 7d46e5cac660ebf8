/*
 * ClientHellos: OpenSSL reads them, and the module asks what it has read, for
 * an ECDSA and an RSA certificate, for the name under which it looks, and
 * whether a validator asks for a challenge that is pending.  'x': not a whole
 * one, but the version, 2 or 3, and the bodies of three of its extensions.
 */
#include "ngx_shim.h"
#include "tls/client.c"
#include "tls/acme.c"
#include "cert/self_signed.c"
#include "zone/challenge.c"
#include "zone/challenge_names.c"
#include "store/store_impl.h"

/* the two that are pending, as a validator names them (RFC 6066 3) */
#define HOST  "\0\x0f\0\0\x0c" "fuzz.example"
#define ADDR  "\0\x19\0\0\x16" "7.2.0.192.in-addr.arpa"

int                   ngx_ssl_connection_index;
volatile ngx_time_t  *ngx_cached_time;

static ngx_certctl_cert_t  certs[2];
static ngx_certctl_t       certctl;

void
ngx_ssl_error(ngx_uint_t level, ngx_log_t *log, ngx_err_t err, char *fmt, ...)
{
    FUZZ_MUST(!"a challenge is always answered");
}

void
ngx_certctl_sessions_check(ngx_certctl_t *ctl, SSL *ssl, ngx_connection_t *c)
{
}

void
ngx_certctl_use_default(SSL *ssl, ngx_str_t *sni)
{
}

static void
closed(ngx_connection_t *c)
{
}

static int
ask(SSL *ssl, void *data)
{
    char         key[CERTCTL_NAME_SIZE];
    const char  *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    if (name && certctl_host_key(name, key)) {
        FUZZ_MUST(strlen(key) == strlen(name));
    }

    for (int i = 0; i < 2; i++) {
        FUZZ_MUST(ngx_certctl_client_supports(ssl, &certs[i]) <= 1);
    }

    return 1;
}

/* Names are compared without case, protocols are not (RFC 7301 3.1). */
static bool
has(SSL *ssl, unsigned type, const char *body, size_t len)
{
    const u_char  *p;
    size_t         n, head = type == TLSEXT_TYPE_server_name ? 5 : len;

    return SSL_client_hello_get0_ext(ssl, type, &p, &n) == 1 && n == len
           && memcmp(p, body, head) == 0
           && strncasecmp((const char *) p + head, body + head, n - head) == 0;
}

/* Whoever asks for just what is pending is answered, and nobody else. */
static int
hello_cb(SSL *ssl, int *al, void *arg)
{
    bool  pending = has(ssl, TLSEXT_TYPE_server_name, HOST, sizeof(HOST) - 1)
                    || has(ssl, TLSEXT_TYPE_server_name, ADDR, sizeof(ADDR) - 1);
    bool  only = has(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
                     "\0\x0b\x0a" "acme-tls/1", 13);
    int   rc = ngx_certctl_hello_cb(ssl, al, arg);

    FUZZ_MUST(rc == SSL_CLIENT_HELLO_SUCCESS);
    FUZZ_MUST((SSL_get_SSL_CTX(ssl) == certctl.acme) == (pending && only));

    return rc;
}

static void
pend(const char *identifier, time_t now)
{
    ngx_certctl_challenge_t  c = { .type = NGX_CERTCTL_TLS_ALPN_01,
                                   .expires = now + 3600, .value_len = 32 };

    FUZZ_MUST(ngx_certctl_challenge_identifier(&c, identifier) == NGX_OK
              && ngx_certctl_challenge_put(&certctl.zone->challenges, &c, now)
                 == NGX_OK);
}

static void
challenges(SSL_CTX *ctx)
{
    static ngx_certctl_hello_t  own = { .certctl = &certctl, .close = closed };
    static ngx_certctl_zone_t   zone;
    static ngx_time_t           now;

    now.sec = time(NULL);
    ngx_cached_time = &now;
    certctl.zone = &zone;
    pend("fuzz.example", now.sec);
    pend("192.0.2.7", now.sec);

    ngx_ssl_connection_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    FUZZ_MUST(ngx_certctl_acme_init(NULL, &certctl) == NGX_OK);
    SSL_CTX_set_client_hello_cb(ctx, hello_cb, &own);
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
    certs[0].key = fuzz_leaf()->key;
    certs[0].kind = CERTCTL_KIND_ECDSA;
    certs[1].x509 = rsa.cert;
    certs[1].key = rsa.key;
    certs[1].kind = CERTCTL_KIND_RSA;

    ctx = SSL_CTX_new(TLS_server_method());
    FUZZ_MUST(ctx && SSL_CTX_use_certificate(ctx, certs[0].x509)
              && SSL_CTX_use_PrivateKey(ctx, fuzz_leaf()->key)
              && SSL_CTX_use_certificate(ctx, rsa.cert)
              && SSL_CTX_use_PrivateKey(ctx, rsa.key));
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_cert_cb(ctx, ask, NULL);
    challenges(ctx);

    return ctx;
}

static u_char *
number(u_char *p, size_t n)
{
    *p++ = (u_char) (n >> 8);
    *p++ = (u_char) n;

    return p;
}

static u_char *
extension(u_char *p, unsigned type, const void *body, size_t len)
{
    p = number(p, type);
    p = number(p, len);
    memcpy(p, body, len);

    return p + len;
}

/* A whole ClientHello (RFC 8446 4.1.2) around what the input is. */
static size_t
build(u_char *hello, const uint8_t *data, const uint8_t *end)
{
    static const unsigned  types[] = { TLSEXT_TYPE_server_name,
        TLSEXT_TYPE_application_layer_protocol_negotiation,
        TLSEXT_TYPE_signature_algorithms };
    static const u_char    head[] = "\x16\3\1\0\0\1\0\0\0\3\3";
    static const u_char    suites[] = "\0\0\x08\x13\1\xc0\x2b\xc0\x2f\0\x2f\1";
    u_char                *p = hello, *extensions;
    bool                   tls13 = data < end && *data++ == '3';
    size_t                 n;

    p = memcpy(p, head, sizeof(head) - 1);
    p += sizeof(head) - 1;
    memset(p, 'r', 32);
    p += 32;
    memcpy(p, suites, sizeof(suites));      /* its NUL: no compression */
    p += sizeof(suites);
    extensions = p;
    p += 2;

    for (int i = 0; i < 3 && end - data >= 2; i++) {
        n = data[0] << 8 | data[1];
        data += 2;
        n = n < (size_t) (end - data) ? n : (size_t) (end - data);
        p = extension(p, types[i], data, n);
        data += n;
    }

    p = extension(p, TLSEXT_TYPE_supported_groups, "\0\2\0\x1d", 4);

    if (tls13) {
        p = extension(p, TLSEXT_TYPE_supported_versions, "\2\3\4", 3);
        p = extension(p, TLSEXT_TYPE_key_share,
                      "\0\x24\0\x1d\0\x20" "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk",
                      38);
    }

    (void) number(extensions, p - extensions - 2);
    (void) number(hello + 3, p - hello - 5);
    (void) number(hello + 7, p - hello - 9);

    return p - hello;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The server's keys are made before the time of the first input runs. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc, (void) argv;

    return server() == NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static ngx_log_t      log;
    u_char                hello[16384 + 256];
    ngx_ssl_connection_t  own = { 0 };
    ngx_connection_t      c = { .log = &log, .ssl = &own };
    SSL                  *ssl = SSL_new(server());
    BIO                  *in, *out = BIO_new(BIO_s_mem());

    if (len > 0 && data[0] == 'x') {
        len = build(hello, data + 1, data + (len < 16000 ? len : 16000));
        data = hello;
    }

    in = BIO_new_mem_buf(data, (int) len);
    FUZZ_MUST(ssl && in && out);
    FUZZ_MUST(SSL_set_ex_data(ssl, ngx_ssl_connection_index, &c) == 1);
    SSL_set_bio(ssl, in, out);
    (void) SSL_accept(ssl);
    ERR_clear_error();
    SSL_free(ssl);

    return 0;
}
