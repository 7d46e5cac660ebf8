
/* Private keys from PKCS#8 DER, with decoders that are kept. */

#ifndef _NGX_CERTCTL_KEY_DECODER_H_INCLUDED_
#define _NGX_CERTCTL_KEY_DECODER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/decoder.h>


#define NGX_CERTCTL_KEY_DECODERS  3


/* Zeroed before its first use.  Of one thread. */

typedef struct {
    OSSL_DECODER_CTX  *ctx[NGX_CERTCTL_KEY_DECODERS];
    EVP_PKEY          *key;             /* where a decoder leaves its key */
} ngx_certctl_key_decoder_t;


/*
 * The private key that all of der holds, to be freed.  With pub, a public key,
 * one decoder is tried: that of its type.  NULL for other types than those of
 * wire.h, and for what is no key; OpenSSL's error queue keeps its errors.
 */
EVP_PKEY *ngx_certctl_decode_key(ngx_certctl_key_decoder_t *decoder,
    const u_char *der, size_t len, EVP_PKEY *pub);

void ngx_certctl_key_decoder_free(ngx_certctl_key_decoder_t *decoder);


#endif /* _NGX_CERTCTL_KEY_DECODER_H_INCLUDED_ */
