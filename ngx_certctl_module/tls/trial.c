
/*
 * Which servers could complete a handshake with a certificate.  Protocols,
 * ciphers, signature algorithms and security level act together in ways that
 * OpenSSL alone knows, so it is asked: from a server's settings comes the hello
 * of a client that knows all that the server does and nothing else, and a
 * handshake in memory either goes on with the certificate, or fails.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>

#include "tls/trial.h"
#include "x509_key.h"
#include "x509_read.h"
#include "x509_rule.h"


/* Verdicts that a thread keeps; a power of 2. */
#define NGX_CERTCTL_VERDICTS  64

#define NGX_CERTCTL_TRIED     0x80


/* What the handshakes of a certificate have in common with all of its kind. */

typedef struct {
    ngx_atomic_uint_t               configuration;
    ngx_uint_t                      settings;
    uint64_t                        chain;      /* hash of its algorithms */
} ngx_certctl_trial_key_t;


typedef struct {
    ngx_certctl_trial_key_t         key;
    u_char                          hellos;     /* bits of those that went on */
} ngx_certctl_verdict_t;


typedef struct {
    ngx_certctl_t                  *certctl;
    const char                     *name;
    const struct certctl_accepted  *chain;
    certctl_blob_t                 *der;
    uint64_t                        hash;

    /* hellos, in bits: those that the leaf's key usage lets a client go on
       with, and by settings those that went on, and those that did not */
    u_char                          usable;
    u_char                          good[NGX_CERTCTL_SETTINGS_MAX];
    u_char                          lost[NGX_CERTCTL_SETTINGS_MAX];

    /* whose names are compared, and whether one is the leaf's */
    ngx_certctl_server_t           *server;
    unsigned                        named:1;
} ngx_certctl_trial_t;


/* Of the servers that may serve the certificate. */

typedef struct {
    ngx_uint_t                      servers;
    ngx_uint_t                      unusable;
    ngx_certctl_server_t           *none;       /* first without a client */
    ngx_certctl_server_t           *some;       /* first that loses some */
} ngx_certctl_trial_count_t;


/* No destructor: threads may end after this object is unloaded. */

static __thread ngx_certctl_verdict_t
    ngx_certctl_verdicts[NGX_CERTCTL_VERDICTS];


/* FNV-1a */

static uint64_t
ngx_certctl_trial_mix(uint64_t hash, int value)
{
    return (hash ^ (uint64_t) (unsigned) value) * 0x100000001b3;
}


/* Of all that decides whether a handshake goes on, but the keys themselves. */

static uint64_t
ngx_certctl_trial_hash(const struct certctl_accepted *chain)
{
    int        i;
    X509      *ca;
    uint64_t   hash;
    EVP_PKEY  *key;

    hash = 0xcbf29ce484222325;
    hash = ngx_certctl_trial_mix(hash, chain->key_id);
    hash = ngx_certctl_trial_mix(hash, chain->key_bits);
    hash = ngx_certctl_trial_mix(hash, chain->signature);

    for (i = 0; i < sk_X509_num(chain->cas); i++) {
        ca = sk_X509_value(chain->cas, i);
        key = X509_get0_pubkey(ca);

        hash = ngx_certctl_trial_mix(hash, EVP_PKEY_get_base_id(key));
        hash = ngx_certctl_trial_mix(hash, EVP_PKEY_get_bits(key));
        hash = ngx_certctl_trial_mix(hash, X509_get_signature_nid(ca));
    }

    return hash;
}


/* A server with the level of settings, and no other limits. */

static SSL_CTX *
ngx_certctl_trial_server(ngx_certctl_settings_t *settings, X509 *leaf,
    EVP_PKEY *key, STACK_OF(X509) *cas)
{
    SSL_CTX  *ctx;

    ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL) {
        return NULL;
    }

    SSL_CTX_set_security_level(ctx, settings->level);
    (void) SSL_CTX_set_dh_auto(ctx, 1);

    if (SSL_CTX_set_min_proto_version(ctx, 0) != 1
        || SSL_CTX_set_max_proto_version(ctx, 0) != 1
        || SSL_CTX_set_cipher_list(ctx, "ALL") != 1
        || SSL_CTX_use_cert_and_key(ctx, leaf, key, cas, 1) != 1)
    {
        SSL_CTX_free(ctx);
        return NULL;
    }

    return ctx;
}


/* The server has signed, or let the client encrypt, and waits for its turn. */

static ngx_uint_t
ngx_certctl_trial_hello(SSL_CTX *ctx, ngx_str_t *hello)
{
    int   rc;
    BIO  *in, *out;
    SSL  *ssl;

    ssl = SSL_new(ctx);
    in = BIO_new_mem_buf(hello->data, (int) hello->len);
    out = BIO_new(BIO_s_mem());

    if (ssl == NULL || in == NULL || out == NULL) {
        SSL_free(ssl);
        BIO_free(in);
        BIO_free(out);
        return 0;
    }

    /* an empty buffer means that there is more to come */

    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl, in, out);

    rc = SSL_accept(ssl);
    rc = SSL_get_error(ssl, rc);

    SSL_free(ssl);

    return rc == SSL_ERROR_WANT_READ;
}


/* The bits of the hellos of settings that go on with the certificate. */

static u_char
ngx_certctl_trial_run(ngx_certctl_trial_t *trial,
    ngx_certctl_settings_t *settings)
{
    X509          *leaf;
    u_char         good;
    SSL_CTX       *ctx;
    EVP_PKEY      *key;
    ngx_uint_t     i;
    const u_char  *p;

    ERR_set_mark();

    p = trial->chain->der;
    leaf = certctl_x509_read(&p, trial->chain->leaf_len);
    key = certctl_key_from_der(trial->der->data, trial->der->len);
    ctx = leaf && key ? ngx_certctl_trial_server(settings, leaf, key,
                                                 trial->chain->cas)
                      : NULL;
    good = 0;

    for (i = 0; ctx && i < NGX_CERTCTL_HELLOS; i++) {

        if (settings->hello[i].len
            && ngx_certctl_trial_hello(ctx, &settings->hello[i]))
        {
            good |= 1 << i;
        }
    }

    SSL_CTX_free(ctx);
    EVP_PKEY_free(key);
    X509_free(leaf);
    ERR_pop_to_mark();

    return good;
}


/* Fills good and lost of settings n. */

static void
ngx_certctl_trial_verdict(ngx_certctl_trial_t *trial, ngx_uint_t n)
{
    ngx_uint_t                i;
    ngx_certctl_settings_t   *settings;
    ngx_certctl_verdict_t    *verdict;
    ngx_certctl_trial_key_t   key;

    settings = trial->certctl->settings.elts;
    settings += n;

    ngx_memzero(&key, sizeof(ngx_certctl_trial_key_t));

    key.configuration = trial->certctl->number;
    key.settings = n;
    key.chain = trial->hash;

    verdict = &ngx_certctl_verdicts[(trial->hash + n)
                                    & (NGX_CERTCTL_VERDICTS - 1)];

    if (verdict->hellos == 0
        || ngx_memcmp(&verdict->key, &key, sizeof(key)) != 0)
    {
        verdict->key = key;
        verdict->hellos = NGX_CERTCTL_TRIED
                          | ngx_certctl_trial_run(trial, settings);
    }

    trial->good[n] = verdict->hellos & trial->usable;

    for (i = 0; i < NGX_CERTCTL_HELLOS; i++) {
        trial->lost[n] |= (settings->hello[i].len != 0) << i;
    }

    trial->lost[n] &= trial->usable & ~trial->good[n];
}


static ngx_uint_t
ngx_certctl_trial_suffix(const u_char *host, size_t len, const u_char *suffix,
    size_t n)
{
    return len >= n
           && ngx_strncasecmp((u_char *) host + len - n, (u_char *) suffix, n)
              == 0;
}


/* Whether a server's name and host, which may be a wildcard, have a host in
   common. */

static ngx_uint_t
ngx_certctl_trial_named(ngx_str_t *name, const u_char *host, size_t len)
{
    size_t   n;
    u_char  *p, *dot;

    p = name->data;
    n = name->len;

    if (len == n && ngx_certctl_trial_suffix(host, len, p, n)) {
        return 1;
    }

    /* a certificate's wildcard stands for one label (RFC 6125 6.4.3) */

    if (host[0] == '*') {
        dot = ngx_strlchr(p, p + n, '.');

        return dot && (size_t) (p + n - dot) == len - 1
               && ngx_certctl_trial_suffix(host, len, dot, len - 1);
    }

    if (p[n - 1] == '*') {
        return len >= n
               && ngx_strncasecmp((u_char *) host, p, n - 1) == 0;
    }

    if (p[0] == '*') {
        return ngx_certctl_trial_suffix(host, len, p + 1, n - 1);
    }

    return p[0] == '.'
           && (ngx_certctl_trial_suffix(host, len, p, n)
               || (len == n - 1 && ngx_certctl_trial_suffix(host, len, p + 1,
                                                          len)));
}


/* certctl_names_each(): false stops it. */

static bool
ngx_certctl_trial_name(const char *kind, const char *text, void *data)
{
    ngx_certctl_trial_t *trial = data;

    ngx_str_t   *name;
    ngx_uint_t   i;

    name = trial->server->names.elts;

    for (i = 0; i < trial->server->names.nelts; i++) {

        if (name[i].data[0] != '~'
            && ngx_certctl_trial_named(&name[i], (const u_char *) text,
                                       ngx_strlen(text)))
        {
            trial->named = 1;
            return false;
        }
    }

    return true;
}


/* Whether server selects the record for one of its names; with any set, whether
   it names none of the hosts, but may be asked for any of them. */

static ngx_uint_t
ngx_certctl_trial_serves(ngx_certctl_trial_t *trial,
    ngx_certctl_server_t *server, ngx_uint_t any)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (server->reject) {
        return 0;
    }

    if (server->pinned.len) {
        return !any && ngx_strcmp(server->pinned.data, trial->name) == 0;
    }

    if (ngx_strcmp(trial->name, CERTCTL_WIRE_IDENTITY) == 0) {
        return 0;
    }

    if (!any) {
        trial->server = server;
        trial->named = 0;

        (void) certctl_names_each(trial->chain->leaf.names,
                                  ngx_certctl_trial_name, trial);
        return trial->named;
    }

    name = server->names.elts;

    for (i = 0; i < server->names.nelts; i++) {

        if (name[i].data[0] == '~') {
            return 1;
        }
    }

    return server->first;
}


static void
ngx_certctl_trial_count(ngx_certctl_trial_t *trial, ngx_uint_t any,
    ngx_certctl_trial_count_t *count)
{
    ngx_uint_t              i, n;
    ngx_certctl_server_t  **server;

    server = trial->certctl->servers.elts;

    for (i = 0; i < trial->certctl->servers.nelts; i++) {

        if (!ngx_certctl_trial_serves(trial, server[i], any)) {
            continue;
        }

        count->servers++;
        n = server[i]->settings;

        if (n == NGX_CERTCTL_SETTINGS_NONE) {
            continue;
        }

        if (trial->good[n] == 0) {
            count->unusable++;
            count->none = count->none ? count->none : server[i];

        } else if (trial->lost[n] && count->some == NULL) {
            count->some = server[i];
        }
    }
}


static const char *
ngx_certctl_trial_type(int id)
{
    return id == EVP_PKEY_EC ? "ECDSA"
           : id == EVP_PKEY_RSA ? "RSA"
           : id == EVP_PKEY_RSA_PSS ? "RSA-PSS"
           : id == EVP_PKEY_ED25519 ? "Ed25519" : "Ed448";
}


static const char *
ngx_certctl_trial_sentence(ngx_certctl_trial_t *trial,
    ngx_certctl_server_t *server, const char *clients)
{
    return certctl_rule("%s complete a handshake with the server in %.*s:%lu "
                        "and this certificate (%s, %d bits%s): its "
                        "ssl_protocols, ssl_ciphers, ssl_conf_command or "
                        "security level exclude that (RFC 8446 4.4.2.2, "
                        "RFC 5246 7.4.2)",
                        clients, (int) server->file.len, server->file.data,
                        (unsigned long) server->line,
                        ngx_certctl_trial_type(trial->chain->key_id),
                        trial->chain->key_bits,
                        trial->chain->signs ? "" : ", no digitalSignature");
}


/* After the trials, some of which have failed. */

static const char *
ngx_certctl_trial_judge(ngx_certctl_trial_t *trial, const char **warning)
{
    u_char                      lost;
    const char                 *rule;
    ngx_certctl_trial_count_t   count;

    ngx_memzero(&count, sizeof(ngx_certctl_trial_count_t));

    ngx_certctl_trial_count(trial, 0, &count);

    if (count.servers == 0) {
        ngx_certctl_trial_count(trial, 1, &count);
    }

    if (count.none) {
        rule = ngx_certctl_trial_sentence(trial, count.none, "no client can");

        if (count.unusable == count.servers) {
            return rule;
        }

        *warning = rule;

    } else if (count.some) {
        lost = trial->lost[count.some->settings];

        *warning = ngx_certctl_trial_sentence(trial, count.some,
                       lost & 1 << NGX_CERTCTL_HELLO_TLS13
                       ? "clients that support TLS 1.3 cannot"
                       : "clients that do not support TLS 1.3 cannot");
    }

    return NULL;
}


const char *
ngx_certctl_trial(ngx_certctl_t *certctl, const char *name,
    const struct certctl_accepted *chain, certctl_blob_t *key,
    const char **warning)
{
    ngx_uint_t           n, failed;
    ngx_certctl_trial_t  trial;

    ngx_memzero(&trial, sizeof(ngx_certctl_trial_t));

    *warning = NULL;
    trial.certctl = certctl;
    trial.name = name;
    trial.chain = chain;
    trial.der = key;
    trial.hash = ngx_certctl_trial_hash(chain);
    trial.usable = chain->signs ? 1 << NGX_CERTCTL_HELLO_TLS12
                                  | 1 << NGX_CERTCTL_HELLO_TLS13
                                : 1 << NGX_CERTCTL_HELLO_RSA;
    failed = 0;

    for (n = 0; n < certctl->settings.nelts; n++) {
        ngx_certctl_trial_verdict(&trial, n);

        failed |= trial.good[n] == 0 || trial.lost[n];
    }

    /* the usual case: whichever servers it is for, they can use it */

    return failed ? ngx_certctl_trial_judge(&trial, warning) : NULL;
}
