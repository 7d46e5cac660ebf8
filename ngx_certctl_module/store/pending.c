
/* Pending keys: each waits for the certificate that was requested for it. */


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
key_digest(const certctl_blob_t *der, u_char *spki)
{
    int        len, good;
    u_char    *text = NULL;
    EVP_PKEY  *key;

    key = certctl_key_from_der(der->data, der->len);
    if (key == NULL) {
        return 0;
    }

    ERR_set_mark();

    len = i2d_PUBKEY(key, &text);
    good = len > 0 && EVP_Digest(text, len, spki, NULL, EVP_sha256(), NULL);

    OPENSSL_free(text);
    EVP_PKEY_free(key);
    ERR_pop_to_mark();

    return good;
}


int
certctl_store_pending_put(certctl_store_t *store,
    const certctl_pending_t *pending)
{
    certctl_record_t  in = { .type = CERTCTL_SEALED_PENDING,
                             .stored = pending->made,
                             .key = pending->key,
                             .chain = pending->csr,
                             .names = pending->sans };

    if (!certctl_name_valid((const u_char *) pending->name,
                            strnlen(pending->name, sizeof(pending->name)))
        || !key_digest(&pending->key, in.spki))
    {
        errno = EINVAL;
        return CERTCTL_STORE_ERROR;
    }

    memcpy(in.name, pending->name, sizeof(in.name));
    in.staple.data = (u_char *) pending->key_type;
    in.staple.len = strnlen(pending->key_type, sizeof(pending->key_type) - 1);

    return certctl_write_sealed(store, store->pending, &in, NULL);
}


int
certctl_store_pending_get(certctl_store_t *store, const char *name,
    certctl_pending_t *ret)
{
    int               rc;
    certctl_blob_t   *type, *sans;
    certctl_record_t  sealed;

    rc = certctl_sealed_load(store, store->pending, CERTCTL_SEALED_PENDING,
                             name, 0, &sealed);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    type = &sealed.staple;
    sans = &sealed.names;

    if (type->len >= sizeof(ret->key_type)
        || (sans->len && sans->data[sans->len - 1] != '\0'))
    {
        certctl_record_free(&sealed);
        return CERTCTL_STORE_DAMAGED;
    }

    *ret = (certctl_pending_t) { .made = sealed.stored,
                                 .key = sealed.key,
                                 .csr = sealed.chain,
                                 .sans = *sans,
                                 .buf = sealed.buf,
                                 .buf_len = sealed.buf_len };

    memcpy(ret->name, sealed.name, sizeof(ret->name));
    memcpy(ret->key_type, type->data, type->len);
    memcpy(ret->spki, sealed.spki, sizeof(ret->spki));

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
    certctl_record_t   sealed;

    same = spki == NULL;

    if (!same
        && certctl_sealed_load(store, store->pending, CERTCTL_SEALED_PENDING,
                               name, 0, &sealed)
           == CERTCTL_STORE_OK)
    {
        same = memcmp(sealed.spki, spki, sizeof(sealed.spki)) == 0;
        certctl_record_free(&sealed);
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
