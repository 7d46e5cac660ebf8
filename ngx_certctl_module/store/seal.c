
/*
 * The sealing key and the host's id: seal.key, 64 bytes.
 *
 *    0   8  magic
 *    8  32  key
 *   40  16  host id
 *   56   8  the first bytes of the SHA-256 of what precedes
 */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>


#define SEAL_FILE   "seal.key"
#define SEAL_NEW    "+seal.key"
#define SEAL_SIZE   64
#define SEAL_KEY    8
#define SEAL_HOST   40
#define SEAL_CHECK  56

/* octets, not a string: gcc 15 warns of one that loses its NUL */
static const u_char  seal_magic[8] = {
    'c', 'e', 'r', 't', 'k', 'e', 'y', 0x01
};


static int
checksum(const u_char *data, u_char *out)
{
    u_char        md[EVP_MAX_MD_SIZE];
    unsigned int  n;

    if (!EVP_Digest(data, SEAL_CHECK, md, &n, EVP_sha256(), NULL)) {
        return 0;
    }

    memcpy(out, md, SEAL_SIZE - SEAL_CHECK);

    return 1;
}


/*
 * Made under another name and linked to its own: two masters that start at
 * once agree on one key, and nobody ever sees half of it.
 */

static const char *
make_key(certctl_store_t *store)
{
    int          rc;
    u_char       data[SEAL_SIZE];
    char         name[64];
    int          fd;

    memcpy(data, seal_magic, sizeof(seal_magic));

    if (RAND_bytes(data + SEAL_KEY, SEAL_CHECK - SEAL_KEY) != 1
        || !checksum(data, data + SEAL_CHECK))
    {
        return "no random numbers for a sealing key";
    }

    (void) snprintf(name, sizeof(name), SEAL_NEW ".%ld", (long) getpid());
    (void) unlinkat(store->top, name, 0);

    fd = openat(store->top, name, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC,
                0400);

    rc = fd >= 0 && write(fd, data, sizeof(data)) == sizeof(data)
         && fsync(fd) == 0;
    OPENSSL_cleanse(data, sizeof(data));
    certctl_close(fd);

    CERTCTL_POINT("store.seal.before_link");

    rc = rc
         && (linkat(store->top, name, store->top, SEAL_FILE, 0) == 0
             || errno == EEXIST);

    CERTCTL_POINT("store.seal.after_link");

    (void) unlinkat(store->top, name, 0);

    return rc && fsync(store->top) == 0 ? NULL
                                        : "the sealing key cannot be written";
}


EVP_MAC_CTX *
certctl_seal_mac(const u_char key[CERTCTL_SEAL_KEY])
{
    char          digest[] = "SHA256";
    EVP_MAC      *hmac;
    EVP_MAC_CTX  *mac;
    OSSL_PARAM    params[2];

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest,
                                                 0);
    params[1] = OSSL_PARAM_construct_end();

    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
    EVP_MAC_free(hmac);

    if (mac != NULL && !EVP_MAC_init(mac, key, CERTCTL_SEAL_KEY, params)) {
        EVP_MAC_CTX_free(mac);
        mac = NULL;
    }

    return mac;
}


static const char *
read_key(certctl_store_t *store, int fd)
{
    u_char        data[SEAL_SIZE + 1], check[SEAL_SIZE - SEAL_CHECK];
    const char   *why = NULL;
    struct stat   st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return "seal.key is not a file";
    }

    if (st.st_mode & 077) {
        return "seal.key may be read by others than its owner: chmod 0400 it";
    }

    if (st.st_uid != geteuid() && st.st_uid != 0) {
        return "seal.key must belong to the user that starts NGINX";
    }

    if (read(fd, data, sizeof(data)) != SEAL_SIZE
        || memcmp(data, seal_magic, sizeof(seal_magic)) != 0
        || !checksum(data, check)
        || memcmp(data + SEAL_CHECK, check, sizeof(check)) != 0)
    {
        why = "seal.key is damaged: restore it from a backup";

    } else {
        store->mac = certctl_seal_mac(data + SEAL_KEY);
        why = store->mac ? NULL : "OpenSSL has no HMAC-SHA256";
        memcpy(store->host, data + SEAL_HOST, sizeof(store->host));
    }

    OPENSSL_cleanse(data, sizeof(data));

    return why;
}


static int
is_visible(int folder, const char *base, void *data)
{
    (void) folder;
    (void) data;

    return base[0] != '.';
}


/*
 * A new key would make every record of the old one unreadable for good; when
 * the folder cannot be read, it may have records.  Not by counting links: on
 * some file systems a folder has one, whatever is in it.
 */

static int
is_empty(certctl_store_t *store)
{
    return store->certs < 0
           || certctl_folder_each(certctl_folder_again(store->certs),
                                  is_visible, NULL)
              == CERTCTL_STORE_OK;
}


int
certctl_seal_key_load(certctl_store_t *store, int create, char *why,
    size_t why_len)
{
    int          fd, flags = O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC;
    const char  *reason = NULL;

    fd = openat(store->top, SEAL_FILE, flags);

    if (fd < 0 && errno == ENOENT) {
        if (!is_empty(store)) {
            reason = "seal.key is missing, but there are records that it"
                     " sealed: restore it, or move them away";

        } else if (!create) {
            return 0;

        } else {
            reason = make_key(store);
            fd = openat(store->top, SEAL_FILE, flags);
        }
    }

    if (reason == NULL) {
        reason = fd < 0 ? "seal.key cannot be opened" : read_key(store, fd);
    }

    if (reason != NULL) {
        (void) snprintf(why, why_len, "%s", reason);
    }

    certctl_close(fd);

    return reason ? -1 : 0;
}
