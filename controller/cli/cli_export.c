/*
 * certctl store export DIR: what the sealed store holds as PEM files, with the
 * lines of nginx.conf that serve them, so that NGINX needs no module for it.
 *
 *   DIR/records/<record>/fullchain.pem   as it is served, leaf first
 *   DIR/records/<record>/privkey.pem
 *   DIR/names/<name>                     ssl_certificate lines for this name, to be
 *                                        included in its server block
 *
 * A "*" becomes "+", which no name has: "include" takes "*" for a pattern.
 */
#include "cli_store.h"

#include "cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define NAME_SIZE  254

CLEANUP_FUNC(json, json_t *, json_decref)
CLEANUP_FUNC(bio, BIO *, BIO_free)

/* That a record carries a name. */
struct offer {
    char            name[NAME_SIZE];
    char            record[NAME_SIZE];
    certctl_kind_e  kind;
    bool            valid;
    time_t          not_before;
};

struct export {
    const char    *argument;
    char           path[PATH_MAX];
    int            top;
    int            records;
    int            names;
    struct offer  *offers;
    size_t         n;
    size_t         size;
    size_t         written;      /* records */
};

static void
export_cleanup(struct export *ex)
{
    fd_cleanup(&ex->top);
    fd_cleanup(&ex->records);
    fd_cleanup(&ex->names);
    free(ex->offers);
}

static bool
failed(struct error *err, const struct export *ex, const char *what,
    const char *name)
{
    return error_set(err, ERR_INTERNAL, "%s \"%s/%s\": %s", what, ex->argument,
                     name, strerror(errno));
}

static bool
write_all(int fd, const char *data, size_t len)
{
    ssize_t  n;

    while (len) {
        n = write(fd, data, len);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n < 0) {
            return false;
        }

        data += n;
        len -= n;
    }

    return true;
}

/* Never over what is there; half a file is none. */
static bool
write_file(const struct export *ex, int folder, const char *base,
    const char *data, size_t len, struct error *err)
{
    bool  done;
    int   fd = openat(folder, base,
                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                      0600);

    if (fd < 0) {
        return failed(err, ex, "cannot create", base);
    }

    done = write_all(fd, data, len) && fsync(fd) == 0;
    if (!done) {
        failed(err, ex, "cannot write", base);
        unlinkat(folder, base, 0);
    }

    close(fd);
    return done;
}

/* A folder of our own, 0700; -1 with a sentence. */
static int
make_folder(const struct export *ex, int at, const char *base, struct error *err)
{
    int  fd = -1;

    if (mkdirat(at, base, 0700) == 0) {
        fd = openat(at, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }

    if (fd < 0) {
        failed(err, ex, "cannot create the directory", base);
    }

    return fd;
}

static bool
sync_folder(const struct export *ex, int fd, struct error *err)
{
    return fsync(fd) == 0 || failed(err, ex, "cannot write", ".");
}

static bool
is_empty(int folder)
{
    int             fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR            *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent  *entry;

    do {
        entry = dir ? readdir(dir) : NULL;
    } while (entry && (strcmp(entry->d_name, ".") == 0
                       || strcmp(entry->d_name, "..") == 0));

    if (dir) {
        closedir(dir);

    } else {
        fd_cleanup(&fd);
    }

    return dir && !entry;
}

/* NULL, or what is wrong with the directory that shall take private keys. */
static const char *
check_target(const struct export *ex)
{
    struct stat  st;

    if (fstat(ex->top, &st) != 0) {
        return strerror(errno);
    }

    if (st.st_uid != geteuid() || st.st_mode & 077) {
        return "another user may use it: name a directory that does not exist";
    }

    if (!is_empty(ex->top)) {
        return "it is not empty: name a directory that does not exist";
    }

    /* a "$" begins a variable, quotes and blanks end a word */
    for (const char *p = ex->path; *p; p++) {
        if (!isalnum((unsigned char) *p) && !strchr("/._-+@,=~:", *p)) {
            return "its path cannot stand in nginx.conf: use letters, digits,"
                   " \"-\", \"_\" and \".\"";
        }
    }

    return NULL;
}

static bool
open_target(struct export *ex, struct error *err)
{
    const char  *why = NULL;

    if (mkdir(ex->argument, 0700) != 0 && errno != EEXIST) {
        why = strerror(errno);

    } else {
        ex->top = open(ex->argument,
                       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        why = ex->top < 0 || !realpath(ex->argument, ex->path)
              ? strerror(errno) : check_target(ex);
    }

    if (why) {
        return error_set(err, ERR_CONFLICT, "cannot export to \"%s\": %s",
                         ex->argument, why);
    }

    ex->records = make_folder(ex, ex->top, "records", err);
    ex->names = ex->records < 0 ? -1
                : make_folder(ex, ex->top, "names", err);

    return ex->names >= 0;
}

static void
file_name(const char *name, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s", name);

    for (char *p = out; *p; p++) {
        if (*p == '*') {
            *p = '+';
        }
    }
}

/* Into memory that is wiped when it is freed. */
static bool
write_key(const struct export *ex, int folder, const struct cli_record *rec,
    struct error *err)
{
    long                len;
    char               *pem;
    CLEANUP(bio) BIO   *bio = BIO_new(BIO_s_secmem());

    if (!bio
        || !PEM_write_bio(bio, "PRIVATE KEY", "", rec->stored.key.data,
                          rec->stored.key.len))
    {
        return error_set(err, ERR_INTERNAL, "PEM_write_bio() failed");
    }

    len = BIO_get_mem_data(bio, &pem);

    return write_file(ex, folder, "privkey.pem", pem, len, err);
}

static bool
write_record(struct export *ex, const struct cli_record *rec, struct error *err)
{
    char                    name[NAME_SIZE];
    CLEANUP(fd) int         folder = -1;
    CLEANUP(ossl_mem) char *pem = certctl_chain_to_pem(rec->chain);

    if (!pem) {
        return error_set(err, ERR_INTERNAL, "certctl_chain_to_pem() failed");
    }

    file_name(rec->stored.name, name);
    folder = make_folder(ex, ex->records, name, err);

    return folder >= 0
           && write_file(ex, folder, "fullchain.pem", pem, strlen(pem), err)
           && write_key(ex, folder, rec, err)
           && sync_folder(ex, folder, err);
}

/* What a server_name can be and a file can be called. */
static bool
is_host_name(const char *text)
{
    return strlen(text) < NAME_SIZE && text[0] != '.'
           && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-_*:")
              == strlen(text);
}

struct names_of {
    struct export            *ex;
    const struct cli_record  *rec;
    bool                      failed;
};

static bool
add_offer(const char *kind, const char *text, void *data)
{
    struct names_of   *of = data;
    struct export     *ex = of->ex;
    struct offer       offer = { 0 }, *grown;

    for (size_t i = 0; text[i] && i < NAME_SIZE - 1; i++) {
        offer.name[i] = tolower((unsigned char) text[i]);
    }

    if ((strcmp(kind, "DNS") != 0 && strcmp(kind, "IP") != 0)
        || strlen(text) >= NAME_SIZE || !is_host_name(offer.name))
    {
        return true;
    }

    if (ex->n == ex->size) {
        ex->size = ex->size ? ex->size * 2 : 64;
        grown = realloc(ex->offers, ex->size * sizeof(offer));
        of->failed = !grown;

        if (!grown) {
            return false;
        }

        ex->offers = grown;
    }

    snprintf(offer.record, sizeof(offer.record), "%s", of->rec->stored.name);
    offer.kind = of->rec->stored.kind;
    offer.valid = of->rec->info.not_after > time(NULL);
    offer.not_before = of->rec->info.not_before;
    ex->offers[ex->n++] = offer;

    return true;
}

static bool
export_record(const struct cli_record *rec, void *data, struct error *err)
{
    struct export    *ex = data;
    struct names_of   of = { ex, rec, false };

    /* the identity of the module's control listener serves no site */
    if (rec->stored.name[0] == '_') {
        return true;
    }

    if ((ex->top < 0 && !open_target(ex, err)) || !write_record(ex, rec, err)) {
        return false;
    }

    ex->written++;
    certctl_x509_each_san(sk_X509_value(rec->chain, 0), add_offer, &of);

    return !of.failed || error_set(err, ERR_INTERNAL, "out of memory");
}

/*
 * By name and kind of key; of one name and kind first what serves it: the newest
 * that has not expired, of two of one age the lower name.
 */
static int
compare_offers(const void *a, const void *b)
{
    const struct offer  *one = a, *other = b;
    int                  rc = strcmp(one->name, other->name);

    if (rc != 0) {
        return rc;
    }

    if (one->kind != other->kind) {
        return (int) one->kind - (int) other->kind;
    }

    if (one->valid != other->valid) {
        return one->valid ? -1 : 1;
    }

    if (one->not_before != other->not_before) {
        return one->not_before > other->not_before ? -1 : 1;
    }

    return strcmp(one->record, other->record);
}

/* The lines of the name at i, one certificate of each kind; *next is behind it. */
static bool
write_name(const struct export *ex, size_t i, size_t *next, struct error *err)
{
    char                 base[NAME_SIZE];
    CLEANUP(bio) BIO    *bio = BIO_new(BIO_s_mem());
    char                *text;
    long                 len;
    const struct offer  *at, *first = &ex->offers[i];

    if (!bio) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    BIO_printf(bio, "# for server_name %s\n", first->name);

    for (at = first; i < ex->n && strcmp(at->name, first->name) == 0;
         at = &ex->offers[++i])
    {
        if (at == first || at->kind != at[-1].kind) {
            file_name(at->record, base);
            BIO_printf(bio, "ssl_certificate     %s/records/%s/fullchain.pem;\n"
                       "ssl_certificate_key %s/records/%s/privkey.pem;\n",
                       ex->path, base, ex->path, base);
        }
    }

    *next = i;
    file_name(first->name, base);
    len = BIO_get_mem_data(bio, &text);

    return write_file(ex, ex->names, base, text, len, err);
}

static bool
write_names(struct export *ex, size_t *count, struct error *err)
{
    *count = 0;

    if (ex->n) {
        qsort(ex->offers, ex->n, sizeof(struct offer), compare_offers);
    }

    for (size_t i = 0; i < ex->n; (*count)++) {
        if (!write_name(ex, i, &i, err)) {
            return false;
        }
    }

    return true;
}

/* Also that of the folder above, which has a new entry. */
static bool
sync_all(struct export *ex, struct error *err)
{
    CLEANUP(fd) int  above = openat(ex->top, "..",
                                    O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return sync_folder(ex, ex->names, err)
           && sync_folder(ex, ex->records, err)
           && sync_folder(ex, ex->top, err)
           && sync_folder(ex, above, err);
}

enum cli_exit
cli_store_export(const struct cli *cli)
{
    size_t                 count, names;
    struct error           err = { 0 };
    CLEANUP(json) json_t  *damaged = json_array();
    CLEANUP(json) json_t  *out = NULL;
    __attribute__((cleanup(export_cleanup))) struct export  ex = {
        .argument = cli->argument, .top = -1, .records = -1, .names = -1 };

    if (!cli_store_each(cli, export_record, &ex, damaged, &count, &err)) {
        return cli_fail(&err);
    }

    if (ex.written == 0) {
        error_set(&err, ERR_NOT_FOUND, "nothing is exported: the store holds no"
                  " certificate that can be opened");
        return cli_fail(&err);
    }

    if (!write_names(&ex, &names, &err) || !sync_all(&ex, &err)) {
        return cli_fail(&err);
    }

    out = json_pack("{s:s, s:I, s:I, s:O, s:s+}", "directory", ex.path,
                    "records", (json_int_t) ex.written,
                    "names", (json_int_t) names, "damaged", damaged,
                    "include", ex.path, "/names/NAME");
    cli_print(cli, out);

    return json_array_size(damaged) ? CLI_FAILED : CLI_OK;
}
