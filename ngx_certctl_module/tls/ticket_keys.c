
/*
 * Encrypts session tickets with keys of the store (RFC 5077, RFC 8446 4.6.1):
 * the same in every worker, server and binary, and on each host of a group that
 * a controller has sent them to.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "tls/ticket_keys.h"


/* Seconds after which a worker reads keys again without a changed counter. */
#define NGX_CERTCTL_TICKET_KEYS_RECHECK  60

#define NGX_CERTCTL_TICKET_IV            16


/* index of ngx_certctl_t in an SSL_CTX's ex_data; stays for the process */

static int  ngx_certctl_ticket_keys_index = -1;


static void
ngx_certctl_ticket_keys_read(ngx_certctl_t *certctl)
{
    int                    rc;
    certctl_ticket_set_t  *set;

    certctl->tickets_seen = certctl->zone->tickets;
    certctl->tickets_read = ngx_time();

    ngx_memory_barrier();

    set = ngx_alloc(sizeof(certctl_ticket_set_t), ngx_cycle->log);
    if (set == NULL) {
        return;
    }

    rc = certctl_store_ticket_set(certctl->store, set);

    if (rc != CERTCTL_STORE_OK) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log,
                      rc == CERTCTL_STORE_ERROR ? ngx_errno : 0,
                      "certctl: session ticket keys cannot be read, %s",
                      certctl->tickets
                      ? "those of before stay" : "no tickets are issued");
        ngx_explicit_memzero(set, sizeof(certctl_ticket_set_t));
        ngx_free(set);
        return;
    }

    ngx_certctl_ticket_keys_free(certctl);

    certctl->tickets = set;
}


void
ngx_certctl_ticket_keys_update(ngx_certctl_t *certctl)
{
    time_t  age;

    if (!certctl->ticket_keys || certctl->store == NULL) {
        return;
    }

    age = ngx_time() - certctl->tickets_read;

    if (certctl->tickets_seen != certctl->zone->tickets
        || certctl->tickets_read == 0
        || age < 0
        || age >= NGX_CERTCTL_TICKET_KEYS_RECHECK)
    {
        ngx_certctl_ticket_keys_read(certctl);
    }
}


void
ngx_certctl_ticket_keys_free(ngx_certctl_t *certctl)
{
    if (certctl->tickets) {
        ngx_explicit_memzero(certctl->tickets, sizeof(certctl_ticket_set_t));
        ngx_free(certctl->tickets);
        certctl->tickets = NULL;
    }
}


static ngx_int_t
ngx_certctl_ticket_keys_init(ngx_certctl_t *certctl,
    const certctl_ticket_key_t *key, u_char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int enc)
{
    char        digest[] = "SHA256";
    OSSL_PARAM  params[3];

    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY,
                                                  (void *) key->hmac,
                                                  sizeof(key->hmac));
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest,
                                                 0);
    params[2] = OSSL_PARAM_construct_end();

    return EVP_CipherInit_ex2(cipher, certctl->ticket_cipher, key->aes, iv,
                              enc, NULL)
           == 1
           && EVP_MAC_CTX_set_params(mac, params) == 1 ? NGX_OK : NGX_ERROR;
}


static const certctl_ticket_key_t *
ngx_certctl_ticket_keys_find(ngx_certctl_t *certctl, const u_char *name)
{
    ngx_uint_t             i;
    certctl_ticket_key_t  *key;

    for (i = 0; certctl->tickets && i < certctl->tickets->n; i++) {
        key = &certctl->tickets->key[i];

        if (ngx_time() < key->accept
            && ngx_memcmp(key->name, name, sizeof(key->name)) == 0)
        {
            return key;
        }
    }

    return NULL;
}


/* 0: no ticket.  A failure of OpenSSL must not end the handshake. */

static int
ngx_certctl_ticket_keys_encrypt(ngx_certctl_t *certctl, u_char *name,
    u_char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const certctl_ticket_key_t  *key;

    key = certctl->tickets ? certctl_ticket_key(certctl->tickets, ngx_time())
                           : NULL;
    if (key == NULL) {
        return 0;
    }

    if (RAND_bytes(iv, NGX_CERTCTL_TICKET_IV) != 1
        || ngx_certctl_ticket_keys_init(certctl, key, iv, cipher, mac, 1)
           != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "certctl: a session ticket cannot be encrypted");
        return 0;
    }

    ngx_memcpy(name, key->name, sizeof(key->name));

    return 1;
}


/* 0: a full handshake; 2: resumed, and another ticket is issued. */

static int
ngx_certctl_ticket_keys_decrypt(ngx_certctl_t *certctl, SSL *ssl,
    u_char *name, u_char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const certctl_ticket_key_t  *key;

    key = ngx_certctl_ticket_keys_find(certctl, name);

    /* a set that another binary's worker has written, or a host before us */

    if (key == NULL && ngx_time() != certctl->tickets_read) {
        ngx_certctl_ticket_keys_read(certctl);
        key = ngx_certctl_ticket_keys_find(certctl, name);
    }

    if (key == NULL) {
        return 0;
    }

    if (ngx_certctl_ticket_keys_init(certctl, key, iv, cipher, mac, 0)
        != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "certctl: a session ticket cannot be decrypted");
        return 0;
    }

    /* clients use a ticket of TLS 1.3 once (RFC 8446 C.4) */

    return SSL_version(ssl) == TLS1_3_VERSION
           || key != certctl_ticket_key(certctl->tickets, ngx_time()) ? 2 : 1;
}


static int
ngx_certctl_ticket_keys_cb(SSL *ssl, u_char *name, u_char *iv,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
    ngx_certctl_t  *certctl;

    certctl = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl),
                                  ngx_certctl_ticket_keys_index);

    if (certctl == NULL || certctl->zone == NULL || certctl->store == NULL) {
        return 0;
    }

    ngx_certctl_ticket_keys_update(certctl);

    return enc ? ngx_certctl_ticket_keys_encrypt(certctl, name, iv, cipher,
                                                 mac)
               : ngx_certctl_ticket_keys_decrypt(certctl, ssl, name, iv,
                                                 cipher, mac);
}


ngx_int_t
ngx_certctl_ticket_keys_set_callback(ngx_certctl_t *certctl, SSL_CTX *ctx,
    ngx_uint_t on)
{
    if (ngx_certctl_ticket_keys_index == -1) {
        ngx_certctl_ticket_keys_index = SSL_CTX_get_ex_new_index(0, NULL, NULL,
                                                                 NULL, NULL);
    }

    if (ngx_certctl_ticket_keys_index == -1
        || SSL_CTX_set_ex_data(ctx, ngx_certctl_ticket_keys_index, certctl)
           != 1)
    {
        return NGX_ERROR;
    }

    if (!on) {
        return NGX_OK;
    }

    if (certctl->ticket_cipher == NULL) {
        certctl->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    }

    if (certctl->ticket_cipher == NULL
        || SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx,
                                                ngx_certctl_ticket_keys_cb)
           != 1)
    {
        return NGX_ERROR;
    }

    certctl->ticket_keys = 1;

    return NGX_OK;
}


void
ngx_certctl_ticket_keys_rotate(ngx_certctl_t *certctl, ngx_uint_t fresh,
    ngx_log_t *log)
{
    int  rc, damaged;

    rc = certctl_store_ticket_set_rotate(certctl->store, time(NULL),
                                         certctl->ticket_interval,
                                         certctl->ticket_keep, fresh,
                                         &damaged);

    if (rc != CERTCTL_STORE_OK) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "certctl: the next session ticket key cannot be stored");
        return;
    }

    if (damaged) {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "certctl: the file of session ticket keys was damaged, "
                      "it has a new key now");
    }

    (void) ngx_atomic_fetch_add(&certctl->zone->tickets, 1);
}
