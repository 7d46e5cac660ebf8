/* The store: truncated, flipped, exchanged files are refused, and kept. */
#define _GNU_SOURCE
#include "store_support.h"
#include <openssl/sha.h>

static certctl_store_t   *store;
static certctl_record_t   first, second;
static unsigned char      good[8192], bad[8192];
static size_t             len;
static char               path[512];
static int                told;             /* how often all names were touched */

static void
tell(void *data)
{
    (void) data;
    told++;
}

/* What reading says of the first n bytes of bad: the code, or 1 when it lies. */
static int
reads(size_t n)
{
    certctl_record_t  got;
    int               rc, fd = open(path, O_RDWR);

    /* not truncated to nothing and written anew: ext4 would flush each time */
    PKI_MUST(fd >= 0 && pwrite(fd, bad, n, 0) == (ssize_t) n
             && ftruncate(fd, n) == 0);
    close(fd);
    rc = certctl_store_read(store, "a", &got);

    if (rc == CERTCTL_STORE_OK) {
        rc = same_blob(&got.chain, &second.chain)
             && same_blob(&got.key, &second.key) ? CERTCTL_STORE_OK : 1;
        certctl_record_free(&got);
    }
    return rc;
}

static void
truncates(void)
{
    int  refused = 0;

    memcpy(bad, good, len);
    for (size_t n = len; n-- > 0; ) {
        refused += reads(n) == CERTCTL_STORE_DAMAGED;
    }
    is_int(refused, len, "cut off at each of %zu bytes: refused", len);
    bad[len] = 0;
    is_int(reads(len + 1), CERTCTL_STORE_DAMAGED, "one byte more: refused");
    is_int(reads(len), CERTCTL_STORE_OK, "as it was: read");
}

static void
flips(void)
{
    int  refused = 0;

    memcpy(bad, good, len);
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit += 1 + (i > 200) * 2) {
            bad[i] ^= 1 << bit;
            refused += reads(len) != CERTCTL_STORE_DAMAGED;
            bad[i] ^= 1 << bit;
        }
    }
    is_int(refused, 0, "a bit flipped anywhere: refused");

    for (size_t at = 0; at < len; at += 512) {
        size_t  n = len - at < 512 ? len - at : 512;

        memset(bad + at, 0, n);
        ok(reads(len) == CERTCTL_STORE_DAMAGED, "a sector of zeros at %zu", at);
        memcpy(bad + at, good + at, n);
    }

    /* lengths that would add up beyond what there is, or overflow */
    for (int i = 12; i < 56; i += 4) {
        memset(bad + i, 0xff, 4);
        refused += reads(len) != CERTCTL_STORE_DAMAGED;
        memcpy(bad + i, good + i, 4);
    }
    is_int(refused, 0, "numbers of the greatest value: refused");
}

static void
random_bytes(void)
{
    unsigned  seed = 1;
    int       read = 0;

    for (int i = 0; i < 2000; i++) {
        size_t  n = 13 + rand_r(&seed) % (sizeof(bad) - 13);

        memcpy(bad, good, len);
        for (size_t k = i % 2 ? 120 : 0; k < n; k++) {
            bad[k] = rand_r(&seed);
        }
        read += reads(n) != CERTCTL_STORE_DAMAGED;
    }
    is_int(read, 0, "2000 files of noise: refused");
}

/* A whole, well sealed file in the wrong place. */
static void
exchanges(void)
{
    certctl_record_t   got, b = test_record("b", "DNS:b.example", 0);
    certctl_pending_t  pending = { .name = "a", .key_type = "ec-p256" }, wait;
    unsigned char      other[8192];
    size_t             n;

    PKI_MUST(certctl_store_put(store, &b, NULL, NULL, NULL) == 0);
    n = slurp(file_of("certs", "b"), other, sizeof(other));
    spew(path, other, n);
    is_int(certctl_store_read(store, "a", &got), CERTCTL_STORE_DAMAGED,
           "another record under this name");
    is_str(ecdsa(store, "a.example"), "damaged", "is not found by name, either");

    pending.key = b.key;
    pending.csr = b.chain;
    PKI_MUST(certctl_store_pending_put(store, &pending) == 0);
    n = slurp(file_of("pending", "a"), other, sizeof(other));
    spew(path, other, n);
    is_int(certctl_store_read(store, "a", &got), CERTCTL_STORE_DAMAGED,
           "a pending key in the place of a record");
    spew(file_of("pending", "a"), good, len);
    is_int(certctl_store_pending_get(store, "a", &wait), CERTCTL_STORE_DAMAGED,
           "a record in the place of a pending key");

    unlink(path);
    PKI_MUST(symlink(file_of("certs", "b"), path) == 0);
    is_int(certctl_store_read(store, "a", &got), CERTCTL_STORE_DAMAGED,
           "a link instead of a record");
    unlink(path);
    PKI_MUST(mkfifo(path, 0600) == 0);
    is_int(certctl_store_read(store, "a", &got), CERTCTL_STORE_DAMAGED,
           "a fifo, without waiting");
    unlink(path);
    PKI_MUST(mkdir(path, 0700) == 0);
    is_int(certctl_store_read(store, "a", &got), CERTCTL_STORE_DAMAGED,
           "a folder");
    is_int(certctl_store_put(store, &second, NULL, NULL, NULL), 0, "put over it");
    is_int(reads(0), CERTCTL_STORE_DAMAGED, "an empty file");
    PKI_MUST(truncate(path, 1024L * 1024 * 1024 * 1024) == 0);
    is_int(certctl_store_read(store, "a", &got), CERTCTL_STORE_DAMAGED,
           "a terabyte of nothing");

    certctl_store_delete(store, "b", 0, NULL, NULL);
    certctl_store_delete(store, "a", 0, NULL, NULL);
    test_record_done(&b);
}

/* Every writer meets the damage, and every way out of it. */
static void
recovers(void)
{
    certctl_record_t   got;
    certctl_blob_t     staple = { (u_char *) "staple", 6 };
    u_char             print[32];
    int                aside;

    SHA256(second.chain.data, second.chain.len, print);
    memcpy(bad, good, len);
    bad[len - 1] ^= 1;
    aside = files_in("damaged");

    is_int(reads(len), CERTCTL_STORE_DAMAGED, "damaged");
    is_int(certctl_store_read(store, "a", &got), CERTCTL_STORE_DAMAGED,
           "and damaged again: reading moves nothing");
    is_int(certctl_store_staple(store, "a", print, &staple, 1, NULL, NULL, NULL),
           CERTCTL_STORE_DAMAGED, "no staple for it");

    is_int(certctl_store_rollback(store, "a", 0, NULL, NULL, NULL), 0, "rollback");
    ok(holds(store, "a", &first), "makes the version before it live");
    is_str(ecdsa(store, "a.example"), "a", "with its names");
    is_int(files_in("damaged"), aside + 1, "what was damaged is set aside");
    is_int(told, 1, "whatever names it had, they are touched");

    is_int(reads(len), CERTCTL_STORE_DAMAGED, "damaged");
    is_int(certctl_store_put(store, &second, NULL, NULL, NULL), 0, "put");
    ok(holds(store, "a", &second), "replaces it");
    is_int(files_in("damaged"), aside + 2, "it is set aside as well");
    is_int(told, 2, "as are its names");
    is_int(certctl_store_rollback(store, "a", 0, NULL, NULL, NULL), 0,
           "the version before the damage");
    ok(holds(store, "a", &first), "is still the previous one");

    /* previous damaged, live good */
    snprintf(path, sizeof(path), "%s", file_of("certs", "a~"));
    spew(path, bad, len);
    is_int(certctl_store_rollback(store, "a", 0, NULL, NULL, NULL),
           CERTCTL_STORE_DAMAGED, "no rollback to a damaged version");
    ok(holds(store, "a", &first), "the live one stays");
    snprintf(path, sizeof(path), "%s", file_of("certs", "a"));

    is_int(reads(len), CERTCTL_STORE_DAMAGED, "damaged");
    is_int(certctl_store_delete(store, "a", 0, NULL, NULL), 0, "deleted on request");
    is_int(files_in("certs"), 0, "nothing of it stays");
    is_int(told, 3, "and its names are touched: only then, of all the writes");
}

int
main(void)
{
    store = test_open();
    certctl_store_on_heal(store, tell, NULL);
    first = test_record("a", "DNS:a.example", 0);
    second = test_record("a", "DNS:a.example", 0);
    PKI_MUST(certctl_store_put(store, &first, NULL, NULL, NULL) == 0
             && certctl_store_put(store, &second, NULL, NULL, NULL) == 0);
    snprintf(path, sizeof(path), "%s", file_of("certs", "a"));
    len = slurp(path, good, sizeof(good));

    truncates();
    flips();
    random_bytes();
    memcpy(bad, good, len);
    spew(path, good, len);
    recovers();
    PKI_MUST(certctl_store_put(store, &first, NULL, NULL, NULL) == 0
             && certctl_store_put(store, &second, NULL, NULL, NULL) == 0);
    len = slurp(path, good, sizeof(good));
    exchanges();

    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");
    certctl_store_close(store);
    test_record_done(&first);
    test_record_done(&second);
    return done_testing();
}
