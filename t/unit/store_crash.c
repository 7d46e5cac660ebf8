/*
 * The store: a writer that is killed at any of its points leaves the old version
 * or the new one, with its names, and the next to come finds order.
 */
#define _GNU_SOURCE
#include "store_support.h"
#include "point.h"
#include <glob.h>
#include <openssl/sha.h>
#include <signal.h>
#include <sys/wait.h>

#define POINTS_MAX  400

static certctl_record_t  one, two, three;       /* versions of record "a" */
static certctl_record_t  other;                 /* record "b" */
static certctl_record_t  shares;                /* "s", which is older and has their names */
static char              log_path[128];
static char              passed[64][64];        /* every point that any run met */
static int               n_passed;

/* The writes that are interrupted, on a store that has versions one and two. */

static int
op_put(certctl_store_t *s)
{
    return certctl_store_put(s, &three, NULL, NULL, NULL);
}

/* Together with a record that is new; times: again, with the locks of before. */
static int
put_both(certctl_store_t *s, int times)
{
    certctl_store_put_t  puts[] = { { .record = &three }, { .record = &other } };
    certctl_lock_pool_t    *locks = certctl_lock_pool_create(NULL);
    int                  rc = 0;

    for (int i = 0; i < times; i++) {
        certctl_store_put_many(s, puts, 2, locks, NULL, NULL);
        rc = rc ? rc : puts[0].rc ? puts[0].rc : puts[1].rc;
    }
    certctl_lock_pool_destroy(s, locks);
    return rc;
}

static int
op_many(certctl_store_t *s)
{
    return put_both(s, 2);
}

static int
op_rollback(certctl_store_t *s)
{
    return certctl_store_rollback(s, "a", 0, NULL, NULL, NULL);
}

static int
op_delete(certctl_store_t *s)
{
    return certctl_store_delete(s, "a", 0, NULL, NULL);
}

static int
op_staple(certctl_store_t *s)
{
    certctl_blob_t  staple = { (u_char *) "staple", 6 };
    u_char          print[32];

    SHA256(two.chain.data, two.chain.len, print);
    return certctl_store_staple(s, "a", print, &staple, 9, NULL, NULL, NULL);
}

static int
op_pending(certctl_store_t *s)
{
    certctl_pending_t  p = { .name = "a", .key_type = "ec-p256" };

    p.key = three.key;
    p.csr = three.chain;
    return certctl_store_pending_put(s, &p);
}

/* Many, of which one has a key that waits, over a record that was damaged. */
static int
op_many_over_damage(certctl_store_t *s)
{
    PKI_MUST(op_pending(s) == 0);
    PKI_MUST(truncate(file_of("certs", "a"), 100) == 0);
    return put_both(s, 1);
}

/* A put whose key was waiting, over a record that was damaged. */
static int
op_over_damage(certctl_store_t *s)
{
    PKI_MUST(op_pending(s) == 0);
    PKI_MUST(truncate(file_of("certs", "a"), 100) == 0);
    return op_put(s);
}

/* Over links of a version that kept one record for each name. */
static int
op_over_links(certctl_store_t *s)
{
    set_link("sall.example", "a");
    set_link("stwo.example", "a");
    return op_put(s);
}

static int
op_delete_links(certctl_store_t *s)
{
    set_link("sall.example", "a");
    set_link("stwo.example", "a");
    return op_delete(s);
}

static int
op_first(certctl_store_t *s)
{
    PKI_MUST(op_delete(s) == 0);
    return op_put(s);
}

/* A store that nobody has opened before. */
static int
op_open(certctl_store_t *s)
{
    char  saved[64];
    int   rc;

    (void) s;
    snprintf(saved, sizeof(saved), "%s", test_path);
    snprintf(test_path, sizeof(test_path), "%s/fresh", test_dir);
    s = test_open();
    rc = certctl_store_put(s, &one, NULL, NULL, NULL);
    certctl_store_close(s);
    snprintf(test_path, sizeof(test_path), "%s", saved);
    return rc;
}

/* What may be live afterwards: a set of bits, NONE meaning no record. */
enum { ONE = 1, TWO = 2, THREE = 4, NONE = 8, DAMAGED = 16 };

static const struct {
    const char  *name;
    int        (*run)(certctl_store_t *);
    int          may_be, done;                  /* when killed; when not */
} ops[] = {
    { "put",             op_put,         TWO|THREE,            THREE },
    { "many",            op_many,        TWO|THREE,            THREE },
    { "many over damage", op_many_over_damage, TWO|DAMAGED|THREE, THREE },
    { "rollback",        op_rollback,    TWO|ONE,              ONE },
    { "delete",          op_delete,      TWO|NONE,             NONE },
    { "staple",          op_staple,      TWO,                  TWO },
    { "pending key",     op_pending,     TWO,                  TWO },
    { "put over damage", op_over_damage, TWO|DAMAGED|THREE,    THREE },
    { "put over old links", op_over_links, TWO|THREE,          THREE },
    { "delete with old links", op_delete_links, TWO|NONE,      NONE },
    { "first put",       op_first,       TWO|NONE|THREE,       THREE },
    { "first open",      op_open,        TWO,                  TWO },
};

#define OPS  (sizeof(ops) / sizeof(ops[0]))

static int
live(certctl_store_t *s)
{
    certctl_record_t  got;
    int               rc = certctl_store_read(s, "a", &got);

    if (rc == CERTCTL_STORE_OK) {
        rc = same_blob(&got.key, &one.key) ? ONE
             : same_blob(&got.key, &two.key) ? TWO
             : same_blob(&got.key, &three.key) ? THREE : 0;
        certctl_record_free(&got);
        return rc;
    }
    return rc == CERTCTL_STORE_NOT_FOUND ? NONE
           : rc == CERTCTL_STORE_DAMAGED ? DAMAGED : 0;
}

/* "a" answers for the name where it carries it; else "s", if that has it, too. */
static int
fits(certctl_store_t *s, const char *name, int carries)
{
    char  shared[32];

    snprintf(shared, sizeof(shared), "s%s", name);
    return (strcmp(ecdsa(s, name), "a") == 0) == carries
           && strcmp(ecdsa(s, shared), carries ? "a" : "s") == 0;
}

/* All three carry all.example and each one name of its own. */
static int
names_fit(certctl_store_t *s, int what)
{
    return (strcmp(ecdsa(s, "b.example"), "b") == 0) == holds(s, "b", &other)
           && fits(s, "all.example", (what & (ONE|TWO|THREE)) != 0)
           && fits(s, "one.example", what == ONE)
           && fits(s, "two.example", what == TWO)
           && fits(s, "three.example", what == THREE);
}

/* Locks of nobody that wait for a start to be removed. */
static int
pooled_locks(void)
{
    glob_t  files;
    char    pattern[128];
    int     n;

    snprintf(pattern, sizeof(pattern), "%s/writes/+*", test_path);
    n = glob(pattern, 0, NULL, &files) == 0 ? (int) files.gl_pathc : 0;
    globfree(&files);
    return n;
}

/* No + % = behind, no lock but those. */
static int
is_tidy(int pooled)
{
    static const char  *marks[] = {
        "+a", "%a", "=a", "+b", "%b", "=b", NULL
    };

    for (const char **m = marks; *m; m++) {
        if (file_of("certs", *m) || file_of("pending", *m)) {
            return 0;
        }
    }
    return files_in("writes") == pooled;
}

static void
reset(void)
{
    certctl_store_t  *s;
    char              fresh[64];

    snprintf(fresh, sizeof(fresh), "%s/fresh", test_dir);
    nftw(fresh, test_remove, 16, FTW_DEPTH|FTW_PHYS);
    nftw(test_path, test_remove, 16, FTW_DEPTH|FTW_PHYS);
    s = test_open();
    PKI_MUST(certctl_store_put(s, &shares, NULL, NULL, NULL) == 0
             && certctl_store_put(s, &one, NULL, NULL, NULL) == 0
             && certctl_store_put(s, &two, NULL, NULL, NULL) == 0);
    certctl_store_close(s);
}

/* Runs op in a process of its own; its wait status. */
static int
run(size_t op, const char *point, const char *act)
{
    int    status;
    pid_t  pid = fork();

    if (pid == 0) {
        certctl_store_t  *s = test_open();

        certctl_point_set(point, act, log_path);
        _exit(ops[op].run(s) ? 1 : 0);
    }
    PKI_MUST(waitpid(pid, &status, WUNTRACED) == pid);
    return status;
}

/* The points of the last run, each with its number among those of its name. */
static int
read_log(char points[POINTS_MAX][80])
{
    FILE  *f = fopen(log_path, "r");
    char   line[70];
    int    n = 0, i, again;

    while (f && n < POINTS_MAX && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        again = 1;
        for (i = 0; i < n; i++) {
            again += strncmp(points[i], line, strlen(line)) == 0
                     && points[i][strlen(line)] == ':';
        }
        snprintf(points[n++], 80, "%s:%d", line, again);

        for (i = 0; i < n_passed && strcmp(passed[i], line) != 0; i++) {
            /* void */
        }
        if (i == n_passed) {
            snprintf(passed[n_passed++], 64, "%s", line);
        }
    }
    if (f) {
        fclose(f);
    }
    unlink(log_path);
    return n;
}

/* Killed at point: then readers, then healing by a start or by a write. */
static int
dies(size_t op, const char *point, const char *act, int by_write)
{
    certctl_store_t  *s;
    int               status, before, after, good;

    reset();
    unlink(log_path);
    status = run(op, point, act);

    if (!(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        && !(WIFEXITED(status) && WEXITSTATUS(status) == 99))
    {
        printf("# %s at %s: not killed, status %x\n", ops[op].name, point, status);
        return 0;
    }

    /* a worker of before, which has the store open and heals nothing */
    char  why[256];

    s = certctl_store_open(test_path, 0, geteuid(), getegid(), why, sizeof(why));
    PKI_MUST(s != NULL);
    before = live(s);
    certctl_store_close(s);

    if (by_write) {
        s = certctl_store_open(test_path, 0, geteuid(), getegid(), why,
                               sizeof(why));
        PKI_MUST(s != NULL);
        PKI_MUST(certctl_store_put(s, &two, NULL, NULL, NULL) == 0
                 && certctl_store_put(s, &other, NULL, NULL, NULL) == 0);
        after = live(s);
        good = after == TWO;
    } else {
        s = test_open();
        after = live(s);
        good = after == before;
    }

    good = good && (before & ops[op].may_be) && names_fit(s, after)
           && (by_write || is_tidy(0));
    if (!good) {
        printf("# %s at %s, healed by %s: %d, then %d, names %d, tidy %d\n",
               ops[op].name, point, by_write ? "a write" : "a start", before,
               after, names_fit(s, after), is_tidy(0));
    }

    /* and life goes on */
    good = good && op_open(NULL) == 0
           && certctl_store_put(s, &one, NULL, NULL, NULL) == 0
           && names_fit(s, ONE) && is_tidy(by_write ? pooled_locks() : 0);
    (void) certctl_store_delete(s, "b", 0, NULL, NULL);
    good = good && certctl_store_delete(s, "a", 0, NULL, NULL) == 0
           && names_fit(s, NONE)
           && certctl_store_delete(s, "s", 0, NULL, NULL) == 0
           && files_in("certs") == 0;
    certctl_store_close(s);
    return good;
}

static void
interrupts(size_t op)
{
    static char  points[POINTS_MAX][80];
    int          n, good = 0;

    reset();
    unlink(log_path);
    ok(run(op, NULL, NULL) == 0 && files_in("writes") == 0,
       "%s: not interrupted", ops[op].name);

    certctl_store_t  *s = test_open();

    ok(live(s) == ops[op].done && names_fit(s, ops[op].done),
       "%s: does its work", ops[op].name);
    certctl_store_close(s);

    n = read_log(points);
    for (int i = 0; i < n; i++) {
        good += dies(op, points[i], i % 3 ? "kill" : "exit", i % 2);
    }
    ok(n > 0 && good == n, "%s: killed at each of its %d points", ops[op].name,
       n);
}

/* A writer that is stopped holds its own name, and nothing else. */
static void
stops(void)
{
    certctl_store_t   *s;
    certctl_record_t   b = test_record("b", "DNS:all.example,DNS:b.example", 0);
    int                status;
    pid_t              pid;

    reset();
    s = test_open();
    pid = fork();
    if (pid == 0) {
        certctl_point_set("store.put.before_rename", "stop", NULL);
        _exit(certctl_store_put(s, &three, NULL, NULL, NULL) ? 1 : 0);
    }
    PKI_MUST(waitpid(pid, &status, WUNTRACED) == pid);
    ok(WIFSTOPPED(status), "a writer is stopped");
    ok(live(s) == TWO && names_fit(s, TWO), "readers do not wait");
    is_int(certctl_store_put(s, &b, NULL, NULL, NULL), 0,
           "another name does not wait");
    is_int(certctl_store_delete(s, "b", 0, NULL, NULL), 0, "nor its deletion");
    certctl_store_close(s);

    s = test_open();
    ok(file_of("certs", "+a") != NULL,
       "a start leaves what a living writer is at");
    kill(pid, SIGCONT);
    PKI_MUST(waitpid(pid, &status, 0) == pid);
    is_int(status, 0, "it goes on");
    ok(live(s) == THREE && names_fit(s, THREE) && is_tidy(0), "and completes");
    certctl_store_close(s);
    test_record_done(&b);
}

/* A record that becomes one of the other kind is always one of either. */
static void
changes_kind(void)
{
    certctl_store_t   *s = test_open();
    certctl_record_t   of[CERTCTL_KINDS];
    int                status;
    pid_t              pid;

    of[CERTCTL_KIND_ECDSA] = test_record("k", "DNS:k.example", 0);
    of[CERTCTL_KIND_RSA] = test_record("k", "DNS:k.example", 1);
    PKI_MUST(certctl_store_put(s, &of[0], NULL, NULL, NULL) == 0);

    for (int i = 0; i < 4; i++) {
        int  from = i % 2, to = !from;

        pid = fork();
        if (pid == 0) {
            certctl_point_set(i < 2 ? "store.put.before_names"
                              : "store.put.before_rename",
                              i < 2 ? "stop" : "kill", NULL);
            _exit(certctl_store_put(s, &of[to], NULL, NULL, NULL) ? 1 : 0);
        }
        PKI_MUST(waitpid(pid, &status, WUNTRACED) == pid);

        if (i < 2) {
            is_str(answer_for(s, to, "k.example"), "k",
                   "another kind, and at once by its name");
            kill(pid, SIGCONT);
            PKI_MUST(waitpid(pid, &status, 0) == pid);
            is_int(status, 0, "it completes");
        } else {
            is_str(answer_for(s, from, "k.example"), "k",
                   "killed before: by the kind that it had");
            is_str(answer_for(s, to, "k.example"), "-", "not the other one");
            PKI_MUST(certctl_store_put(s, &of[to], NULL, NULL, NULL) == 0);
        }
        is_str(answer_for(s, to, "k.example"), "k", "then by the one");
        is_str(answer_for(s, from, "k.example"), "-", "and not the other");
    }

    is_int(certctl_store_delete(s, "k", 0, NULL, NULL), 0, "deleted");
    is_str(answer_for(s, 0, "k.example"), "-", "it is of no kind");
    certctl_store_close(s);
    test_record_done(&of[0]);
    test_record_done(&of[1]);
}

/* Every CERTCTL_POINT of the store's files is one that some run has met. */
static void
misses_none(void)
{
    glob_t        files;
    static char   text[65536];
    size_t        n;
    int           all = 0, met = 0, i;

    PKI_MUST(glob("ngx_certctl_module/store/*.c", 0, NULL, &files) == 0);

    for (size_t f = 0; f < files.gl_pathc; f++) {
        n = slurp(files.gl_pathv[f], (unsigned char *) text, sizeof(text) - 1);
        text[n] = '\0';

        for (char *p = text; (p = strstr(p, "CERTCTL_POINT(\"")) != NULL; ) {
            char  *name = p + 15, *end = strchr(name, '"');

            *end = '\0';
            all++;
            for (i = 0; i < n_passed && strcmp(passed[i], name) != 0; i++) {
                /* void */
            }
            met += i < n_passed;
            if (i == n_passed) {
                printf("# never passed: %s\n", name);
            }
            p = end + 1;
        }
    }
    globfree(&files);
    ok(all > 20 && met == all, "each of the %d points was passed", all);
}

int
main(void)
{
    certctl_store_close(test_open());
    snprintf(log_path, sizeof(log_path), "%s/log", test_dir);
    one = test_record("a", "DNS:all.example,DNS:sall.example,DNS:one.example,"
                      "DNS:sone.example", 0);
    two = test_record("a", "DNS:all.example,DNS:sall.example,DNS:two.example,"
                      "DNS:stwo.example", 0);
    three = test_record("a", "DNS:all.example,DNS:sall.example,"
                        "DNS:three.example,DNS:sthree.example", 0);
    shares = test_record_valid("s", "DNS:sall.example,DNS:sone.example,"
                               "DNS:stwo.example,DNS:sthree.example", 0,
                               -2 * DAY, DAY);

    other = test_record("b", "DNS:b.example", 0);

    for (size_t op = 0; op < OPS; op++) {
        interrupts(op);
    }
    stops();
    changes_kind();
    misses_none();

    test_record_done(&one);
    test_record_done(&two);
    test_record_done(&three);
    test_record_done(&other);
    test_record_done(&shares);
    return done_testing();
}
