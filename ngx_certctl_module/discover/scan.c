
/*
 * Reads a directory and those below it, on a thread, within limits; what they
 * leave out is listed.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <time.h>
#include "discover/discover.h"


/* A directory's entries by name, and the private keys among them; with its
   memory. */

typedef struct {
    ngx_pool_t   *pool;
    ngx_array_t   names;                /* char * */
    ngx_array_t   keys;                 /* ngx_http_certctl_key_t */
} ngx_http_certctl_dir_t;


int64_t
ngx_http_certctl_monotonic(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


/* Lists what is at scan->path as left out. */

static void
ngx_http_certctl_scan_skip(ngx_http_certctl_scan_t *scan, const char *why)
{
    if (scan->nleft++ >= NGX_HTTP_CERTCTL_SCAN_LEFT) {
        scan->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_LEFT_OUT;
        return;
    }

    ngx_http_certctl_json_open(&scan->left, NULL, '{');
    ngx_http_certctl_json_text(&scan->left, "path", scan->path);
    ngx_http_certctl_json_text(&scan->left, "why", why);
    ngx_http_certctl_json_close(&scan->left, '}');
}


/* Whether another file may be read; the limit that is reached is noted. */

static ngx_uint_t
ngx_http_certctl_scan_continues(ngx_http_certctl_scan_t *scan)
{
    if (scan->files >= NGX_HTTP_CERTCTL_SCAN_FILES) {
        scan->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_FILES;

    } else if (scan->certs >= NGX_HTTP_CERTCTL_SCAN_CERTS) {
        scan->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_CERTIFICATES;

    } else if (scan->json->size >= NGX_HTTP_CERTCTL_SCAN_ANSWER) {
        scan->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_ANSWER;

    } else if (ngx_http_certctl_monotonic() >= scan->deadline) {
        scan->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_TIME;

    } else {
        return !scan->json->failed;
    }

    return 0;
}


static int ngx_libc_cdecl
ngx_http_certctl_dir_order(const void *one, const void *two)
{
    return ngx_strcmp(*(char *const *) one, *(char *const *) two);
}


/* Names in order, so that two discoveries are alike; no more than are read. */

static ngx_int_t
ngx_http_certctl_dir_names(ngx_http_certctl_scan_t *scan,
    ngx_http_certctl_dir_t *dir, DIR *d)
{
    char           **name;
    size_t           size;
    struct dirent   *de;

    while ((de = readdir(d)) != NULL) {

        if (ngx_strcmp(de->d_name, ".") == 0
            || ngx_strcmp(de->d_name, "..") == 0)
        {
            continue;
        }

        /* directories do not count as files, but are limited, too */

        if (dir->names.nelts == 2 * NGX_HTTP_CERTCTL_SCAN_FILES) {
            scan->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_FILES;
            break;
        }

        size = ngx_strlen(de->d_name) + 1;
        name = ngx_array_push(&dir->names);

        if (name == NULL
            || (*name = ngx_pnalloc(dir->pool, size)) == NULL)
        {
            return NGX_ERROR;
        }

        ngx_memcpy(*name, de->d_name, size);
    }

    ngx_qsort(dir->names.elts, dir->names.nelts, sizeof(char *),
              ngx_http_certctl_dir_order);

    return NGX_OK;
}


/* "*.key", and "privkey*.pem" as ACME clients name it. */

static ngx_uint_t
ngx_http_certctl_is_key_name(const char *name)
{
    size_t  len;

    len = ngx_strlen(name);

    return (len >= 4 && ngx_strcmp(name + len - 4, ".key") == 0)
           || (len >= 11 && ngx_strncmp(name, "privkey", 7) == 0
               && ngx_strcmp(name + len - 4, ".pem") == 0);
}


/*
 * The directory's private keys, before its certificates: each is parsed once,
 * and wiped; what stays is a digest of the public half.
 */

static void
ngx_http_certctl_dir_keys(ngx_http_certctl_scan_t *scan,
    ngx_http_certctl_dir_t *dir, int fd)
{
    char                    **name;
    ngx_uint_t                i;
    ngx_http_certctl_key_t   *key;
    ngx_http_certctl_file_t   file;

    name = dir->names.elts;

    for (i = 0;
         i < dir->names.nelts && ngx_http_certctl_scan_continues(scan);
         i++)
    {
        if (!ngx_http_certctl_is_key_name(name[i])) {
            continue;
        }

        ngx_memzero(&file, sizeof(ngx_http_certctl_file_t));
        file.name = name[i];

        if (ngx_http_certctl_file_read(scan, fd, &file) == NULL) {
            ngx_http_certctl_file_parse(&file, 1);

        } else {
            ngx_http_certctl_file_add_key(&file, NULL);
        }

        key = ngx_array_push_n(&dir->keys, file.keys);

        if (key) {
            ngx_memcpy(key, file.key, file.keys * sizeof(file.key[0]));

        } else {
            scan->json->failed = 1;
        }

        ngx_http_certctl_file_free(&file);
    }
}


static void
ngx_http_certctl_scan_subdir(ngx_http_certctl_scan_t *scan, int parent,
    const char *name)
{
    int          fd;
    ngx_uint_t   depth;
    const char  *p;

    depth = 0;

    for (p = scan->path + ngx_strlen(scan->real); *p; p++) {
        depth += (*p == '/');
    }

    if (depth > NGX_HTTP_CERTCTL_SCAN_DEPTH) {
        scan->limits |= 1 << NGX_HTTP_CERTCTL_DISCOVERY_DEPTH;
        ngx_http_certctl_scan_skip(scan, "more than 16 levels deep");
        return;
    }

    fd = ngx_http_certctl_open_dir(parent, name);
    if (fd == -1) {
        ngx_http_certctl_scan_skip(scan, "not readable by the workers' user");
        return;
    }

    ngx_http_certctl_scan(scan, fd);
}


static void
ngx_http_certctl_scan_file(ngx_http_certctl_scan_t *scan,
    ngx_http_certctl_dir_t *dir, ngx_http_certctl_file_t *file)
{
    ngx_http_certctl_file_parse(file, 0);

    if (file->why) {
        ngx_http_certctl_scan_skip(scan, file->why);
    }

    /* keys are parsed only where there are certificates */

    if (file->certs) {
        ngx_http_certctl_file_parse(file, 1);
        ngx_http_certctl_file_json(scan, file, dir->keys.elts,
                                   dir->keys.nelts);
    }
}


static void
ngx_http_certctl_scan_entry(ngx_http_certctl_scan_t *scan,
    ngx_http_certctl_dir_t *dir, int fd, const char *name)
{
    size_t                    len;
    const char               *why;
    struct stat               st;
    ngx_uint_t                is_dir;
    ngx_http_certctl_file_t   file;

    len = ngx_strlen(scan->path);

    if (len + 1 + ngx_strlen(name) >= sizeof(scan->path)) {
        ngx_http_certctl_scan_skip(scan, "path too long");
        return;
    }

    ngx_memzero(&file, sizeof(ngx_http_certctl_file_t));
    file.name = name;

    is_dir = (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0
              && S_ISDIR(st.st_mode));
    why = is_dir ? NULL : ngx_http_certctl_file_read(scan, fd, &file);

    *ngx_sprintf((u_char *) scan->path + len, "/%s", name) = '\0';

    if (is_dir) {
        ngx_http_certctl_scan_subdir(scan, fd, name);

    } else {
        scan->files++;

        if (why) {
            ngx_http_certctl_scan_skip(scan, why);

        } else {
            ngx_http_certctl_scan_file(scan, dir, &file);
        }

        ngx_http_certctl_file_free(&file);
    }

    scan->path[len] = '\0';
}


void
ngx_http_certctl_scan(ngx_http_certctl_scan_t *scan, int fd)
{
    DIR                      *d;
    char                    **name;
    ngx_uint_t                i;
    ngx_http_certctl_dir_t    dir;

    d = fdopendir(fd);

    if (d == NULL) {
        (void) close(fd);
        ngx_http_certctl_scan_skip(scan, "not readable");
        return;
    }

    dir.pool = ngx_create_pool(4096, ngx_cycle->log);

    if (dir.pool == NULL
        || ngx_array_init(&dir.names, dir.pool, 64, sizeof(char *)) != NGX_OK
        || ngx_array_init(&dir.keys, dir.pool, 4,
                          sizeof(ngx_http_certctl_key_t))
           != NGX_OK
        || ngx_http_certctl_dir_names(scan, &dir, d) != NGX_OK)
    {
        scan->json->failed = 1;
        goto done;
    }

    ngx_http_certctl_dir_keys(scan, &dir, fd);

    name = dir.names.elts;

    for (i = 0;
         i < dir.names.nelts && ngx_http_certctl_scan_continues(scan);
         i++)
    {
        ngx_http_certctl_scan_entry(scan, &dir, fd, name[i]);
    }

done:

    if (dir.pool) {
        ngx_destroy_pool(dir.pool);
    }

    (void) closedir(d);
}
