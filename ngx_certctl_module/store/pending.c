
/* Keys that wait for their certificate, and staples of static certificates. */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "x509_info.h"
#include "x509_key.h"


static int
load(certctl_store_t *store, int parent, certctl_sealed_e type,
    const char *name, certctl_sealed_t *ret)
{
    char  path[CERTCTL_PATH_SIZE];

    if (parent < 0
        || !certctl_name_valid((const u_char *) name, strlen(name)))
    {
        return CERTCTL_STORE_NOT_FOUND;
    }

    certctl_path(path, name, 0);

    return certctl_sealed_read(store, parent, path, type, name, ret);
}


/* Of a static certificate's staples the later one stays; under its lock. */

static int
check_staple(certctl_store_t *store, const certctl_sealed_t *in)
{
    int                rc;
    certctl_sealed_t   old;

    if (in->type != CERTCTL_SEALED_STAPLE
        || load(store, store->staples, in->type, in->name, &old)
           != CERTCTL_STORE_OK)
    {
        return CERTCTL_STORE_OK;
    }

    rc = certctl_staple_replaces(&in->blob[CERTCTL_BLOB_STAPLE], in->until,
                                 &old.blob[CERTCTL_BLOB_STAPLE], old.until)
         ? CERTCTL_STORE_OK : CERTCTL_STORE_OLDER;

    certctl_sealed_free(&old);

    return rc;
}


/* Puts in in the place of what folder parent has under its name. */

static int
replace(certctl_store_t *store, int parent, const certctl_sealed_t *in)
{
    int              rc, folder;
    certctl_write_t  w;

    rc = certctl_write_begin(store, in->name, 0, CERTCTL_LOCK_WAIT, NULL, &w);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    rc = check_staple(store, in);
    if (rc != CERTCTL_STORE_OK) {
        certctl_write_end(&w);
        return rc;
    }

    folder = certctl_folder_open(store, parent, in->name, 1);
    rc = folder < 0 ? certctl_store_code()
                    : certctl_sealed_replace(store, folder, in);

    if (folder >= 0) {
        close(folder);
    }

    certctl_write_end(&w);

    return rc;
}


static int
key_digest(const certctl_blob_t *der, u_char *spki)
{
    int            len, good;
    u_char        *text = NULL;
    EVP_PKEY      *key;
    unsigned int   n;

    key = certctl_key_from_der(der->data, der->len);
    if (key == NULL) {
        return 0;
    }

    ERR_set_mark();

    len = i2d_PUBKEY(key, &text);
    good = len > 0 && EVP_Digest(text, len, spki, &n, EVP_sha256(), NULL);

    OPENSSL_free(text);
    EVP_PKEY_free(key);
    ERR_pop_to_mark();

    return good;
}


int
certctl_store_pending_put(certctl_store_t *store,
    const certctl_pending_t *pending)
{
    certctl_sealed_t  in;

    memset(&in, 0, sizeof(in));

    if (!certctl_name_valid((const u_char *) pending->name,
                            strnlen(pending->name, sizeof(pending->name)))
        || !key_digest(&pending->key, in.spki))
    {
        errno = EINVAL;
        return CERTCTL_STORE_ERROR;
    }

    memcpy(in.name, pending->name, sizeof(in.name));
    in.type = CERTCTL_SEALED_PENDING;
    in.stored = pending->made;
    in.blob[CERTCTL_BLOB_KEY] = pending->key;
    in.blob[CERTCTL_BLOB_CSR] = pending->csr;
    in.blob[CERTCTL_BLOB_SANS] = pending->sans;
    in.blob[CERTCTL_BLOB_TYPE].data = (u_char *) pending->key_type;
    in.blob[CERTCTL_BLOB_TYPE].len = strnlen(pending->key_type,
                                             sizeof(pending->key_type) - 1);

    return replace(store, store->pending, &in);
}


int
certctl_store_pending_get(certctl_store_t *store, const char *name,
    certctl_pending_t *ret)
{
    int                rc;
    certctl_blob_t    *type, *sans;
    certctl_sealed_t   sealed;

    rc = load(store, store->pending, CERTCTL_SEALED_PENDING, name, &sealed);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    type = &sealed.blob[CERTCTL_BLOB_TYPE];
    sans = &sealed.blob[CERTCTL_BLOB_SANS];

    if (type->len >= sizeof(ret->key_type)
        || (sans->len && sans->data[sans->len - 1] != '\0'))
    {
        certctl_sealed_free(&sealed);
        return CERTCTL_STORE_DAMAGED;
    }

    memset(ret, 0, sizeof(*ret));
    memcpy(ret->name, sealed.name, sizeof(ret->name));
    memcpy(ret->key_type, type->data, type->len);
    memcpy(ret->spki, sealed.spki, sizeof(ret->spki));
    ret->made = sealed.stored;
    ret->key = sealed.blob[CERTCTL_BLOB_KEY];
    ret->csr = sealed.blob[CERTCTL_BLOB_CSR];
    ret->sans = *sans;
    ret->buf = sealed.buf;
    ret->buf_len = sealed.buf_len;

    return CERTCTL_STORE_OK;
}


void
certctl_pending_free(certctl_pending_t *pending)
{
    if (pending->buf != NULL) {
        OPENSSL_cleanse(pending->buf, pending->buf_len);
        free(pending->buf);
        memset(pending, 0, sizeof(*pending));
    }
}


void
certctl_pending_remove(certctl_store_t *store, const char *name,
    const u_char *spki)
{
    int                err = errno, folder, same;
    certctl_sealed_t   sealed;

    same = spki == NULL;

    if (!same
        && load(store, store->pending, CERTCTL_SEALED_PENDING, name, &sealed)
           == CERTCTL_STORE_OK)
    {
        same = memcmp(sealed.spki, spki, sizeof(sealed.spki)) == 0;
        certctl_sealed_free(&sealed);
    }

    folder = same ? certctl_folder_open(store, store->pending, name, 0) : -1;

    if (folder >= 0) {
        CERTCTL_POINT("store.pending.before_remove");

        /* a key that is live now lies in its record, too: not worth a wait
           for the disk */
        (void) certctl_file_remove(folder, name, 0, spki == NULL);
        close(folder);
    }

    errno = err;
}


int
certctl_store_static_staple_put(certctl_store_t *store,
    const u_char *fingerprint, const certctl_blob_t *staple, int64_t until,
    certctl_changed_pt changed, void *data)
{
    int               rc;
    certctl_sealed_t  in;

    memset(&in, 0, sizeof(in));
    certctl_hex(fingerprint, 32, in.name);
    in.type = CERTCTL_SEALED_STAPLE;
    in.stored = time(NULL);
    in.until = until;
    in.blob[CERTCTL_BLOB_STAPLE] = *staple;

    rc = replace(store, store->staples, &in);

    /* readers may have seen it, also when it could not be synced */

    if (changed != NULL) {
        changed(in.name, data);
    }

    return rc;
}


int
certctl_store_static_staple_get(certctl_store_t *store,
    const u_char *fingerprint, certctl_blob_t *ret, int64_t *until)
{
    int                rc;
    char               name[CERTCTL_HEX256];
    u_char            *data;
    certctl_blob_t    *staple;
    certctl_sealed_t   sealed;

    certctl_hex(fingerprint, 32, name);

    rc = load(store, store->staples, CERTCTL_SEALED_STAPLE, name, &sealed);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    staple = &sealed.blob[CERTCTL_BLOB_STAPLE];
    data = malloc(staple->len + 1);

    if (data != NULL) {
        memcpy(data, staple->data, staple->len);
        ret->data = data;
        ret->len = staple->len;
        *until = sealed.until;
    }

    certctl_sealed_free(&sealed);

    return data ? CERTCTL_STORE_OK : CERTCTL_STORE_ERROR;
}
