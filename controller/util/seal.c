/* AES-256-GCM under a key file; a sealed value is bound to its place by its context. */
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SEAL_KEY   32
#define SEAL_IV    12
#define SEAL_TAG   16
#define SEAL_MARK  "v1."

struct seal {
    unsigned char  key[SEAL_KEY];
};

CLEANUP_FUNC(cipher, EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)

/* A new key appears under its name only when it is whole and on the disk. */
static bool
seal_make(const char *path, struct error *err)
{
    unsigned char  key[SEAL_KEY];
    char           tmp[1024];
    bool           ok;
    int            fd;

    snprintf(tmp, sizeof(tmp), "%s.new", path);
    unlink(tmp);

    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ok = fd >= 0 && RAND_priv_bytes(key, sizeof(key)) == 1
         && write(fd, key, sizeof(key)) == sizeof(key) && fsync(fd) == 0
         && link(tmp, path) == 0;

    if (!ok) {
        error_set(err, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
    }

    OPENSSL_cleanse(key, sizeof(key));
    unlink(tmp);
    fd_cleanup(&fd);

    return ok;
}

struct seal *
seal_open(const char *path, struct error *err)
{
    struct seal      *seal;
    struct stat       st;
    CLEANUP(fd) int   fd = -1;

    if (access(path, F_OK) != 0 && !seal_make(path, err)) {
        return NULL;
    }

    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0) {
        error_set(err, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
        return NULL;
    }

    if (st.st_mode & 077) {
        error_set(err, ERR_INVALID, "%s must not be readable by others: its mode "
                  "is %03o, 600 is wanted", path, st.st_mode & 0777);
        return NULL;
    }

    seal = calloc(1, sizeof(*seal));

    if (seal == NULL || st.st_size != SEAL_KEY
        || read(fd, seal->key, SEAL_KEY) != SEAL_KEY)
    {
        seal_close(seal);
        error_set(err, ERR_INVALID, "%s must hold %d bytes", path, SEAL_KEY);
        return NULL;
    }

    return seal;
}

void
seal_close(struct seal *seal)
{
    if (seal) {
        OPENSSL_cleanse(seal->key, sizeof(seal->key));
        free(seal);
    }
}

static bool
seal_run(const struct seal *seal, int encrypt, const char *context,
    unsigned char *iv, const unsigned char *in, int len, unsigned char *out,
    unsigned char *tag)
{
    CLEANUP(cipher) EVP_CIPHER_CTX  *ctx = EVP_CIPHER_CTX_new();
    int                              n;

    return ctx && EVP_CipherInit_ex2(ctx, EVP_aes_256_gcm(), seal->key, iv, encrypt, NULL)
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
    CLEANUP(ossl_buf) unsigned char  *raw = OPENSSL_malloc(all);
    char                         *text = malloc(sizeof(SEAL_MARK) + (all + 2) / 3 * 4);

    if (raw == NULL || text == NULL || RAND_bytes(raw, SEAL_IV) != 1
        || !seal_run(seal, 1, context, raw, (const unsigned char *) plain, len,
                     raw + SEAL_IV, raw + SEAL_IV + len))
    {
        free(text);
        error_set(err, ERR_INTERNAL, "sealing failed");
        return NULL;
    }

    memcpy(text, SEAL_MARK, sizeof(SEAL_MARK));
    EVP_EncodeBlock((unsigned char *) text + sizeof(SEAL_MARK) - 1, raw, all);

    return text;
}

char *
unseal_text(const struct seal *seal, const char *context, const char *sealed,
    struct error *err)
{
    size_t                            mark = sizeof(SEAL_MARK) - 1;
    size_t                            len = strlen(sealed);
    CLEANUP(ossl_buf) unsigned char  *raw = OPENSSL_malloc(len + 1);
    char                             *plain = calloc(1, len + 1);
    int                               n = -1;

    if (raw && plain && len > mark && strncmp(sealed, SEAL_MARK, mark) == 0) {
        n = EVP_DecodeBlock(raw, (const unsigned char *) sealed + mark, len - mark);
        n -= (len > mark + 1 && sealed[len - 1] == '=')
             + (len > mark + 2 && sealed[len - 2] == '=');
    }

    n -= SEAL_IV + SEAL_TAG;

    if (n < 0 || !seal_run(seal, 0, context, raw, raw + SEAL_IV, n,
                           (unsigned char *) plain, raw + SEAL_IV + n))
    {
        seal_wipe(plain);
        error_set(err, ERR_INTERNAL, "%s: the sealed value does not open: another "
                  "key, or it was moved or changed", context);
        return NULL;
    }

    return plain;
}

void
seal_wipe(char *plain)
{
    if (plain) {
        OPENSSL_cleanse(plain, strlen(plain));
        free(plain);
    }
}
