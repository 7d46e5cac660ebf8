/*
 * The store: many writers and readers at once, in processes and in threads, see
 * whole records only; and how long a put and a find take.
 */
#define _GNU_SOURCE
#include "store_support.h"
#include <openssl/sha.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define VERSIONS  4
#define WRITERS   3
#define READERS   2
#define ROUNDS    60
#define PUTS      1000
#define NAMES     300
#define DELETES   500

static certctl_store_t   *store;
static certctl_record_t   a[VERSIONS], b[VERSIONS];
static u_char             prints[VERSIONS][32];

/* Which of rec's versions got is; -1 when it is none, or two mixed. */
static int
version_of(const certctl_record_t *got, const certctl_record_t *rec)
{
    for (int i = 0; i < VERSIONS; i++) {
        if (same_blob(&got->key, &rec[i].key)) {
            return same_blob(&got->chain, &rec[i].chain) ? i : -1;
        }
    }
    return -1;
}

/* One write of any kind; 0 when its answer is one that may be given. */
static int
write_once(unsigned *seed)
{
    certctl_blob_t  staple = { (u_char *) "staple", 6 };
    int             v = rand_r(seed) % VERSIONS, rc;

    switch (rand_r(seed) % 6) {
    case 0:
    case 1:
        return certctl_store_put(store, &a[v], NULL, NULL, NULL);
    case 2:
    case 3:
        return certctl_store_put(store, &b[v], NULL, NULL, NULL);
    case 4:
        return certctl_store_rollback(store, "a", 0, NULL, NULL, NULL);
    default:
        rc = certctl_store_staple(store, "a", prints[v], &staple, 1, NULL, NULL,
                                  NULL);
        return rc == CERTCTL_STORE_NOT_FOUND ? 0 : rc;
    }
}

/* One look at both records and at the name they fight for; 0 when all is well. */
static int
look(uint64_t *last)
{
    certctl_record_t  got;
    int               bad = 0;

    if (certctl_store_read(store, "a", &got) != CERTCTL_STORE_OK) {
        return 1;
    }
    bad |= (version_of(&got, a) < 0) << 1;
    bad |= (got.generation < *last) << 2;       /* never backwards */
    *last = got.generation;
    certctl_record_free(&got);

    if (certctl_store_find(store, CERTCTL_KIND_ECDSA, "both.example", &got)
        != CERTCTL_STORE_OK)
    {
        return bad | 8;
    }
    bad |= (version_of(&got, strcmp(got.name, "a") ? b : a) < 0) << 4;
    certctl_record_free(&got);
    return bad;
}

static void *
writer(void *data)
{
    unsigned   seed = 1 + (unsigned) (size_t) data;
    size_t     bad = 0;

    for (int i = 0; i < ROUNDS; i++) {
        bad += write_once(&seed) != 0;
    }
    return (void *) bad;
}

static _Atomic int  done;

static void *
reader(void *data)
{
    uint64_t  last = 0;
    size_t    bad = 0;

    (void) data;
    do {
        bad += look(&last) != 0;
    } while (!done);
    return (void *) bad;
}

static void
in_threads(void)
{
    pthread_t   w[WRITERS], r[READERS];
    void       *rc;
    size_t      bad = 0;

    for (size_t i = 0; i < READERS; i++) {
        pthread_create(&r[i], NULL, reader, NULL);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_create(&w[i], NULL, writer, (void *) (i + 10));
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(w[i], &rc);
        bad += (size_t) rc;
    }
    is_int(bad, 0, "threads: %d writes, each answered as it should",
           WRITERS * ROUNDS);
    done = 1;
    bad = 0;
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(r[i], &rc);
        bad += (size_t) rc;
    }
    is_int(bad, 0, "threads: readers see whole records, generations that grow");
}

/* Some of the writers are killed wherever they are, and others follow. */
static void
in_processes(void)
{
    pid_t     pids[WRITERS], pid;
    uint64_t  last = 0;
    size_t    bad = 0, looks = 0, kills = 0, failed = 0;
    int       status;

    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < WRITERS; i++) {
            pids[i] = fork();
            if (pids[i] == 0) {
                unsigned  seed = round * 100 + i;

                for (int k = 0; k < 15; k++) {
                    if (write_once(&seed) != 0) {
                        _exit(1);
                    }
                }
                _exit(0);
            }
        }
        for (int k = 0; k < 30 + round * 10; k++, looks++) {
            bad += look(&last) != 0;
        }
        kill(pids[round % WRITERS], SIGKILL);
        for (int i = 0; i < WRITERS; i++) {
            pid = waitpid(pids[i], &status, 0);
            PKI_MUST(pid == pids[i]);
            kills += WIFSIGNALED(status);
            failed += WIFEXITED(status) && WEXITSTATUS(status) != 0;
        }
    }
    is_int(bad, 0, "processes: %zu looks at whole records", looks);
    is_int(failed, 0, "processes: every write is answered as it should");
    printf("# %zu writers were killed at work\n", kills);
    certctl_store_close(store);
    store = test_open();
    is_int(files_in("writes"), 0, "a start finds order");
    is_int(look(&last), 0, "and whole records");
    is_int(files_in("damaged"), 0, "nothing was ever damaged");
}

#define SHARED  "shared.example"

static certctl_record_t  shares[WRITERS][2];    /* without the name, with it */

/* Any write of record w<i>, and with many also of the next one. */
static int
share_once(int i, int many, unsigned *seed)
{
    certctl_store_put_t  puts[2];
    int                  rc;

    switch (rand_r(seed) % (many ? 5 : 4)) {
    case 0:
        rc = certctl_store_rollback(store, shares[i][0].name, 0, NULL, NULL, NULL);
        break;
    case 1:
        rc = certctl_store_delete(store, shares[i][0].name, 0, NULL, NULL);
        break;
    case 4:
        for (int k = 0; k < 2; k++) {
            puts[k].record = &shares[(i + k) % WRITERS][rand_r(seed) % 2];
        }
        certctl_store_put_many(store, puts, 2, NULL, NULL, NULL);
        return 0;                       /* each other's locks are conflicts */
    default:
        rc = certctl_store_put(store, &shares[i][rand_r(seed) % 2], NULL, NULL, NULL);
    }
    return rc == CERTCTL_STORE_NOT_FOUND ? 0 : rc;
}

/* The record that is to answer: w0 before w1, and "s" when none has the name. */
static const char *
share_best(void)
{
    for (int i = 0; i < WRITERS; i++) {
        if (holds(store, shares[i][1].name, &shares[i][1])) {
            return shares[i][1].name;
        }
    }
    return "s";
}

/* Writers of records that share a name lose none of each other's, nor it. */
static void
share_names(void)
{
    certctl_record_t  s = test_record_valid("s", "DNS:" SHARED, 0, -30 * DAY, DAY);
    pid_t             pids[WRITERS];
    size_t            lost = 0, looks = 0, failed = 0, wrong = 0, kills = 0;
    int               status;
    char              name[16];

    for (int i = 0; i < WRITERS; i++) {
        snprintf(name, sizeof(name), "w%d", i);
        shares[i][0] = test_record_valid(name, "DNS:w.example", 0, -(i + 1) * DAY, DAY);
        shares[i][1] = test_record_valid(name, "DNS:w.example,DNS:" SHARED, 0,
                                         -(i + 1) * DAY, DAY);
    }
    PKI_MUST(certctl_store_put(store, &s, NULL, NULL, NULL) == 0);

    for (int round = 0; round < 15; round++) {
        for (int i = 0; i < WRITERS; i++) {
            pids[i] = fork();
            if (pids[i] == 0) {
                unsigned  seed = round * 100 + i;

                for (int k = 0; k < 12; k++) {
                    if (share_once(i, round % 3 == 0, &seed) != 0) {
                        _exit(1);
                    }
                }
                _exit(0);
            }
        }
        for (int k = 0; k < 200 + round * 40; k++, looks++) {
            lost += strcmp(ecdsa(store, SHARED), "-") == 0;
        }
        if (round % 2) {
            kill(pids[round % WRITERS], SIGKILL);
        }
        for (int i = 0; i < WRITERS; i++) {
            PKI_MUST(waitpid(pids[i], &status, 0) == pids[i]);
            kills += WIFSIGNALED(status);
            failed += WIFEXITED(status) && WEXITSTATUS(status) != 0;
        }
        if (round % 2) {
            certctl_store_close(store);
            store = test_open();                    /* heals */
        }
        wrong += strcmp(ecdsa(store, SHARED), share_best()) != 0;
    }
    is_int(lost, 0, "a name that others share has an answer at each of %zu looks", looks);
    is_int(failed, 0, "every write of them is answered as it should");
    is_int(wrong, 0, "and in the end the best of them answers");
    printf("# %zu writers were killed at work\n", kills);

    for (int i = 0; i < WRITERS; i++) {
        (void) certctl_store_delete(store, shares[i][0].name, 0, NULL, NULL);
        test_record_done(&shares[i][0]);
        test_record_done(&shares[i][1]);
    }
    is_str(ecdsa(store, SHARED), "s", "the last of them keeps the name");
    is_int(certctl_store_delete(store, "s", 0, NULL, NULL), 0, "until it goes");
    ok(file_of("names", SHARED) == NULL, "then nothing is left");
    test_record_done(&s);
}

/* What is deleted is overwritten in its place: no reader takes it for damage. */
static void
while_deleted(void)
{
    certctl_record_t   rec = test_record("gone", "DNS:gone.example", 0), got;
    certctl_pending_t  wait = { .name = "gone", .key_type = "ec-p256" }, key;
    pid_t              pid;
    _Atomic int       *enough = mmap(NULL, sizeof(*enough), PROT_READ|PROT_WRITE,
                                     MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    int                seen[2][1 - CERTCTL_STORE_CONFLICT] = { { 0 } };
    int                status, *at;

    wait.key = rec.key;
    wait.csr = rec.chain;

    PKI_MUST(enough != MAP_FAILED && (pid = fork()) >= 0);
    if (pid == 0) {
        /* a reader may be kept from its processor for long */
        for (int i = 0; i < DELETES || (!*enough && i < 100 * DELETES); i++) {
            if (certctl_store_pending_put(store, &wait) != 0
                || certctl_store_put(store, &rec, NULL, NULL, NULL) != 0
                || certctl_store_delete(store, "gone", 0, NULL, NULL) != 0)
            {
                _exit(1);
            }
        }
        _exit(0);
    }

    while (waitpid(pid, &status, WNOHANG) == 0) {
        for (int i = 0; i < 100; i++) {
            at = &seen[0][-certctl_store_read(store, "gone", &got)];
            if ((*at)++, at == seen[0]) {
                certctl_record_free(&got);
            }
            at = &seen[1][-certctl_store_pending_get(store, "gone", &key)];
            if ((*at)++, at == seen[1]) {
                certctl_pending_free(&key);
            }
        }
        *enough = seen[0][-CERTCTL_STORE_OK] && seen[1][-CERTCTL_STORE_OK];
    }

    is_int(status, 0, "%d times stored and deleted, or more", DELETES);
    for (int i = 0; i < 2; i++) {
        const char  *what = i ? "key that waits" : "record";

        ok(seen[i][-CERTCTL_STORE_OK] > 0, "a %s is read %d times", what,
           seen[i][-CERTCTL_STORE_OK]);
        is_int(seen[i][-CERTCTL_STORE_DAMAGED], 0,
               "a %s that goes meanwhile is never damaged", what);
    }
    munmap((void *) enough, sizeof(*enough));
    test_record_done(&rec);
}

/* A batch keeps locks, but none that another write of the name would wait for. */
static void
after_conflict(void)
{
    certctl_record_t      mine = test_record("mine", "DNS:mine.example", 0);
    certctl_record_t      next = test_record("next", "DNS:next.example", 0);
    certctl_store_put_t   puts[] = { { .record = &mine }, { .record = &next } };
    certctl_lock_pool_t  *locks = certctl_lock_pool_create(NULL);
    struct timespec       from, to;

    PKI_MUST(certctl_store_put(store, &mine, NULL, NULL, NULL) == 0
             && certctl_store_put(store, &next, NULL, NULL, NULL) == 0);
    mine.generation = 1;                        /* no longer live */
    certctl_store_put_many(store, puts, 2, locks, NULL, NULL);
    is_int(puts[0].rc, CERTCTL_STORE_CONFLICT, "another write came first");
    is_int(puts[1].rc, 0, "of this name only");

    mine.generation = 0;
    clock_gettime(CLOCK_MONOTONIC, &from);
    is_int(certctl_store_put(store, &mine, NULL, NULL, NULL), 0,
           "a write of its own, while the batch goes on");
    clock_gettime(CLOCK_MONOTONIC, &to);
    ok(to.tv_sec - from.tv_sec < 9, "waits for nobody");

    certctl_lock_pool_destroy(store, locks);
    is_int(files_in("writes"), 0, "no lock is left");
    test_record_done(&mine);
    test_record_done(&next);
}

static int
by_value(const void *x, const void *y)
{
    double  d = *(const double *) x - *(const double *) y;

    return (d > 0) - (d < 0);
}

static double
clock_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static void
report(const char *what, double *ms, int n)
{
    qsort(ms, n, sizeof(double), by_value);
    printf("# %s: p50 %.3f ms, p99 %.3f ms, max %.3f ms of %d\n", what,
           ms[n / 2], ms[n * 99 / 100], ms[n - 1], n);
}

/* What the disk itself needs for one file that is replaced for good. */
static double
bare_write(void)
{
    double  t = clock_ms();
    char    from[80], to[80];
    int     fd, dir = open(test_dir, O_RDONLY|O_DIRECTORY);

    snprintf(from, sizeof(from), "%s/bare+", test_dir);
    snprintf(to, sizeof(to), "%s/bare", test_dir);
    fd = open(from, O_WRONLY|O_CREAT|O_EXCL, 0600);
    PKI_MUST(write(fd, prints, sizeof(prints)) == sizeof(prints)
             && fsync(fd) == 0 && close(fd) == 0 && rename(from, to) == 0
             && fsync(dir) == 0);
    close(dir);
    return clock_ms() - t;
}

/* Takes a file out of the page cache. */
static int
evict(const char *path, const struct stat *st, int type, struct FTW *at)
{
    int  fd = type == FTW_F ? open(path, O_RDONLY) : -1;

    (void) st;
    (void) at;
    if (fd >= 0) {
        PKI_MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
        close(fd);
    }
    return 0;
}

/* Told, not judged: a timed test fails on somebody else's load. */
static void
times(void)
{
    static double      ms[PUTS], bare[PUTS];
    certctl_record_t   got, renewed[2];
    char               host[64];
    int                bad = 0;

    renewed[0] = test_record("a", "DNS:both.example,DNS:a.example", 0);
    renewed[1] = test_record("a", "DNS:both.example,DNS:a.example", 0);

    for (int i = 0; i < PUTS; i++) {
        double  t = clock_ms();

        bad += certctl_store_put(store, &renewed[i % 2], NULL, NULL, NULL) != 0;
        ms[i] = clock_ms() - t;
        bare[i] = bare_write();
    }
    report("put that renews", ms, PUTS);
    report("a bare file, beside it", bare, PUTS);
    test_record_done(&renewed[0]);
    test_record_done(&renewed[1]);

    for (int i = 0; i < NAMES; i++) {
        double  t;

        snprintf(b[0].name, sizeof(b[0].name), "b%d", i);
        t = clock_ms();
        bad += certctl_store_put(store, &b[0], NULL, NULL, NULL) != 0;
        ms[i] = clock_ms() - t;
    }
    report("put of a new name", ms, NAMES);
    is_int(bad, 0, "%d puts", PUTS + NAMES);

    nftw(test_path, evict, 16, FTW_PHYS);
    for (int i = 0; i < NAMES; i++) {
        double  t;

        snprintf(host, sizeof(host), "b%d", i);
        t = clock_ms();
        bad += certctl_store_read(store, host, &got) != 0;
        ms[i] = clock_ms() - t;
        certctl_record_free(&got);
    }
    report("read of a name, not in the page cache", ms, NAMES);

    for (int i = 0; i < NAMES; i++) {
        double  t = clock_ms();

        bad += certctl_store_find(store, CERTCTL_KIND_ECDSA, "both.example",
                                  &got) != 0;
        ms[i] = clock_ms() - t;
        certctl_record_free(&got);
    }
    report("find by host name", ms, NAMES);
    is_int(bad, 0, "%d reads", 2 * NAMES);
}

int
main(void)
{
    char  sans[80];

    store = test_open();
    for (int i = 0; i < VERSIONS; i++) {
        snprintf(sans, sizeof(sans),
                 "DNS:both.example,DNS:a.example,DNS:a%d.example", i);
        a[i] = test_record("a", sans, 0);
        snprintf(sans, sizeof(sans), "DNS:both.example,DNS:b%d.example", i);
        b[i] = test_record("b", sans, 0);
        SHA256(a[i].chain.data, a[i].chain.len, prints[i]);
    }
    for (int i = 0; i < 2; i++) {
        PKI_MUST(certctl_store_put(store, &a[i], NULL, NULL, NULL) == 0
                 && certctl_store_put(store, &b[i], NULL, NULL, NULL) == 0);
    }

    in_threads();
    in_processes();
    share_names();
    while_deleted();
    after_conflict();
    times();

    certctl_store_close(store);
    for (int i = 0; i < VERSIONS; i++) {
        test_record_done(&a[i]);
        test_record_done(&b[i]);
    }
    return done_testing();
}
