/* The file of sealing keys: a whole number of keys, which one reader may have. */
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
seal_file_id(const unsigned char key[SEAL_KEY], char id[SEAL_ID])
{
    static const char  label[] = "certctl seal key";
    unsigned char      text[sizeof(label) + SEAL_KEY], digest[EVP_MAX_MD_SIZE] = { 0 };

    memcpy(text, label, sizeof(label));
    memcpy(text + sizeof(label), key, SEAL_KEY);
    EVP_Digest(text, sizeof(text), digest, NULL, EVP_sha256(), NULL);
    OPENSSL_cleanse(text, sizeof(text));

    snprintf(id, SEAL_ID, "%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
}

/* The keys appear under the name only when they are whole and on the disk; owner is
 * who has the file now, or NULL for one that must not be there. */
static bool
seal_file_write(const char *path, unsigned char keys[][SEAL_KEY], int n,
    const struct stat *owner, struct error *err)
{
    char    tmp[1024];
    size_t  len = (size_t) n * SEAL_KEY;
    bool    ok;
    int     fd;

    snprintf(tmp, sizeof(tmp), "%s.new", path);
    unlink(tmp);

    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ok = fd >= 0 && write(fd, keys, len) == (ssize_t) len
         && (owner == NULL || geteuid() != 0
             || fchown(fd, owner->st_uid, owner->st_gid) == 0)
         && fsync(fd) == 0
         && (owner ? rename(tmp, path) : link(tmp, path)) == 0;

    if (!ok) {
        error_set(err, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
    }

    unlink(tmp);
    fd_cleanup(&fd);

    return ok;
}

bool
seal_file_make(const char *path, struct error *err)
{
    unsigned char  key[1][SEAL_KEY];
    bool           ok;

    ok = (RAND_priv_bytes(key[0], SEAL_KEY) == 1
          || error_set(err, ERR_UNAVAILABLE, "%s: no random numbers", path))
         && seal_file_write(path, key, 1, NULL, err);

    OPENSSL_cleanse(key, sizeof(key));

    return ok;
}

int
seal_file_read(const char *path, unsigned char keys[SEAL_KEYS_MAX][SEAL_KEY],
    struct error *err)
{
    struct stat      st;
    CLEANUP(fd) int  fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0) {
        error_set(err, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno));
        return 0;
    }

    if (st.st_mode & 077) {
        error_set(err, ERR_INVALID, "%s must not be readable by others: its mode "
                  "is %03o, 600 is wanted", path, st.st_mode & 0777);
        return 0;
    }

    if (st.st_size == 0 || st.st_size % SEAL_KEY || st.st_size > SEAL_KEYS_MAX * SEAL_KEY
        || read(fd, keys, (size_t) st.st_size) != st.st_size)
    {
        error_set(err, ERR_INVALID, "%s must hold %d bytes for each of 1 to %d keys", path,
                  SEAL_KEY, SEAL_KEYS_MAX);
        return 0;
    }

    return (int) (st.st_size / SEAL_KEY);
}

bool
seal_file_add(const char *path, char id[SEAL_ID], struct error *err)
{
    unsigned char  keys[SEAL_KEYS_MAX][SEAL_KEY];
    int            n = seal_file_read(path, keys, err);
    struct stat    st;
    bool           ok = false;

    if (n == SEAL_KEYS_MAX) {
        error_set(err, ERR_CONFLICT, "%s has %d keys already: remove one that nothing is "
                  "sealed with", path, n);

    } else if (n && stat(path, &st) == 0) {
        ok = (RAND_priv_bytes(keys[n], SEAL_KEY) == 1
              || error_set(err, ERR_UNAVAILABLE, "%s: no random numbers", path))
             && seal_file_write(path, keys, n + 1, &st, err);
        seal_file_id(keys[n], id);
    }

    OPENSSL_cleanse(keys, sizeof(keys));

    return ok;
}

bool
seal_file_drop(const char *path, const char *id, struct error *err)
{
    unsigned char  keys[SEAL_KEYS_MAX][SEAL_KEY];
    int            n = seal_file_read(path, keys, err), left = 0;
    struct stat    st;
    char           is[SEAL_ID];
    bool           ok = false;

    for (int i = 0; i < n; i++) {
        seal_file_id(keys[i], is);
        if (strcmp(is, id) != 0) {
            memmove(keys[left++], keys[i], SEAL_KEY);
        }
    }

    if (n && left == n) {
        error_set(err, ERR_NOT_FOUND, "%s has no key %s", path, id);

    } else if (n && left == 0) {
        error_set(err, ERR_CONFLICT, "%s is the only key of %s", id, path);

    } else if (n && stat(path, &st) == 0) {
        ok = seal_file_write(path, keys, left, &st, err);
    }

    OPENSSL_cleanse(keys, sizeof(keys));

    return ok;
}
