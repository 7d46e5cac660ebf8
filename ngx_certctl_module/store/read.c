
/* Reading records, by their names. */


#include "store/store_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include "x509_leaf.h"


typedef struct {
    int        (*fn)(const char *name, void *data);
    void        *data;
    int          stopped;
} each_t;


void
certctl_record_of(certctl_record_t *ret, const certctl_sealed_t *from)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->name, from->name, sizeof(ret->name));
    memcpy(ret->spki, from->spki, sizeof(ret->spki));

    ret->generation = from->generation;
    ret->stored = from->stored;
    ret->kind = from->kind;
    ret->reused_key = from->reused_key;
    ret->chain = from->blob[CERTCTL_BLOB_CHAIN];
    ret->key = from->blob[CERTCTL_BLOB_KEY];
    ret->staple = from->blob[CERTCTL_BLOB_STAPLE];
    ret->staple_until = from->until;
    ret->names = from->blob[CERTCTL_BLOB_NAMES];
    ret->buf = from->buf;
    ret->buf_len = from->buf_len;
    ret->file = from->file;
}


int
certctl_store_read(certctl_store_t *store, const char *name,
    certctl_record_t *ret)
{
    int               rc;
    certctl_sealed_t  sealed;

    rc = certctl_store_load(store, name, 0, &sealed);

    if (rc == CERTCTL_STORE_OK) {
        certctl_record_of(ret, &sealed);
    }

    return rc;
}


int
certctl_store_same(certctl_store_t *store, const char *name,
    const certctl_file_t *file)
{
    char  path[CERTCTL_PATH_SIZE];

    certctl_path(path, name, 0);

    return certctl_file_is(store->certs, path, file);
}


void
certctl_record_fill(certctl_record_t *record, const char *name,
    const struct certctl_leaf *leaf)
{
    memcpy(record->name, name, strlen(name) + 1);
    memcpy(record->spki, leaf->spki, sizeof(record->spki));

    record->leaf = leaf;
    record->stored = time(NULL);
    record->kind = leaf->rsa ? CERTCTL_KIND_RSA : CERTCTL_KIND_ECDSA;
}


void
certctl_record_free(certctl_record_t *rec)
{
    if (rec->buf != NULL) {
        OPENSSL_cleanse(rec->buf, rec->buf_len);
        free(rec->buf);
        memset(rec, 0, sizeof(*rec));
    }
}


static int
each_name(int folder, const char *base, void *data)
{
    each_t  *each = data;

    (void) folder;

    if (certctl_name_valid((const u_char *) base, strlen(base))) {
        each->stopped = each->fn(base, each->data) != 0;
    }

    return each->stopped;
}


int
certctl_store_each(certctl_store_t *store,
    int (*fn)(const char *name, void *data), void *data)
{
    int     i, fd;
    each_t  each = { .fn = fn, .data = data };

    for (i = 0; store->certs >= 0 && i < CERTCTL_FOLDERS; i++) {
        fd = certctl_folder_number(store->certs, i);

        if (fd < 0 && errno == ENOENT) {
            continue;
        }

        if (certctl_folder_each(fd, each_name, &each) < 0) {
            return CERTCTL_STORE_ERROR;
        }

        if (each.stopped) {
            break;
        }
    }

    return CERTCTL_STORE_OK;
}
