
/*
 * The sealed file format.
 *
 *    0   8  magic
 *    8   1  format, 1
 *    9   1  type: 'R' record, 'P' pending key, 'S' static staple,
 *           'F' time of the last flush of sessions, 'T' session ticket keys,
 *           'C' CAs of controllers
 *   10   1  kind: 0 ECDSA, 1 RSA
 *   11   1  flags: 1 key was used before
 *   12   4  n, length of the name
 *   16   8  generation
 *   24   8  stored, seconds since 1970
 *   32   8  until, nextUpdate of the staple
 *   40  16  lengths of four blobs, 4 bytes each
 *   56  32  SHA-256 of the leaf's SubjectPublicKeyInfo
 *   88  32  salt
 *  120   n  name
 *           the four blobs, encrypted
 *       16  tag
 *
 * Numbers are big-endian.  The blobs of a record are its chain, key, staple
 * and names; of a pending key request, key, key type and the request's names.
 *
 * AES-256-GCM with the key HMAC-SHA256(sealing key, label || salt).  The salt
 * is new with each write, so each key encrypts one message, and the nonce may
 * be all zeros.  Host id and the 120 + n bytes before the blobs are
 * authenticated: a file from another host, under another name or of another
 * type fails like one with a flipped bit.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>


#define SEALED_FORMAT   1
#define SEALED_REUSED   1
#define SEALED_HEAD     120
#define SEALED_SALT     88
#define SEALED_SALT_LEN 32
#define SEALED_TAG      16

/* octets, not a string: gcc 15 warns of one that loses its NUL */
static const u_char  sealed_magic[8] = {
    'c', 'e', 'r', 't', 'c', 't', 'l', 0x1a
};
static const char    sealed_label[] = "certctl sealed file 1";


u_char *
certctl_put_be(u_char *p, uint64_t value, size_t n)
{
    size_t  i;

    for (i = n; i-- > 0; value >>= 8) {
        p[i] = (u_char) value;
    }

    return p + n;
}


uint64_t
certctl_get_be(const u_char *p, size_t n)
{
    uint64_t  value = 0;

    while (n--) {
        value = value << 8 | *p++;
    }

    return value;
}


/* A copy of what has the sealing key: setting one up costs twice as much. */

static int
derive(certctl_store_t *store, const u_char *salt, u_char *key)
{
    int           done;
    size_t        len;
    EVP_MAC_CTX  *mac;

    mac = store->mac ? EVP_MAC_CTX_dup(store->mac) : NULL;

    done = mac != NULL
           && EVP_MAC_update(mac, (const u_char *) sealed_label,
                             sizeof(sealed_label))
           && EVP_MAC_update(mac, salt, SEALED_SALT_LEN)
           && EVP_MAC_final(mac, key, &len, EVP_MAX_MD_SIZE);

    EVP_MAC_CTX_free(mac);

    return done;
}


/*
 * Encrypts or decrypts len bytes in place.  1 when done, 0 when the tag does
 * not fit, -1 when OpenSSL could not work.
 */

static int
crypt_body(certctl_store_t *store, int enc, const u_char *head,
    size_t head_len, u_char *body, size_t len, u_char *tag)
{
    static const u_char   nonce[12];
    u_char                key[EVP_MAX_MD_SIZE];
    int                   n, rc = -1;
    EVP_CIPHER_CTX       *ctx;

    ERR_set_mark();

    ctx = EVP_CIPHER_CTX_new();

    if (ctx == NULL
        || !derive(store, head + SEALED_SALT, key)
        || !EVP_CipherInit_ex2(ctx, store->cipher, key, nonce, enc, NULL)
        || !EVP_CipherUpdate(ctx, NULL, &n, store->host, sizeof(store->host))
        || !EVP_CipherUpdate(ctx, NULL, &n, head, head_len)
        || (len && !EVP_CipherUpdate(ctx, body, &n, body, len)))
    {
        goto done;
    }

    if (!enc
        && !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEALED_TAG, tag))
    {
        goto done;
    }

    rc = EVP_CipherFinal_ex(ctx, body + len, &n) > 0;

    if (enc) {
        rc = rc && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEALED_TAG,
                                       tag)
             ? 1 : -1;
    }

done:

    OPENSSL_cleanse(key, sizeof(key));
    EVP_CIPHER_CTX_free(ctx);
    ERR_pop_to_mark();

    return rc;
}


static size_t
write_head(u_char *p, const certctl_record_t *in)
{
    size_t  i, n = strlen(in->name);

    memcpy(p, sealed_magic, sizeof(sealed_magic));
    p[8] = SEALED_FORMAT;
    p[9] = in->type;
    p[10] = in->kind;
    p[11] = in->reused_key ? SEALED_REUSED : 0;
    certctl_put_be(p + 12, n, 4);
    certctl_put_be(p + 16, in->generation, 8);
    certctl_put_be(p + 24, in->stored, 8);
    certctl_put_be(p + 32, in->staple_until, 8);

    for (i = 0; i < CERTCTL_BLOBS; i++) {
        certctl_put_be(p + 40 + 4 * i, in->blob[i].len, 4);
    }

    memcpy(p + 56, in->spki, sizeof(in->spki));
    memcpy(p + SEALED_HEAD, in->name, n);

    return SEALED_HEAD + n;
}


int
certctl_seal(certctl_store_t *store, const certctl_record_t *in, u_char **out,
    size_t *len)
{
    u_char  *buf, *body, *p;
    size_t   head, total, i;

    head = SEALED_HEAD + strlen(in->name);
    total = head + SEALED_TAG;

    for (i = 0; i < CERTCTL_BLOBS; i++) {
        if (in->blob[i].len > CERTCTL_FILE_MAX - total) {
            errno = EFBIG;
            return CERTCTL_STORE_ERROR;
        }

        total += in->blob[i].len;
    }

    buf = calloc(1, total);
    if (buf == NULL) {
        return CERTCTL_STORE_ERROR;
    }

    body = p = buf + write_head(buf, in);

    for (i = 0; i < CERTCTL_BLOBS; i++) {
        if (in->blob[i].len) {
            memcpy(p, in->blob[i].data, in->blob[i].len);
            p += in->blob[i].len;
        }
    }

    if (RAND_bytes(buf + SEALED_SALT, SEALED_SALT_LEN) != 1
        || crypt_body(store, 1, buf, head, body, p - body, p) != 1)
    {
        OPENSSL_cleanse(buf, total);
        free(buf);
        errno = ENOMEM;
        return CERTCTL_STORE_ERROR;
    }

    *out = buf;
    *len = total;

    return CERTCTL_STORE_OK;
}


/* 1 when the lengths of the head add up to len and all values are known. */

static int
read_head(const u_char *p, size_t len, certctl_sealed_e type,
    const char *name, certctl_record_t *ret)
{
    size_t    n, i;
    uint64_t  total;

    if (len < SEALED_HEAD + SEALED_TAG
        || memcmp(p, sealed_magic, sizeof(sealed_magic)) != 0
        || p[8] != SEALED_FORMAT || p[9] != type
        || p[10] >= CERTCTL_KINDS || p[11] & ~SEALED_REUSED)
    {
        return 0;
    }

    n = certctl_get_be(p + 12, 4);
    total = SEALED_HEAD + (uint64_t) n + SEALED_TAG;

    for (i = 0; i < CERTCTL_BLOBS; i++) {
        ret->blob[i].len = certctl_get_be(p + 40 + 4 * i, 4);
        total += ret->blob[i].len;
    }

    if (total != len || n >= sizeof(ret->name) || n != strlen(name)
        || memcmp(p + SEALED_HEAD, name, n) != 0)
    {
        return 0;
    }

    memcpy(ret->name, name, n + 1);
    memcpy(ret->spki, p + 56, sizeof(ret->spki));
    ret->type = type;
    ret->kind = p[10];
    ret->reused_key = p[11] & SEALED_REUSED;
    ret->generation = certctl_get_be(p + 16, 8);
    ret->stored = certctl_get_be(p + 24, 8);
    ret->staple_until = certctl_get_be(p + 32, 8);

    return 1;
}


int
certctl_unseal(certctl_store_t *store, certctl_sealed_e type,
    const char *name, u_char *buf, size_t len, certctl_record_t *ret)
{
    certctl_record_t   sealed;
    size_t             i, head;
    u_char            *p;
    int                rc = 0;

    memset(&sealed, 0, sizeof(sealed));

    if (read_head(buf, len, type, name, &sealed)) {
        head = SEALED_HEAD + strlen(name);
        rc = crypt_body(store, 0, buf, head, buf + head,
                        len - head - SEALED_TAG, buf + len - SEALED_TAG);
    }

    if (rc != 1) {
        OPENSSL_cleanse(buf, len);
        free(buf);

        if (rc == 0) {
            return CERTCTL_STORE_DAMAGED;
        }

        errno = ENOMEM;
        return CERTCTL_STORE_ERROR;
    }

    p = buf + SEALED_HEAD + strlen(name);

    for (i = 0; i < CERTCTL_BLOBS; i++) {
        sealed.blob[i].data = p;
        p += sealed.blob[i].len;
    }

    sealed.buf = buf;
    sealed.buf_len = len;
    *ret = sealed;

    return CERTCTL_STORE_OK;
}
