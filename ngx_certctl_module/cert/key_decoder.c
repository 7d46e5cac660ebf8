
/*
 * In OpenSSL 3 setting a decoder up takes twenty times as long as using it, and
 * it may be used again for keys of its type.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/key_decoder.h"


/* The key types of wire.h, as OpenSSL's decoders call them. */

static const char  *ngx_certctl_key_types[NGX_CERTCTL_KEY_DECODERS] = {
    "EC", "RSA", "ED25519"
};


static EVP_PKEY *
ngx_certctl_decode_type(ngx_certctl_key_decoder_t *decoder, ngx_uint_t type,
    const u_char *der, size_t len)
{
    EVP_PKEY  *key;

    if (decoder->ctx[type] == NULL) {
        decoder->ctx[type] = OSSL_DECODER_CTX_new_for_pkey(&decoder->key,
                                 "DER", "PrivateKeyInfo",
                                 ngx_certctl_key_types[type],
                                 EVP_PKEY_KEYPAIR, NULL, NULL);
    }

    decoder->key = NULL;

    if (decoder->ctx[type] == NULL
        || OSSL_DECODER_from_data(decoder->ctx[type], &der, &len) != 1
        || len != 0)
    {
        EVP_PKEY_free(decoder->key);
        decoder->key = NULL;
    }

    key = decoder->key;
    decoder->key = NULL;

    return key;
}


EVP_PKEY *
ngx_certctl_decode_key(ngx_certctl_key_decoder_t *decoder, const u_char *der,
    size_t len, EVP_PKEY *pub)
{
    EVP_PKEY    *key;
    ngx_uint_t   i;

    key = NULL;

    for (i = 0; key == NULL && i < NGX_CERTCTL_KEY_DECODERS; i++) {

        if (pub == NULL || EVP_PKEY_is_a(pub, ngx_certctl_key_types[i])) {
            key = ngx_certctl_decode_type(decoder, i, der, len);
        }
    }

    return key;
}


void
ngx_certctl_key_decoder_free(ngx_certctl_key_decoder_t *decoder)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_CERTCTL_KEY_DECODERS; i++) {
        OSSL_DECODER_CTX_free(decoder->ctx[i]);
    }
}
