/* The store: what it makes at first, what it refuses, what a dry run changes. */
#define _GNU_SOURCE
#include "store_support.h"
#include <sys/wait.h>

static char  why[256];

static certctl_store_t *
open_as(int create, uid_t uid, gid_t gid)
{
    why[0] = '\0';
    return certctl_store_open(test_path, create, uid, gid, why, sizeof(why));
}

static void
refuses(const char *rule, const char *what)
{
    certctl_store_t  *store = open_as(1, geteuid(), getegid());

    ok(store == NULL && strstr(why, rule), "%s: %s", what, why);
    if (store) {
        certctl_store_close(store);
    }
    store = open_as(0, geteuid(), getegid());
    ok(store == NULL && strstr(why, rule), "also in a dry run");
    if (store) {
        certctl_store_close(store);
    }
}

static mode_t
mode_of(const char *name)
{
    char         path[128];
    struct stat  st;

    snprintf(path, sizeof(path), "%s/%s", test_path, name);
    return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static void
set_mode(const char *name, mode_t mode)
{
    char  path[128];

    snprintf(path, sizeof(path), "%s/%s", test_path, name);
    PKI_MUST(chmod(path, mode) == 0);
}

static int  told;

static void
tell(void *data)
{
    (void) data;
    told++;
}

/* What a writer left is cleared up before it can be said whom to tell. */
static void
tells(void)
{
    certctl_store_t  *store = test_open();
    char              path[128];

    certctl_store_on_heal(store, tell, NULL);
    certctl_store_close(store);
    is_int(told, 0, "nothing is left, nobody is told");

    snprintf(path, sizeof(path), "%s/writes/a", test_path);
    spew(path, NULL, 0);
    store = test_open();
    is_int(files_in("writes"), 0, "a start clears up");
    certctl_store_on_heal(store, tell, NULL);
    is_int(told, 1, "and tells as soon as it can");
    certctl_store_on_heal(store, tell, NULL);
    is_int(told, 1, "once");
    certctl_store_close(store);
}

static void
makes(void)
{
    unsigned char      key[100], again[100];
    certctl_record_t   rec = test_record("a", "DNS:a.example", 0), got;
    certctl_store_t   *store;
    char               path[128];

    store = test_open();
    is_int(mode_of(""), 0711, "the folder may be passed through");
    is_int(mode_of("seal.key"), 0400, "the key is its owner's alone");
    is_int(mode_of("certs"), 0700, "rooms are the workers' alone");
    is_int(mode_of("names/rsa"), 0700, "all of them");
    snprintf(path, sizeof(path), "%s/seal.key", test_path);
    is_int(slurp(path, key, sizeof(key)), 64, "64 bytes of key");
    is_int(certctl_store_put(store, &rec, NULL, NULL, NULL), 0, "put");
    is_int(stat(file_of("certs", "a"), &(struct stat) { 0 }), 0, "a file");
    certctl_store_close(store);

    store = test_open();
    is_int(slurp(path, again, sizeof(again)), 64, "opened again");
    ok(memcmp(key, again, 64) == 0, "with the same key");
    ok(holds(store, "a", &rec), "what was stored is there");
    certctl_store_close(store);

    store = open_as(0, geteuid(), getegid());
    ok(store && holds(store, "a", &rec), "a dry run reads it");
    certctl_store_close(store);

    /* nothing of the key in the file */
    unsigned char  file[8192];
    size_t         n = slurp(file_of("certs", "a"), file, sizeof(file));

    ok(memmem(file, n, rec.key.data + 40, 32) == NULL, "the key is sealed");
    ok(memmem(file, n, rec.chain.data + 40, 32) == NULL, "the chain, too");

    /* a record of another host: its own key, our name */
    unlink(path);
    char  certs[128], aside[128];

    refuses("restore it", "a lost key where there are records");
    snprintf(certs, sizeof(certs), "%s/certs", test_path);
    snprintf(aside, sizeof(aside), "%s-certs", test_path);
    PKI_MUST(rename(certs, aside) == 0);
    store = test_open();
    certctl_store_close(store);
    slurp(path, again, sizeof(again));
    ok(memcmp(key, again, 64) != 0, "without records a new key is made");
    PKI_MUST(rmdir(certs) == 0 && rename(aside, certs) == 0);
    store = test_open();
    is_int(certctl_store_read(store, "a", &got), CERTCTL_STORE_DAMAGED,
           "a record that another key sealed is refused");
    is_int(certctl_store_put(store, &rec, NULL, NULL, NULL), 0, "put over it");
    is_int(files_in("damaged"), 1, "sets it aside");
    certctl_store_close(store);
    test_record_done(&rec);
}

static void
refuses_open_doors(void)
{
    unsigned char  key[64], bad[65];
    char           path[128];

    set_mode("seal.key", 0440);
    refuses("chmod 0400", "a key that the group may read");
    set_mode("seal.key", 0400);
    set_mode("", 0777);
    refuses("chmod 0711", "a folder that others may write");
    set_mode("", 0711);
    set_mode("certs", 0750);
    refuses("chmod 0700", "a room that the group may read");
    set_mode("certs", 0700);
    set_mode("names/ecdsa", 0702);
    refuses("chmod 0700", "a room that others may write");
    set_mode("names/ecdsa", 0700);

    snprintf(path, sizeof(path), "%s/seal.key", test_path);
    slurp(path, key, sizeof(key));
    PKI_MUST(chmod(path, 0600) == 0);
    memcpy(bad, key, 64);
    bad[20] ^= 1;
    spew(path, bad, 64);
    refuses("damaged", "a key with a flipped bit");
    spew(path, key, 63);
    refuses("damaged", "a key cut short");
    memcpy(bad, key, 64);
    spew(path, bad, 65);
    refuses("damaged", "a key with more behind it");
    unlink(path);
    PKI_MUST(symlink("/etc/passwd", path) == 0);
    refuses("cannot be opened", "a link instead of a key");
    unlink(path);
    PKI_MUST(mkfifo(path, 0400) == 0);
    refuses("not a file", "a fifo instead of a key");
    unlink(path);
    spew(path, key, 64);
    PKI_MUST(chmod(path, 0400) == 0);

    snprintf(path, sizeof(path), "%s/staples", test_path);
    rmdir(path);
    PKI_MUST(symlink("/tmp", path) == 0);
    refuses("cannot be opened", "a link instead of a room");
    unlink(path);
    certctl_store_close(test_open());
}

static void
dry_run(void)
{
    char               saved[64];
    certctl_record_t   rec = test_record("a", "DNS:a.example", 0), got;
    certctl_store_t   *store;
    certctl_blob_t     blob;
    certctl_pending_t  pending;
    int64_t            until;
    u_char             print[32] = { 0 };
    struct stat        st;

    snprintf(saved, sizeof(saved), "%s", test_path);
    snprintf(test_path, sizeof(test_path), "%s/none", test_dir);

    store = open_as(0, geteuid(), getegid());
    ok(store != NULL, "a folder that is missing is no error in a dry run");
    is_int(certctl_store_read(store, "a", &got), CERTCTL_STORE_NOT_FOUND, "read");
    is_str(ecdsa(store, "a.example"), "-", "find");
    is_int(certctl_store_pending_get(store, "a", &pending),
           CERTCTL_STORE_NOT_FOUND, "pending");
    is_int(certctl_store_static_staple_get(store, print, &blob, &until),
           CERTCTL_STORE_NOT_FOUND, "staple");
    is_int(certctl_store_each(store, NULL, NULL), 0, "listing");
    is_int(certctl_store_put(store, &rec, NULL, NULL, NULL),
           CERTCTL_STORE_ERROR, "put");
    ok(stat(test_path, &st) != 0 && errno == ENOENT, "nothing was made");
    certctl_store_close(store);

    PKI_MUST(mkdir(test_path, 0711) == 0);
    store = open_as(0, geteuid(), getegid());
    ok(store != NULL, "an empty folder is none, either");
    is_int(certctl_store_put(store, &rec, NULL, NULL, NULL),
           CERTCTL_STORE_ERROR, "put");
    certctl_store_close(store);
    PKI_MUST(rmdir(test_path) == 0);
    ok(1, "and stays empty");

    snprintf(test_path, sizeof(test_path), "%s/no/parent", test_dir);
    ok(open_as(1, geteuid(), getegid()) == NULL && strstr(why, "cannot be made"),
       "a missing parent is told: %s", why);
    snprintf(test_path, sizeof(test_path), "%s", saved);
    test_record_done(&rec);
}

/* Opened by root, used by workers that are somebody else. */
static void
drops_privileges(void)
{
    certctl_record_t   rec = test_record_valid("a", "DNS:a.example", 0, -2 * DAY, DAY);
    certctl_store_t   *store;
    int                status;
    pid_t              pid;

    if (geteuid() != 0) {
        ok(1, "workers of another user # SKIP needs root");
        test_record_done(&rec);
        return;
    }

    snprintf(test_path, sizeof(test_path), "%s/root", test_dir);
    PKI_MUST(chmod(test_dir, 0711) == 0);
    store = open_as(1, 65534, 65534);
    PKI_MUST(store != NULL);
    is_int(certctl_store_put(store, &rec, NULL, NULL, NULL), 0,
           "the master may write, too");

    pid = fork();
    if (pid == 0) {
        certctl_record_t  new = test_record("b", "DNS:a.example,DNS:b.example",
                                            0);
        unsigned char     key[64];
        char              path[128];
        int               fd;

        if (setgid(65534) || setuid(65534)) {
            _exit(10);
        }
        snprintf(path, sizeof(path), "%s/seal.key", test_path);
        fd = open(path, O_RDONLY);
        if (fd >= 0 && read(fd, key, 64) == 64) {
            _exit(11);
        }
        if (!holds(store, "a", &rec)) {
            _exit(12);
        }
        if (certctl_store_put(store, &new, NULL, NULL, NULL)
            || certctl_store_put(store, &new, NULL, NULL, NULL)
            || strcmp(ecdsa(store, "a.example"), "b") != 0)
        {
            _exit(13);
        }
        if (certctl_store_put(store, &rec, NULL, NULL, NULL)
            || certctl_store_delete(store, "b", 0, NULL, NULL)
            || strcmp(ecdsa(store, "a.example"), "a") != 0)
        {
            _exit(14);
        }
        if (certctl_store_delete(store, "a", 0, NULL, NULL)) {
            _exit(15);
        }
        _exit(0);
    }
    waitpid(pid, &status, 0);
    is_int(status, 0, "workers read, write and delete, but cannot read the key");
    certctl_store_close(store);

    ok(open_as(1, 65533, 65534) == NULL && strstr(why, "user of the workers"),
       "another user of workers is told: %s", why);
    test_record_done(&rec);
}

int
main(void)
{
    makes();
    tells();
    refuses_open_doors();
    dry_run();
    drops_privileges();
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");
    return done_testing();
}
