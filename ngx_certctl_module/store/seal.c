
/*
 * The sealing key and the host's id: seal.key, 64 bytes; and the key before in
 * seal.old, while it is replaced.
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
#define SEAL_OLD    "seal.old"
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
 * A key file under a name of its own, for the host of this id, or a new one.
 * It appears under the name of the key when all of it is on the disk.
 */

static int
write_key(int top, const u_char *host, char name[64])
{
    int     rc, fd;
    u_char  data[SEAL_SIZE];

    memcpy(data, seal_magic, sizeof(seal_magic));

    if (RAND_bytes(data + SEAL_KEY, SEAL_CHECK - SEAL_KEY) != 1) {
        return 0;
    }

    if (host) {
        memcpy(data + SEAL_HOST, host, SEAL_CHECK - SEAL_HOST);
    }

    (void) snprintf(name, 64, SEAL_NEW ".%ld", (long) getpid());
    (void) unlinkat(top, name, 0);

    fd = checksum(data, data + SEAL_CHECK)
         ? openat(top, name, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC,
                  0400)
         : -1;

    rc = fd >= 0 && write(fd, data, sizeof(data)) == sizeof(data)
         && fsync(fd) == 0;
    OPENSSL_cleanse(data, sizeof(data));
    certctl_close(fd);

    return rc;
}


/*
 * Linked to its name: two masters that start at once agree on one key, and
 * nobody ever sees half of it.
 */

static const char *
make_key(certctl_store_t *store)
{
    int   rc;
    char  name[64] = "";

    rc = write_key(store->top, NULL, name);

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


/* The rule that a key file breaks; name is seal.key or seal.old. */

static const char *
read_key(int fd, const char *name, u_char data[SEAL_SIZE + 1], char *why,
    size_t why_len)
{
    u_char        check[SEAL_SIZE - SEAL_CHECK];
    const char   *rule = NULL;
    struct stat   st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rule = "is not a file";

    } else if (st.st_mode & 077) {
        rule = "may be read by others than its owner: chmod 0400 it";

    } else if (st.st_uid != geteuid() && st.st_uid != 0) {
        rule = "must belong to the user that starts NGINX";

    } else if (read(fd, data, SEAL_SIZE + 1) != SEAL_SIZE
               || memcmp(data, seal_magic, sizeof(seal_magic)) != 0
               || !checksum(data, check)
               || memcmp(data + SEAL_CHECK, check, sizeof(check)) != 0)
    {
        rule = "is damaged: restore it from a backup";
    }

    if (rule) {
        (void) snprintf(why, why_len, "%s %s", name, rule);
    }

    return rule ? why : NULL;
}


static const char *
take_key(certctl_store_t *store, int fd, char *why, size_t why_len)
{
    u_char       data[SEAL_SIZE + 1];
    const char  *rule;

    rule = read_key(fd, SEAL_FILE, data, why, why_len);

    if (rule == NULL) {
        store->mac = certctl_seal_mac(data + SEAL_KEY);
        rule = store->mac ? NULL : "OpenSSL has no HMAC-SHA256";
        memcpy(store->host, data + SEAL_HOST, sizeof(store->host));
    }

    OPENSSL_cleanse(data, sizeof(data));

    return rule;
}


/* The key before, of the same host, if there is one. */

static const char *
take_old_key(certctl_store_t *store, char *why, size_t why_len)
{
    int          fd;
    u_char       data[SEAL_SIZE + 1];
    const char  *rule;

    fd = openat(store->top, SEAL_OLD, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd < 0) {
        return errno == ENOENT ? NULL : "seal.old cannot be opened";
    }

    rule = read_key(fd, SEAL_OLD, data, why, why_len);

    if (rule == NULL
        && memcmp(data + SEAL_HOST, store->host, sizeof(store->host)) != 0)
    {
        rule = "seal.old is of another host than seal.key: restore both from"
               " one backup";
    }

    if (rule == NULL) {
        store->mac_old = certctl_seal_mac(data + SEAL_KEY);
        rule = store->mac_old ? NULL : "OpenSSL has no HMAC-SHA256";
    }

    OPENSSL_cleanse(data, sizeof(data));
    certctl_close(fd);

    return rule;
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
        reason = fd < 0 ? "seal.key cannot be opened"
                        : take_key(store, fd, why, why_len);
    }

    if (reason == NULL) {
        reason = take_old_key(store, why, why_len);
    }

    if (reason != NULL && reason != why) {
        (void) snprintf(why, why_len, "%s", reason);
    }

    certctl_close(fd);

    return reason ? -1 : 0;
}


static int
open_top(const char *path)
{
    return open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);
}


/*
 * The key is kept under its second name before the first is given to another: a
 * kill in between leaves one key under both, and the next call goes on.
 */

static const char *
rotate_key(int top, char *name)
{
    int          fd;
    u_char       data[SEAL_SIZE + 1];
    const char  *rule;
    static char  why[160];

    fd = openat(top, SEAL_FILE, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);
    rule = fd < 0 ? "seal.key cannot be opened"
                  : read_key(fd, SEAL_FILE, data, why, sizeof(why));

    if (rule == NULL && linkat(top, SEAL_FILE, top, SEAL_OLD, 0) != 0) {
        rule = errno != EEXIST ? "seal.old cannot be written"
               : certctl_lock_is_file(fd, top, SEAL_OLD) != 1
               ? "seal.old is there: what it has sealed is not sealed again yet"
               : NULL;
    }

    if (rule == NULL
        && (fsync(top) != 0 || !write_key(top, data + SEAL_HOST, name)
            || renameat(top, name, top, SEAL_FILE) != 0 || fsync(top) != 0))
    {
        rule = "the sealing key cannot be written";
    }

    OPENSSL_cleanse(data, sizeof(data));
    certctl_close(fd);

    return rule;
}


int
certctl_store_same_keys(certctl_store_t *store)
{
    int  fd, same;

    fd = openat(store->top, SEAL_FILE, O_RDONLY|O_NOFOLLOW|O_CLOEXEC);
    same = fd >= 0 && certctl_lock_is_file(fd, store->top, SEAL_OLD) == 1;
    certctl_close(fd);

    return same;
}


const char *
certctl_store_rotate_key(const char *path)
{
    int          top;
    char         name[64] = "";
    const char  *rule;

    top = open_top(path);
    rule = top < 0 ? "the store cannot be opened" : rotate_key(top, name);

    if (rule && name[0]) {
        (void) unlinkat(top, name, 0);
    }

    certctl_close(top);

    return rule;
}


const char *
certctl_store_drop_old_key(const char *path)
{
    int          top;
    const char  *rule;

    top = open_top(path);

    rule = top >= 0 && unlinkat(top, SEAL_OLD, 0) == 0 && fsync(top) == 0
           ? NULL : "seal.old cannot be removed";
    certctl_close(top);

    return rule;
}
