
/* The names that a record carries: DNS, IP, and the fingerprint. */


#include "store/store_impl.h"

#include <stdlib.h>
#include <string.h>

#include "x509_info.h"
#include "x509_leaf.h"


typedef struct {
    certctl_blob_t   names;
    int              failed;
} names_t;


int
certctl_record_has_name(const certctl_blob_t *names, const char *name)
{
    const char  *at = NULL;

    do {
        at = certctl_record_next_name(names, at);
    } while (at != NULL && strcmp(at, name) != 0);

    return at != NULL;
}


/*
 * What we sealed ends with a NUL.  A text without one is none: whoever holds
 * the sealing key must not be able to let us read beyond it.
 */

const char *
certctl_record_next_name(const certctl_blob_t *names, const char *at)
{
    size_t       left;
    const char  *start = (const char *) names->data;

    if (names->len == 0) {
        return NULL;
    }

    at = at ? at + strlen(at) + 1 : start;
    left = start + names->len - at;

    return left && memchr(at, '\0', left) ? at : NULL;
}


/* Names that begin with "_" are no host names: the agent's own identity. */

int
certctl_record_is_public(const certctl_record_t *record)
{
    return record != NULL && record->name[0] != '_';
}


/* No label of a host name is that long (RFC 1035 2.3.4). */

int
certctl_is_fingerprint(const char *key)
{
    return strlen(key) == 64 && strchr(key, '.') == NULL;
}


int
certctl_record_carries(const certctl_record_t *record, certctl_kind_e kind,
    const char *key)
{
    return certctl_record_is_public(record) && record->kind == kind
           && certctl_record_has_name(&record->names, key);
}


const char *
certctl_record_missing(const certctl_record_t *record,
    const certctl_record_t *other, const char *key)
{
    if (!certctl_record_is_public(record)) {
        return NULL;
    }

    do {
        key = certctl_record_next_name(&record->names, key);
    } while (key != NULL && certctl_record_carries(other, record->kind, key));

    return key;
}


const char *
certctl_record_fingerprint(const certctl_record_t *record)
{
    const char  *key = NULL;

    do {
        key = certctl_record_missing(record, NULL, key);
    } while (key != NULL && !certctl_is_fingerprint(key));

    return key;
}


/* A certificate may say a name twice; once is enough here. */

static bool
collect(const char *kind, const char *text, void *data)
{
    char      key[CERTCTL_NAME_SIZE];
    size_t    len;
    u_char   *grown;
    names_t  *to = data;

    if ((strcmp(kind, "DNS") != 0 && strcmp(kind, "IP") != 0)
        || !certctl_host_key(text, key)
        || certctl_record_has_name(&to->names, key))
    {
        return true;
    }

    len = strlen(key) + 1;

    grown = realloc(to->names.data, to->names.len + len);

    if (grown == NULL) {
        to->failed = 1;
        return false;
    }

    to->names.data = grown;
    memcpy(to->names.data + to->names.len, key, len);
    to->names.len += len;

    return true;
}


int
certctl_record_names(const struct certctl_leaf *leaf, certctl_blob_t *names)
{
    char     hex[CERTCTL_HEX256];
    names_t  to = { { NULL, 0 }, 0 };

    (void) certctl_names_each(leaf->names, collect, &to);

    /* no host is called so: a label has at most 63 characters
       (RFC 1035 2.3.4) */

    certctl_hex(leaf->digest, sizeof(leaf->digest), hex);
    (void) collect("DNS", hex, &to);

    if (to.failed) {
        free(to.names.data);
        return 0;
    }

    *names = to.names;

    return 1;
}
