/* AES-256-GCM under a key file; a sealed value is bound to its place by its context. */
#include "seal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SEAL_IV    12
#define SEAL_TAG   16
#define SEAL_ANY   "v1."          /* of the time of one key: without its id */
#define SEAL_MARK  "v2."          /* then the id, and "." */
#define SEAL_HEAD  (sizeof(SEAL_MARK) - 1 + SEAL_ID)

struct seal {
    atomic_int     n;             /* a key is whole before it counts */
    atomic_int     sealing;
    char           ids[SEAL_KEYS_MAX][SEAL_ID];
    unsigned char  keys[SEAL_KEYS_MAX][SEAL_KEY];
};

CLEANUP_FUNC(cipher, EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)

static int
seal_find(const struct seal *seal, const char *id, size_t len)
{
    int  n = atomic_load(&seal->n);

    for (int i = 0; i < n; i++) {
        if (strlen(seal->ids[i]) == len && strncmp(seal->ids[i], id, len) == 0) {
            return i;
        }
    }

    return -1;
}

bool
seal_reload(struct seal *seal, const char *path, struct error *err)
{
    unsigned char  keys[SEAL_KEYS_MAX][SEAL_KEY];
    int            count = seal_file_read(path, keys, err);
    int            n = atomic_load(&seal->n);
    char           id[SEAL_ID];

    for (int i = 0; i < count && n < SEAL_KEYS_MAX; i++) {
        seal_file_id(keys[i], id);
        if (seal_find(seal, id, strlen(id)) >= 0) {
            continue;
        }

        memcpy(seal->keys[n], keys[i], SEAL_KEY);
        memcpy(seal->ids[n], id, sizeof(id));
        atomic_store(&seal->n, ++n);
    }

    OPENSSL_cleanse(keys, sizeof(keys));

    return count > 0;
}

struct seal *
seal_open(const char *path, struct error *err)
{
    struct seal  *seal;

    if (access(path, F_OK) != 0 && !seal_file_make(path, err)) {
        return NULL;
    }

    seal = calloc(1, sizeof(*seal));

    if (seal == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    if (!seal_reload(seal, path, err)) {
        seal_close(seal);
        return NULL;
    }

    return seal;
}

void
seal_close(struct seal *seal)
{
    if (seal) {
        OPENSSL_cleanse(seal->keys, sizeof(seal->keys));
        free(seal);
    }
}

bool
seal_use(struct seal *seal, const char *id)
{
    int  i = seal_find(seal, id, strlen(id));

    if (i >= 0) {
        atomic_store(&seal->sealing, i);
    }

    return i >= 0;
}

bool
seal_seals_with(const struct seal *seal, const char *id)
{
    return strcmp(seal->ids[atomic_load(&seal->sealing)], id) == 0;
}

bool
seal_key_id(const struct seal *seal, int i, char id[SEAL_ID])
{
    if (i >= atomic_load(&seal->n)) {
        return false;
    }

    memcpy(id, seal->ids[i], SEAL_ID);

    return true;
}

static bool
seal_run(const unsigned char *key, int encrypt, const char *context,
    unsigned char *iv, const unsigned char *in, int len, unsigned char *out,
    unsigned char *tag)
{
    CLEANUP(cipher) EVP_CIPHER_CTX  *ctx = EVP_CIPHER_CTX_new();
    int                              n;

    return ctx && EVP_CipherInit_ex2(ctx, EVP_aes_256_gcm(), key, iv, encrypt, NULL)
           && EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *) context,
                               strlen(context))
           && EVP_CipherUpdate(ctx, out, &n, in, len)
           && (encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag))
           && EVP_CipherFinal_ex(ctx, out + n, &n)
           && (!encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, tag));
}

char *
seal_text(const struct seal *seal, const char *context, const char *plain,
    struct error *err)
{
    size_t                        len = strlen(plain), all = SEAL_IV + len + SEAL_TAG;
    int                           i = atomic_load(&seal->sealing);
    CLEANUP(ossl_buf) unsigned char  *raw = OPENSSL_malloc(all);
    char                         *text = malloc(SEAL_HEAD + 1 + (all + 2) / 3 * 4);

    if (raw == NULL || text == NULL || RAND_bytes(raw, SEAL_IV) != 1
        || !seal_run(seal->keys[i], 1, context, raw, (const unsigned char *) plain, len,
                     raw + SEAL_IV, raw + SEAL_IV + len))
    {
        free(text);
        error_set(err, ERR_INTERNAL, "sealing failed");
        return NULL;
    }

    snprintf(text, SEAL_HEAD + 1, "%s%s.", SEAL_MARK, seal->ids[i]);
    EVP_EncodeBlock((unsigned char *) text + SEAL_HEAD, raw, all);

    return text;
}

/* Which keys may have sealed it, from *from on and before *to; where its base64
 * begins.  NULL: it is no sealed value, or of a key that is not there. */
static const char *
seal_keys(const struct seal *seal, const char *sealed, int *from, int *to)
{
    const char  *id = sealed + sizeof(SEAL_MARK) - 1;

    *from = 0;
    *to = atomic_load(&seal->n);

    if (strncmp(sealed, SEAL_ANY, sizeof(SEAL_ANY) - 1) == 0) {
        return sealed + sizeof(SEAL_ANY) - 1;
    }

    if (strncmp(sealed, SEAL_MARK, sizeof(SEAL_MARK) - 1) != 0 || strchr(id, '.') == NULL) {
        return NULL;
    }

    *from = seal_find(seal, id, strcspn(id, "."));
    *to = *from + 1;

    return *from < 0 ? NULL : strchr(id, '.') + 1;
}

/* The octets of base64: their number, or -1. */
static int
seal_octets(const char *text, unsigned char *raw)
{
    size_t  len = strlen(text);
    int     n = EVP_DecodeBlock(raw, (const unsigned char *) text, len);

    return n < 0 ? -1 : n - (len > 0 && text[len - 1] == '=')
                          - (len > 1 && text[len - 2] == '=');
}

char *
unseal_text(const struct seal *seal, const char *context, const char *sealed,
    struct error *err)
{
    size_t                            len = strlen(sealed);
    CLEANUP(ossl_buf) unsigned char  *raw = OPENSSL_malloc(len + 1);
    char                             *plain = calloc(1, len + 1);
    const char                       *text;
    int                               n, i, to;

    text = seal_keys(seal, sealed, &i, &to);

    if (text == NULL && strncmp(sealed, SEAL_MARK, sizeof(SEAL_MARK) - 1) == 0) {
        free(plain);
        error_set(err, ERR_INTERNAL, "%s: the value is sealed with key %.8s, which seal.key "
                  "does not have: copy seal.key from the replica that has it", context,
                  sealed + sizeof(SEAL_MARK) - 1);
        return NULL;
    }

    n = raw && plain && text ? seal_octets(text, raw) - SEAL_IV - SEAL_TAG : -1;

    for ( ; n >= 0 && i < to; i++) {
        if (seal_run(seal->keys[i], 0, context, raw, raw + SEAL_IV, n,
                     (unsigned char *) plain, raw + SEAL_IV + n))
        {
            plain[n] = '\0';
            return plain;
        }
    }

    seal_wipe(plain);
    error_set(err, ERR_INTERNAL, "%s: the sealed value does not open: another "
              "key, or it was moved or changed", context);

    return NULL;
}

void
seal_wipe(char *plain)
{
    if (plain) {
        OPENSSL_cleanse(plain, strlen(plain));
        free(plain);
    }
}
