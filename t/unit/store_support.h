/* What the tests of the store share: a store in a folder of its own, records. */
#pragma once
#include "pki.h"
#include "tap.h"
#include "store/store.h"
#include "x509_key.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char  test_dir[] = "/tmp/certctl-store-XXXXXX";
static char  test_path[64];                     /* the store in it */

static int
test_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void) st;
    (void) type;
    (void) at;
    return remove(path);
}

static pid_t  test_owner;

static void
test_clean(void)
{
    if (getpid() == test_owner) {               /* not in forked children */
        nftw(test_dir, test_remove, 16, FTW_DEPTH|FTW_PHYS);
    }
}

/* Opens the store, in a new folder the first time. */
__attribute__((unused)) static certctl_store_t *
test_open(void)
{
    char              why[256] = "";
    certctl_store_t  *store;

    if (!test_path[0]) {
        PKI_MUST(mkdtemp(test_dir));
        test_owner = getpid();
        atexit(test_clean);
        snprintf(test_path, sizeof(test_path), "%s/store", test_dir);
    }

    store = certctl_store_open(test_path, 1, geteuid(), getegid(), why,
                               sizeof(why));
    if (store == NULL) {
        printf("Bail out! %s\n", why);
        exit(1);
    }
    return store;
}

/* A record with a self-signed leaf for sans, valid from and to, in seconds from
   now; rsa makes it of that kind. */
__attribute__((unused)) static certctl_record_t
test_record_valid(const char *name, const char *sans, int rsa, long from,
    long to)
{
    struct pki        p = PKI(NULL, .cn = "t", .sans = sans,
                              .rsa_bits = rsa ? 2048 : 0, .from = from,
                              .to = to);
    certctl_record_t  rec = { .kind = rsa ? CERTCTL_KIND_RSA
                                          : CERTCTL_KIND_ECDSA };

    snprintf(rec.name, sizeof(rec.name), "%s", name);
    rec.chain.len = i2d_X509(p.cert, &rec.chain.data);
    rec.key.len = certctl_key_to_der(p.key, &rec.key.data);
    pki_free(&p);
    return rec;
}

__attribute__((unused)) static certctl_record_t
test_record(const char *name, const char *sans, int rsa)
{
    return test_record_valid(name, sans, rsa, -DAY, DAY);
}

__attribute__((unused)) static void
test_record_done(certctl_record_t *rec)
{
    OPENSSL_free(rec->chain.data);
    OPENSSL_clear_free(rec->key.data, rec->key.len);
}

__attribute__((unused)) static int
same_blob(const certctl_blob_t *a, const certctl_blob_t *b)
{
    return a->len == b->len
           && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* Whether name's live record holds rec's chain and key. */
__attribute__((unused)) static int
holds(certctl_store_t *store, const char *name, const certctl_record_t *rec)
{
    certctl_record_t  got;
    int               same;

    if (certctl_store_read(store, name, &got) != CERTCTL_STORE_OK) {
        return 0;
    }
    same = same_blob(&got.chain, &rec->chain) && same_blob(&got.key, &rec->key);
    certctl_record_free(&got);
    return same;
}

/* The record that answers for a host: its name, or "-", "damaged", "error". */
__attribute__((unused)) static const char *
answer_for(certctl_store_t *store, certctl_kind_e kind, const char *host)
{
    static char       name[254];
    certctl_record_t  got;

    switch (certctl_store_find(store, kind, host, &got)) {
    case CERTCTL_STORE_OK:
        snprintf(name, sizeof(name), "%s", got.name);
        certctl_record_free(&got);
        return name;
    case CERTCTL_STORE_NOT_FOUND:
        return "-";
    case CERTCTL_STORE_DAMAGED:
        return "damaged";
    default:
        return "error";
    }
}

#define ecdsa(store, host)  answer_for(store, CERTCTL_KIND_ECDSA, host)

/* The path of a record's file, found by looking: the hash is the store's. */
static char        test_found[512];
static const char  *test_wanted;

static int
test_match(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void) st;
    (void) type;

    if (strcmp(path + at->base, test_wanted) != 0) {
        return 0;
    }
    snprintf(test_found, sizeof(test_found), "%s", path);
    return 1;
}

__attribute__((unused)) static const char *
file_of(const char *room, const char *base)
{
    char  top[128];

    snprintf(top, sizeof(top), "%s/%s", test_path, room);
    test_wanted = base;
    test_found[0] = '\0';
    nftw(top, test_match, 16, FTW_PHYS);
    return test_found[0] ? test_found : NULL;
}

/* Writes the link of a name by hand. */
__attribute__((unused)) static void
set_link(const char *host, const char *text)
{
    const char  *path = file_of("names", host);

    PKI_MUST(path != NULL && unlink(path) == 0 && symlink(text, path) == 0);
}

/* How many files, links and so on lie below a room, without folders. */
static int  test_files;

static int
test_count_one(const char *path, const struct stat *st, int type,
    struct FTW *at)
{
    (void) path;
    (void) st;
    (void) at;
    test_files += type != FTW_D;
    return 0;
}

__attribute__((unused)) static int
files_in(const char *room)
{
    char  top[128];

    snprintf(top, sizeof(top), "%s/%s", test_path, room);
    test_files = 0;
    nftw(top, test_count_one, 16, FTW_PHYS);
    return test_files;
}

__attribute__((unused)) static size_t
slurp(const char *path, unsigned char *buf, size_t size)
{
    FILE    *f = fopen(path, "rb");
    size_t   n;

    PKI_MUST(f != NULL);
    n = fread(buf, 1, size, f);
    fclose(f);
    return n;
}

__attribute__((unused)) static void
spew(const char *path, const unsigned char *buf, size_t len)
{
    FILE  *f = fopen(path, "wb");

    PKI_MUST(f != NULL && (len == 0 || fwrite(buf, 1, len, f) == len)
             && fclose(f) == 0);
}
