
/*
 * Walks a folder and what lies below it, on a thread, within limits; what they
 * leave out is listed.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <time.h>
#include "discover/discover.h"


/* A folder's entries by name, and the private keys among them. */

typedef struct {
    char                       **names;
    ngx_uint_t                   n;
    ngx_uint_t                   size;

    ngx_http_certctl_key_file_t   *keys;
    ngx_uint_t                   nkeys;
} ngx_http_certctl_folder_t;


int64_t
ngx_http_certctl_walk_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


/* Notes that what is at walk->path was left out. */

static void
ngx_http_certctl_walk_skip(ngx_http_certctl_walk_t *walk, const char *why)
{
    if (walk->nleft++ >= NGX_HTTP_CERTCTL_WALK_LEFT) {
        walk->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_LEFT_OUT;
        return;
    }

    ngx_http_certctl_json_open(&walk->left, NULL, '{');
    ngx_http_certctl_json_text(&walk->left, "path", walk->path);
    ngx_http_certctl_json_text(&walk->left, "why", why);
    ngx_http_certctl_json_close(&walk->left, '}');
}


static int ngx_libc_cdecl
ngx_http_certctl_folder_order(const void *one, const void *two)
{
    return strcmp(*(char *const *) one, *(char *const *) two);
}


/* Names in order, so that a walk says the same twice; no more than it reads. */

static ngx_int_t
ngx_http_certctl_folder_read(ngx_http_certctl_walk_t *walk,
    ngx_http_certctl_folder_t *folder, DIR *dir)
{
    char           *name, **names;
    struct dirent  *de;

    while ((de = readdir(dir)) != NULL) {

        if (ngx_strcmp(de->d_name, ".") == 0
            || ngx_strcmp(de->d_name, "..") == 0)
        {
            continue;
        }

        /* directories do not count as files, but are limited, too */

        if (folder->n == 2 * NGX_HTTP_CERTCTL_WALK_FILES) {
            walk->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_FILES;
            break;
        }

        if (folder->n == folder->size) {
            folder->size = folder->size ? 2 * folder->size : 64;

            names = realloc(folder->names, folder->size * sizeof(char *));
            if (names == NULL) {
                return NGX_ERROR;
            }

            folder->names = names;
        }

        name = strdup(de->d_name);
        if (name == NULL) {
            return NGX_ERROR;
        }

        folder->names[folder->n++] = name;
    }

    if (folder->n) {
        ngx_qsort(folder->names, folder->n, sizeof(char *),
                  ngx_http_certctl_folder_order);
    }

    return NGX_OK;
}


/* Whether another file may be read; the limit that is reached is noted. */

static ngx_uint_t
ngx_http_certctl_walk_goes_on(ngx_http_certctl_walk_t *walk)
{
    if (walk->files >= NGX_HTTP_CERTCTL_WALK_FILES) {
        walk->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_FILES;

    } else if (walk->certs >= NGX_HTTP_CERTCTL_WALK_CERTS) {
        walk->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_CERTIFICATES;

    } else if (walk->json->size >= NGX_HTTP_CERTCTL_WALK_ANSWER) {
        walk->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_ANSWER;

    } else if (ngx_http_certctl_walk_now() >= walk->deadline) {
        walk->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_TIME;

    } else {
        return !walk->json->failed;
    }

    return 0;
}


/* "*.key", and "privkey*.pem" as ACME clients name it. */

static ngx_uint_t
ngx_http_certctl_folder_key(const char *name)
{
    size_t  len;

    len = ngx_strlen(name);

    return (len >= 4 && ngx_strcmp(name + len - 4, ".key") == 0)
           || (len >= 11 && ngx_strncmp(name, "privkey", 7) == 0
               && ngx_strcmp(name + len - 4, ".pem") == 0);
}


/*
 * The folder's private keys, before its certificates: each is parsed once, and
 * wiped; what stays is a digest of the public half.
 */

static void
ngx_http_certctl_folder_keys(ngx_http_certctl_walk_t *walk,
    ngx_http_certctl_folder_t *folder, int fd)
{
    u_char                      *data;
    ngx_uint_t                   i, j;
    struct stat                  st;
    ngx_http_certctl_found_t     found;
    ngx_http_certctl_key_file_t   *key, *keys;

    for (i = 0; i < folder->n && ngx_http_certctl_walk_goes_on(walk); i++) {

        if (!ngx_http_certctl_folder_key(folder->names[i])) {
            continue;
        }

        ngx_memzero(&found, sizeof(ngx_http_certctl_found_t));
        ngx_memzero(&st, sizeof(struct stat));

        if (ngx_http_certctl_file_read(walk, fd, folder->names[i], &st, &data)
            == NULL)
        {
            ngx_http_certctl_found_keys(&found, data, st.st_size);
            ngx_http_certctl_file_free(data);

        } else {
            found.unknown = 1;
        }

        keys = reallocarray(folder->keys,
                            folder->nkeys + found.keys + found.unknown + 1,
                            sizeof(ngx_http_certctl_key_file_t));
        if (keys == NULL) {
            walk->json->failed = 1;
            return;
        }

        folder->keys = keys;

        for (j = 0; j < found.keys + found.unknown; j++) {
            key = &keys[folder->nkeys++];
            key->name = folder->names[i];
            key->mode = st.st_mode;
            key->known = j < found.keys;

            if (key->known) {
                ngx_memcpy(key->spki, found.spki[j], 32);
            }
        }
    }
}


static void
ngx_http_certctl_walk_subdir(ngx_http_certctl_walk_t *walk, int fd,
    const char *name)
{
    int          sub;
    ngx_uint_t   i, depth;
    const char  *from;

    from = walk->path + ngx_strlen(walk->real);
    depth = 0;

    for (i = 0; from[i]; i++) {
        depth += (from[i] == '/');
    }

    if (depth > NGX_HTTP_CERTCTL_WALK_DEPTH) {
        walk->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_DEPTH;
        ngx_http_certctl_walk_skip(walk, "more than 16 levels deep");
        return;
    }

    sub = openat(fd, name,
                 O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);
    if (sub == -1) {
        ngx_http_certctl_walk_skip(walk, "not readable by the workers' user");
        return;
    }

    ngx_http_certctl_walk(walk, sub);
}


static void
ngx_http_certctl_walk_file(ngx_http_certctl_walk_t *walk,
    ngx_http_certctl_folder_t *folder, const char *name, struct stat *st,
    const u_char *data)
{
    ngx_http_certctl_found_t  found;

    ngx_memzero(&found, sizeof(ngx_http_certctl_found_t));

    ngx_http_certctl_found_certs(&found, data, st->st_size);

    if (found.why) {
        ngx_http_certctl_walk_skip(walk, found.why);
    }

    if (found.certs) {
        found.unknown = 0;

        /* only of a file with certificates is it of interest */

        ngx_http_certctl_found_keys(&found, data, st->st_size);
        ngx_http_certctl_discover_entry(walk, name, st, &found, folder->keys,
                                        folder->nkeys);
    }

    ngx_http_certctl_found_free(&found);
}


static void
ngx_http_certctl_walk_entry(ngx_http_certctl_walk_t *walk,
    ngx_http_certctl_folder_t *folder, int fd, const char *name)
{
    size_t        len, n;
    u_char       *data;
    const char   *why;
    struct stat   st;

    len = walk->len;
    n = ngx_strlen(name);

    if (len + 1 + n >= sizeof(walk->path)) {
        ngx_http_certctl_walk_skip(walk, "path too long");
        return;
    }

    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0
        && S_ISDIR(st.st_mode))
    {
        walk->path[len] = '/';
        ngx_memcpy(walk->path + len + 1, name, n + 1);
        walk->len = len + 1 + n;

        ngx_http_certctl_walk_subdir(walk, fd, name);

        walk->len = len;
        walk->path[len] = '\0';
        return;
    }

    why = ngx_http_certctl_file_read(walk, fd, name, &st, &data);

    walk->files++;
    walk->path[len] = '/';
    ngx_memcpy(walk->path + len + 1, name, n + 1);

    if (why) {
        ngx_http_certctl_walk_skip(walk, why);

    } else {
        ngx_http_certctl_walk_file(walk, folder, name, &st, data);
        ngx_http_certctl_file_free(data);
    }

    walk->path[len] = '\0';
}


static void
ngx_http_certctl_folder_free(ngx_http_certctl_folder_t *folder)
{
    ngx_uint_t  i;

    for (i = 0; i < folder->n; i++) {
        free(folder->names[i]);
    }

    free(folder->names);
    free(folder->keys);
}


void
ngx_http_certctl_walk(ngx_http_certctl_walk_t *walk, int fd)
{
    DIR                        *dir;
    ngx_uint_t                  i;
    ngx_http_certctl_folder_t   folder;

    ngx_memzero(&folder, sizeof(ngx_http_certctl_folder_t));

    dir = fdopendir(fd);

    if (dir == NULL) {
        (void) close(fd);
        ngx_http_certctl_walk_skip(walk, "not readable");
        return;
    }

    if (ngx_http_certctl_folder_read(walk, &folder, dir) == NGX_OK) {

        ngx_http_certctl_folder_keys(walk, &folder, dirfd(dir));

        for (i = 0; i < folder.n && ngx_http_certctl_walk_goes_on(walk); i++) {
            ngx_http_certctl_walk_entry(walk, &folder, dirfd(dir),
                                        folder.names[i]);
        }

    } else {
        walk->json->failed = 1;
    }

    ngx_http_certctl_folder_free(&folder);
    (void) closedir(dir);
}
