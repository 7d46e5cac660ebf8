/*
 * The store: each call to the system and each allocation of a write fails in
 * turn, with a full disk and with an I/O error; what was there stays, the error
 * is told, nothing is left behind and nothing leaks.
 */
#define _GNU_SOURCE
#include "store_support.h"
#include <dirent.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <sys/file.h>

/* The linker brings the store's calls here (-Wl,--wrap). */

static int  countdown;                  /* fails when it comes to 0; -1: never */
static int  fault;                      /* errno then */
static int  failed;                     /* whether it did */

static int
fails(void)
{
    if (countdown < 0 || countdown-- != 0) {
        return 0;
    }
    failed = 1;
    errno = fault;
    return 1;
}

#define WRAP(type, name, params, args, bad)                                   \
    type __real_ ## name params;                                              \
    type __wrap_ ## name params;                                              \
    type __wrap_ ## name params                                               \
    {                                                                         \
        return fails() ? bad : __real_ ## name args;                          \
    }

WRAP(int, syncfs, (int fd), (fd), -1)
WRAP(int, renameat, (int a, const char *f, int b, const char *t), (a, f, b, t), -1)
WRAP(int, renameat2,
     (int a, const char *f, int b, const char *t, unsigned g), (a, f, b, t, g), -1)
WRAP(int, linkat, (int a, const char *f, int b, const char *t, int g),
     (a, f, b, t, g), -1)
WRAP(int, symlinkat, (const char *t, int a, const char *f), (t, a, f), -1)
WRAP(int, unlinkat, (int a, const char *f, int g), (a, f, g), -1)
WRAP(int, mkdirat, (int a, const char *f, mode_t m), (a, f, m), -1)
WRAP(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), -1)
WRAP(ssize_t, pread, (int fd, void *b, size_t n, off_t o), (fd, b, n, o), -1)
WRAP(ssize_t, readlinkat, (int a, const char *f, char *b, size_t n),
     (a, f, b, n), -1)
WRAP(struct dirent *, readdir, (DIR *dir), (dir), NULL)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), -1)
WRAP(int, flock, (int fd, int op), (fd, op), -1)
WRAP(void *, malloc, (size_t n), (n), NULL)
WRAP(void *, calloc, (size_t n, size_t m), (n, m), NULL)
WRAP(void *, realloc, (void *p, size_t n), (p, n), NULL)

static int  syncs;                      /* how often the disk was waited for */

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int
__wrap_fsync(int fd)
{
    syncs++;
    return fails() ? -1 : __real_fsync(fd);
}

int __real_openat(int at, const char *path, int flags, ...);
int __wrap_openat(int at, const char *path, int flags, ...);
int
__wrap_openat(int at, const char *path, int flags, ...)
{
    va_list  args;
    int      mode;

    va_start(args, flags);
    mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    return fails() ? -1 : __real_openat(at, path, flags, mode);
}

static certctl_store_t   *store;
static certctl_record_t   one, two, three, other, first;
static u_char             print[32];

static int
op_put(void)
{
    return certctl_store_put(store, &three, NULL, NULL, NULL);
}

/*
 * With another record, that each call may fail for as well; and behind two, so
 * that their locks are taken over.
 */
static int
op_many(void)
{
    certctl_store_put_t  before[] = { { .record = &first }, { .record = &other } };
    certctl_store_put_t  puts[] = { { .record = &other }, { .record = &three } };
    certctl_lock_pool_t    *locks = certctl_lock_pool_create(NULL);

    certctl_store_put_many(store, before, 2, locks, NULL, NULL);
    certctl_store_put_many(store, puts, 2, locks, NULL, NULL);
    certctl_lock_pool_destroy(store, locks);
    countdown = -1;
    if (puts[0].rc == CERTCTL_STORE_OK || before[1].rc == CERTCTL_STORE_OK
        ? !holds(store, "b", &other) || strcmp(ecdsa(store, "b.example"), "b")
        : holds(store, "b", &other))
    {
        printf("# the other one: answered %d\n", puts[0].rc);
        return 1;                                   /* no code of the store */
    }
    errno = puts[1].err;
    return puts[1].rc;
}

static int
op_rollback(void)
{
    return certctl_store_rollback(store, "a", 0, NULL, NULL, NULL);
}

static int
op_staple(void)
{
    certctl_blob_t  staple = { (u_char *) "staple", 6 };

    return certctl_store_staple(store, "a", print, &staple, 9, NULL, NULL, NULL);
}

static int
op_delete(void)
{
    return certctl_store_delete(store, "a", 0, NULL, NULL);
}

static int
op_pending(void)
{
    certctl_pending_t  p = { .name = "a", .key_type = "ec-p256" };

    p.key = three.key;
    p.csr = three.chain;
    return certctl_store_pending_put(store, &p);
}

static int
op_read(void)
{
    certctl_record_t  got;
    int               rc = certctl_store_read(store, "a", &got);

    if (rc == CERTCTL_STORE_OK) {
        certctl_record_free(&got);
    }
    return rc;
}

static int
op_find(void)
{
    certctl_record_t  got;
    int               rc = certctl_store_find(store, CERTCTL_KIND_ECDSA,
                                              "all.example", &got);

    if (rc == CERTCTL_STORE_OK) {
        certctl_record_free(&got);
    }
    return rc;
}

static const struct {
    const char               *name;
    int                     (*run)(void);
    const certctl_record_t   *done;             /* live then; NULL: none */
} ops[] = {
    { "put",         op_put,      &three },
    { "many",        op_many,     &three },
    { "rollback",    op_rollback, &one },
    { "staple",      op_staple,   &two },
    { "delete",      op_delete,   NULL },
    { "pending key", op_pending,  &two },
    { "read",        op_read,     &two },
    { "find",        op_find,     &two },
};

/* Whether rec, or nothing, is live, and its names answer. */
static int
is_live(const certctl_record_t *rec)
{
    certctl_record_t  got;
    int               there;

    if (rec == NULL) {
        return certctl_store_read(store, "a", &got) == CERTCTL_STORE_NOT_FOUND
               && strcmp(ecdsa(store, "all.example"), "-") == 0;
    }
    there = holds(store, "a", rec) && strcmp(ecdsa(store, "all.example"), "a") == 0;
    there = there && (strcmp(ecdsa(store, "one.example"), "a") == 0)
                         == (rec == &one);
    there = there && (strcmp(ecdsa(store, "two.example"), "a") == 0)
                         == (rec == &two);
    return there && (strcmp(ecdsa(store, "three.example"), "a") == 0)
                        == (rec == &three);
}

static void
start(void)
{
    countdown = -1;
    PKI_MUST(certctl_store_delete(store, "a", 0, NULL, NULL) <= 0);
    PKI_MUST(certctl_store_delete(store, "b", 0, NULL, NULL) <= 0);
    PKI_MUST(certctl_store_put(store, &one, NULL, NULL, NULL) == 0
             && certctl_store_put(store, &two, NULL, NULL, NULL) == 0);
}

/* Fails call n of op; 0 when it has no such call. */
static int
fail_one(size_t op, int n, int err, int *bad)
{
    int  rc, code, good;

    start();
    fault = err;
    failed = 0;
    countdown = n;
    rc = ops[op].run();
    code = errno;
    countdown = -1;

    if (!failed) {
        return 0;
    }

    /* OK is said of what is done, although a call failed; else it is undone */
    good = rc == CERTCTL_STORE_OK ? is_live(ops[op].done)
           : rc <= CERTCTL_STORE_NOT_FOUND
             && (is_live(&two)
                 || (ops[op].done == NULL && is_live(NULL)));

    good = good && (rc != CERTCTL_STORE_OK || ops[op].done != NULL
                    || file_of("certs", "a~") == NULL);

    (void) certctl_store_delete(store, "b", 0, NULL, NULL);     /* tidies up */
    (void) certctl_store_delete(store, "c", 0, NULL, NULL);
    certctl_store_close(test_open());                        /* so does a start */
    good = good && (rc != CERTCTL_STORE_FULL || err == ENOSPC || err == EDQUOT);
    good = good && certctl_store_put(store, &one, NULL, NULL, NULL) == 0
           && is_live(&one) && files_in("writes") == 0;
    good = good && certctl_store_delete(store, "a", 0, NULL, NULL) == 0
           && files_in("certs") + files_in("pending") == 0 && is_live(NULL);

    if (!good) {
        ++*bad;
        printf("# %s, call %d, %s: answered %d (%s)\n", ops[op].name, n,
               strerror(err), rc, strerror(code));
    }
    return 1;
}

/*
 * One of two records with a name fails to get it, to lose it and to be deleted,
 * the latter two also where the link of the name has this record alone: one that
 * carries it answers, and the later one when the write is done.
 */
static void
shares_names(void)
{
    static const char  *writes[] = { "put", "put without the name", "deletion" };
    certctl_record_t    has = test_record_valid("q", "DNS:q.example", 0, -2 * DAY,
                                                DAY);
    certctl_record_t    with = test_record("a", "DNS:all.example,DNS:q.example,"
                                           "DNS:one.example", 0);
    int                 n, bad, rc, before, after;
    const char         *name;

    PKI_MUST(certctl_store_put(store, &has, NULL, NULL, NULL) == 0);

    for (int write = 0; write < 6; write += 1 + (write == 2)) {
        before = write % 3 != 0;
        after = write % 3 == 0;
        n = bad = 0;

        do {
            start();
            if (before) {
                PKI_MUST(certctl_store_put(store, &with, NULL, NULL, NULL) == 0);
            }
            if (write >= 3) {
                set_link("q.example", "a");
            }
            fault = n % 2 ? ENOSPC : EIO;
            failed = 0;
            countdown = n++;
            rc = write % 3 == 2 ? op_delete()
                 : certctl_store_put(store, after ? &with : &one, NULL, NULL, NULL);
            countdown = -1;
            name = ecdsa(store, "q.example");
            bad += rc == CERTCTL_STORE_OK
                   ? strcmp(name, after ? "a" : "q") != 0
                   : strcmp(name, "q") != 0 && strcmp(name, "a") != 0;
        } while (failed);

        is_int(bad, 0, "%s beside a record with its name%s: fails at each of %d calls",
               writes[write % 3], write < 3 ? "" : ", over an old link", n);
    }
    PKI_MUST(certctl_store_delete(store, "q", 0, NULL, NULL) == 0);
    test_record_done(&has);
    test_record_done(&with);
}

/* Renewals wait for the disk as often as they have to: for file and folder. */
static void
waits_twice(void)
{
    certctl_record_t  q = test_record_valid("q", "DNS:all.example", 0, -2 * DAY, DAY);
    certctl_record_t  again = test_record("a", "DNS:all.example,DNS:two.example", 0);

    start();
    PKI_MUST(certctl_store_put(store, &again, NULL, NULL, NULL) == 0
             && certctl_store_put(store, &two, NULL, NULL, NULL) == 0);
    syncs = 0;
    PKI_MUST(certctl_store_put(store, &again, NULL, NULL, NULL) == 0);
    is_int(syncs, 2, "a renewal waits for the disk twice");
    PKI_MUST(certctl_store_put(store, &q, NULL, NULL, NULL) == 0);
    syncs = 0;
    PKI_MUST(certctl_store_put(store, &two, NULL, NULL, NULL) == 0);
    is_int(syncs, 2, "also beside another record with one of its names");
    PKI_MUST(certctl_store_delete(store, "q", 0, NULL, NULL) == 0);
    test_record_done(&q);
    test_record_done(&again);
}

/* Where the sealing key is missing, whatever fails: no other one is made. */
static void
makes_no_key(void)
{
    char              key[80], aside[80], why[256];
    int               n = 0, made = 0;
    certctl_store_t  *opened;

    start();
    snprintf(key, sizeof(key), "%s/seal.key", test_path);
    snprintf(aside, sizeof(aside), "%s/aside", test_path);
    PKI_MUST(rename(key, aside) == 0);

    do {
        fault = EIO;
        failed = 0;
        countdown = n++;
        opened = certctl_store_open(test_path, 1, geteuid(), getegid(), why, sizeof(why));
        countdown = -1;
        made += opened != NULL || access(key, F_OK) == 0;
        if (opened != NULL) {
            certctl_store_close(opened);
        }
        (void) unlink(key);
    } while (failed);

    is_int(made, 0, "no sealing key is made where there are records, at each of %d calls", n);
    PKI_MUST(rename(aside, key) == 0);
}

static int
count(const char *name, void *data)
{
    (void) name;
    ++*(int *) data;
    return 0;
}

/* A list that is not whole is an error. */
static void
lists_all(void)
{
    int  n = 0, bad = 0, seen, rc;

    start();

    do {
        fault = EIO;
        failed = 0;
        seen = 0;
        countdown = n++;
        rc = certctl_store_each(store, count, &seen);
        countdown = -1;
        bad += rc == CERTCTL_STORE_OK && seen != 1;
    } while (failed);

    is_int(bad, 0, "a list of records without one says so, at each of %d calls", n);
}

int
main(void)
{
    static const int  errors[] = { ENOSPC, EIO, ENOMEM };

    countdown = -1;
    store = test_open();
    one = test_record("a", "DNS:all.example,DNS:one.example", 0);
    two = test_record("a", "DNS:all.example,DNS:two.example", 0);
    three = test_record("a", "DNS:all.example,DNS:three.example", 0);
    other = test_record("b", "DNS:b.example", 0);
    first = test_record("c", "DNS:c.example", 0);
    SHA256(two.chain.data, two.chain.len, print);

    for (size_t op = 0; op < sizeof(ops) / sizeof(ops[0]); op++) {
        for (size_t e = 0; e < 3; e++) {
            int  n = 0, bad = 0;

            while (fail_one(op, n, errors[e], &bad)) {
                n++;
            }
            ok(n > 3 && bad == 0, "%s: %s at each of %d calls", ops[op].name,
               strerror(errors[e]), n);
        }
    }

    shares_names();
    waits_twice();
    makes_no_key();
    lists_all();
    start();
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");
    op_delete();
    certctl_store_close(store);
    test_record_done(&one);
    test_record_done(&two);
    test_record_done(&three);
    test_record_done(&other);
    test_record_done(&first);
    return done_testing();
}
