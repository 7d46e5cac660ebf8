/*
 * The sealed store of this host, read without NGINX and without a controller:
 * certctl store list, verify.  Reading changes nothing in it.
 */
#include "cli_store.h"

#include "cleanup.h"
#include "x509_key.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define WHY            300

CLEANUP_FUNC(json, json_t *, json_decref)
CLEANUP_FUNC(store, certctl_store_t *, certctl_store_close)

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

struct names {
    char   **name;
    size_t   n;
    size_t   size;
    bool     failed;         /* there was no memory for all */
};

static void
names_cleanup(struct names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        free(names->name[i]);
    }

    free(names->name);
}

static bool
grow(struct names *names)
{
    size_t   size = names->size ? names->size * 2 : 64;
    char   **grown;

    if (names->n < names->size) {
        return true;
    }

    grown = realloc(names->name, size * sizeof(char *));
    if (!grown) {
        return false;
    }

    names->name = grown;
    names->size = size;

    return true;
}

static int
add_name(const char *name, void *data)
{
    char          *copy;
    struct names  *names = data;

    copy = grow(names) ? strdup(name) : NULL;
    names->failed = copy == NULL;

    if (copy) {
        names->name[names->n++] = copy;
    }

    return names->failed;
}

/* Sorted; store/store.h promises no order. */
static bool
list_names(certctl_store_t *store, struct names *names, struct error *err)
{
    if (certctl_store_each(store, add_name, names) != CERTCTL_STORE_OK) {
        return error_set(err, ERR_INTERNAL, "the folder \"certs\" of the store"
                         " cannot be listed: %s", strerror(errno));
    }

    if (names->failed) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    if (names->n) {
        qsort(names->name, names->n, sizeof(char *), compare_names);
    }

    return true;
}

/*
 * Only who started NGINX may read the sealing key, and only what belongs to that
 * user is believed: to say who that is beats "permission denied".
 */
static bool
check_owner(const char *path, struct error *err)
{
    struct stat     st;
    struct passwd  *user;
    char            seal[PATH_MAX];

    snprintf(seal, sizeof(seal), "%s/seal.key", path);

    if (stat(seal, &st) != 0) {
        return errno == ENOENT && stat(path, &st) == 0 ? true
               : error_set(err, ERR_NOT_FOUND, "there is no store \"%s\": %s;"
                           " --store names the folder of the directive"
                           " certctl_store", path, strerror(errno));
    }

    if (st.st_uid == geteuid()) {
        return true;
    }

    user = getpwuid(st.st_uid);

    return error_set(err, ERR_FORBIDDEN, "\"%s\" belongs to %s: run certctl as"
                     " that user", seal, user ? user->pw_name : "another user");
}

/* The folders of a store belong to the workers' user, whoever that is. */
certctl_store_t *
cli_store_open(const char *path, struct error *err)
{
    char              why[WHY], sub[PATH_MAX];
    struct stat       st;
    certctl_store_t  *store;

    if (!check_owner(path, err)) {
        return NULL;
    }

    snprintf(sub, sizeof(sub), "%s/certs", path);

    if (stat(sub, &st) != 0) {
        error_set(err, ERR_NOT_FOUND, "\"%s\" is not a store: \"%s\": %s; --store"
                  " names the folder of the directive certctl_store", path, sub,
                  strerror(errno));
        return NULL;
    }

    store = certctl_store_open(path, 0, st.st_uid, st.st_gid, why, sizeof(why));
    if (!store) {
        error_set(err, ERR_INTERNAL, "the store \"%s\" cannot be opened: %s",
                  path, why);
    }

    return store;
}

static void
record_cleanup(struct cli_record *rec)
{
    sk_X509_pop_free(rec->chain, X509_free);
    EVP_PKEY_free(rec->key);
    certctl_record_free(&rec->stored);
}

/* NULL, or why the record cannot be used. */
static const char *
parse_record(struct cli_record *rec)
{
    X509        *leaf;
    const char  *why = NULL;

    rec->chain = certctl_chain_from_der(rec->stored.chain.data,
                                        rec->stored.chain.len, &why);
    if (!rec->chain) {
        return why;
    }

    leaf = sk_X509_value(rec->chain, 0);
    rec->key = certctl_key_from_der(rec->stored.key.data, rec->stored.key.len);

    if (!rec->key) {
        return "its private key cannot be read";
    }

    if (X509_check_private_key(leaf, rec->key) != 1) {
        return "its private key does not belong to its certificate";
    }

    return certctl_x509_info(leaf, &rec->info);
}

/* NULL, or why the record cannot be opened; *gone when it has been deleted. */
static const char *
open_record(certctl_store_t *store, const char *name, struct cli_record *rec,
    bool *gone)
{
    int  rc = certctl_store_read(store, name, &rec->stored);

    *gone = rc == CERTCTL_STORE_NOT_FOUND;

    if (rc == CERTCTL_STORE_OK) {
        return parse_record(rec);
    }

    return *gone ? NULL
           : rc == CERTCTL_STORE_DAMAGED
           ? "it is damaged, or sealed with another seal.key"
           : strerror(errno);
}

static bool
visit(certctl_store_t *store, const char *name, cli_record_fn *fn, void *data,
    json_t *damaged, size_t *count, struct error *err)
{
    bool         gone;
    const char  *why;
    __attribute__((cleanup(record_cleanup))) struct cli_record  rec = { 0 };

    why = open_record(store, name, &rec, &gone);
    if (gone) {
        return true;
    }

    (*count)++;

    if (!why) {
        return fn(&rec, data, err);
    }

    fprintf(stderr, "certctl: record \"%s\" cannot be opened: %s\n", name, why);
    json_array_append_new(damaged, json_string(name));

    return true;
}

bool
cli_store_each(const struct cli *cli, cli_record_fn *fn, void *data,
    json_t *damaged, size_t *count, struct error *err)
{
    const char                                  *path = cli_value(cli, "store");
    CLEANUP(store) certctl_store_t              *store = NULL;
    __attribute__((cleanup(names_cleanup))) struct names  names = { 0 };

    *count = 0;
    store = cli_store_open(path ? path : CLI_STORE_DEFAULT, err);

    if (!store || !list_names(store, &names, err)) {
        return false;
    }

    for (size_t i = 0; i < names.n; i++) {
        if (!visit(store, names.name[i], fn, data, damaged, count, err)) {
            return false;
        }
    }

    return true;
}

static json_t *
time_text(time_t at)
{
    char       text[32];
    struct tm  tm;

    gmtime_r(&at, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);

    return json_string(text);
}

/* The words of the module's report. */
static const char *
staple_state(const struct cli_record *rec)
{
    char  url[1024];

    if (rec->stored.staple.len) {
        return rec->stored.staple_until > time(NULL) ? "fresh" : "stale";
    }

    certctl_x509_ocsp_url(sk_X509_value(rec->chain, 0), url, sizeof(url));

    return *url ? "missing" : "not_applicable";
}

static bool
add_san(const char *kind, const char *text, void *data)
{
    if (strcmp(kind, "DNS") == 0 || strcmp(kind, "IP") == 0) {
        json_array_append_new(data, json_string(text));
    }

    return true;
}

static bool
add_row(const struct cli_record *rec, void *data, struct error *err)
{
    json_t  *sans = json_array();
    json_t  *row = json_object();

    (void) err;
    certctl_x509_each_san(sk_X509_value(rec->chain, 0), add_san, sans);

    json_object_set_new(row, "name", json_string(rec->stored.name));
    json_object_set_new(row, "sans", sans);
    json_object_set_new(row, "key_type", json_string(rec->info.key_type));
    json_object_set_new(row, "not_before", time_text(rec->info.not_before));
    json_object_set_new(row, "not_after", time_text(rec->info.not_after));
    json_object_set_new(row, "fingerprint", json_string(rec->info.fingerprint));
    json_object_set_new(row, "staple", json_string(staple_state(rec)));
    json_object_set_new(row, "staple_next_update",
                        rec->stored.staple.len
                        ? time_text(rec->stored.staple_until) : json_null());
    json_array_append_new(data, row);

    return true;
}

enum cli_exit
cli_store_list(const struct cli *cli)
{
    size_t                 count;
    struct error           err = { 0 };
    CLEANUP(json) json_t  *rows = json_array();
    CLEANUP(json) json_t  *damaged = json_array();
    CLEANUP(json) json_t  *out = NULL;

    if (!cli_store_each(cli, add_row, rows, damaged, &count, &err)) {
        return cli_fail(&err);
    }

    out = json_pack("{s:O, s:i, s:O}", "data", rows,
                    "total", (int) json_array_size(rows), "damaged", damaged);
    cli_print(cli, out);

    return json_array_size(damaged) ? CLI_FAILED : CLI_OK;
}

/* To have opened it is all that is asked. */
static bool
opened(const struct cli_record *rec, void *data, struct error *err)
{
    (void) rec;
    (void) data;
    (void) err;

    return true;
}

enum cli_exit
cli_store_verify(const struct cli *cli)
{
    size_t                 count;
    struct error           err = { 0 };
    CLEANUP(json) json_t  *damaged = json_array();
    CLEANUP(json) json_t  *out = NULL;

    if (!cli_store_each(cli, opened, NULL, damaged, &count, &err)) {
        return cli_fail(&err);
    }

    out = json_pack("{s:I, s:O}", "records", (json_int_t) count, "damaged",
                    damaged);
    cli_print(cli, out);

    if (count && json_array_size(damaged) == count) {
        fprintf(stderr, "certctl: no record can be opened: seal.key is not the"
                " one that sealed them; restore it from a backup\n");
    }

    return json_array_size(damaged) ? CLI_FAILED : CLI_OK;
}
