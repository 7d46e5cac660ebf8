
/*
 * Opens what a discovery may open: folders and regular files below the root,
 * without following a link on the way.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "discover/discover.h"


ngx_uint_t
ngx_http_certctl_is_inside(const char *dir, const char *path)
{
    size_t  len;

    len = ngx_strlen(dir);

    return ngx_strncmp(dir, path, len) == 0
           && (path[len] == '\0' || path[len] == '/');
}


/*
 * The folder that holds the last part of path, and that part, or "." for the
 * root itself.  A part that has become a link since realpath() is refused.
 */

static int
ngx_http_certctl_open_parent(ngx_http_certctl_walk_t *walk, const char *path,
    char name[NAME_MAX + 1])
{
    int          fd, next;
    size_t       len;
    const char  *p, *end;

    fd = fcntl(walk->root, F_DUPFD_CLOEXEC, 0);
    if (fd == -1) {
        return -1;
    }

    ngx_memcpy(name, ".", sizeof("."));

    for (p = path + ngx_strlen(walk->real); *p == '/'; p = end) {

        end = strchrnul(++p, '/');
        len = end - p;

        if (len > NAME_MAX) {
            (void) close(fd);
            ngx_set_errno(ENAMETOOLONG);
            return -1;
        }

        ngx_memcpy(name, p, len);
        name[len] = '\0';

        if (*end == '\0') {
            break;
        }

        next = openat(fd, name,
                      O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);
        (void) close(fd);

        if (next == -1) {
            return -1;
        }

        fd = next;
    }

    return fd;
}


int
ngx_http_certctl_open_dir(ngx_http_certctl_walk_t *walk, const char *path)
{
    int   parent, fd;
    char  name[NAME_MAX + 1];

    parent = ngx_http_certctl_open_parent(walk, path, name);
    if (parent == -1) {
        return -1;
    }

    fd = openat(parent, name,
                O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    (void) close(parent);

    return fd;
}


static const char *
ngx_http_certctl_file_bytes(int fd, struct stat *st, u_char **data)
{
    off_t    len;
    u_char  *buf;
    ssize_t  n;

    if (fstat(fd, st) == -1 || !S_ISREG(st->st_mode)) {
        return "not a regular file";
    }

    if (st->st_size > NGX_HTTP_CERTCTL_WALK_FILE) {
        return "larger than 1 MiB";
    }

    buf = OPENSSL_malloc(NGX_HTTP_CERTCTL_WALK_FILE + 1);
    if (buf == NULL) {
        return "no memory";
    }

    for (len = 0; len < st->st_size; len += n) {

        n = read(fd, buf + len, st->st_size - len);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            n = 0;
            continue;
        }

        if (n <= 0) {
            break;
        }
    }

    /* it may have shrunk since */

    st->st_size = len;
    *data = buf;

    return NULL;
}


/* fstatat() first: opening a device may already do something to it. */

static const char *
ngx_http_certctl_file_regular(int fd, const char *name, struct stat *st,
    u_char **data)
{
    int          file;
    const char  *why;

    if (fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW) == -1) {
        return "not readable by the workers' user";
    }

    if (S_ISDIR(st->st_mode)) {
        return "symbolic link to a directory";
    }

    if (!S_ISREG(st->st_mode)) {
        return "not a regular file";
    }

    file = openat(fd, name, O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_NOCTTY|O_CLOEXEC);
    if (file == -1) {
        return "not readable by the workers' user";
    }

    why = ngx_http_certctl_file_bytes(file, st, data);

    (void) close(file);

    return why;
}


static const char *
ngx_http_certctl_file_link(ngx_http_certctl_walk_t *walk, const char *name,
    struct stat *st, u_char **data)
{
    int          parent;
    char         path[PATH_MAX], real[PATH_MAX], last[NAME_MAX + 1];
    u_char      *end;
    const char  *why;

    end = ngx_snprintf((u_char *) path, sizeof(path), "%s/%s%Z", walk->path,
                       name);

    if (end == (u_char *) path + sizeof(path) && end[-1] != '\0') {
        return "path too long";
    }

    if (realpath(path, real) == NULL) {
        return "broken symbolic link";
    }

    if (!ngx_http_certctl_is_inside(walk->real, real)) {
        return "symbolic link to a target outside the allowed directory";
    }

    parent = ngx_http_certctl_open_parent(walk, real, last);
    if (parent == -1) {
        return "not readable by the workers' user";
    }

    why = ngx_http_certctl_file_regular(parent, last, st, data);

    (void) close(parent);

    return why;
}


const char *
ngx_http_certctl_file_read(ngx_http_certctl_walk_t *walk, int fd,
    const char *name, struct stat *st, u_char **data)
{
    if (fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW) == -1) {
        return "not readable by the workers' user";
    }

    return S_ISLNK(st->st_mode)
           ? ngx_http_certctl_file_link(walk, name, st, data)
           : ngx_http_certctl_file_regular(fd, name, st, data);
}


void
ngx_http_certctl_file_free(u_char *data)
{
    OPENSSL_clear_free(data, NGX_HTTP_CERTCTL_WALK_FILE + 1);
}
