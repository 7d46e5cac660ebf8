
/*
 * Opens what a discovery may open: directories and regular files below the
 * root, without following a link on the way.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "discover/discover.h"


static const char  ngx_http_certctl_unreadable[] =
    "not readable by the workers' user";


ngx_uint_t
ngx_http_certctl_is_inside(const char *dir, const char *path)
{
    size_t  len;

    len = ngx_strlen(dir);

    return ngx_strncmp(dir, path, len) == 0
           && (path[len] == '\0' || path[len] == '/');
}


int
ngx_http_certctl_open_dir(int parent, const char *name)
{
    return openat(parent, name,
                  O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);
}


/*
 * The directory of the last part of path, and that part, or "." for the root
 * itself.  A part that has become a link since realpath() is refused.
 */

static int
ngx_http_certctl_open_parent(ngx_http_certctl_scan_t *scan, const char *path,
    char name[NAME_MAX + 1])
{
    int          fd, next;
    size_t       len;
    const char  *p, *end;

    fd = fcntl(scan->root, F_DUPFD_CLOEXEC, 0);

    ngx_memcpy(name, ".", sizeof("."));

    for (p = path + ngx_strlen(scan->real); *p == '/' && fd != -1; p = end) {

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

        next = ngx_http_certctl_open_dir(fd, name);
        (void) close(fd);
        fd = next;
    }

    return fd;
}


int
ngx_http_certctl_open_path(ngx_http_certctl_scan_t *scan, const char *path)
{
    int   parent, fd;
    char  name[NAME_MAX + 1];

    parent = ngx_http_certctl_open_parent(scan, path, name);
    if (parent == -1) {
        return -1;
    }

    fd = ngx_http_certctl_open_dir(parent, name);

    (void) close(parent);

    return fd;
}


static const char *
ngx_http_certctl_file_bytes(ngx_http_certctl_file_t *file, int fd)
{
    off_t    len;
    ssize_t  n;

    if (fstat(fd, &file->st) == -1 || !S_ISREG(file->st.st_mode)) {
        return "not a regular file";
    }

    if (file->st.st_size > NGX_HTTP_CERTCTL_SCAN_FILE) {
        return "larger than 1 MiB";
    }

    file->data = OPENSSL_malloc(NGX_HTTP_CERTCTL_SCAN_FILE + 1);
    if (file->data == NULL) {
        return "no memory";
    }

    for (len = 0; len < file->st.st_size; len += n) {

        n = read(fd, file->data + len, file->st.st_size - len);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            n = 0;
            continue;
        }

        if (n <= 0) {
            break;
        }
    }

    /* it may have shrunk since */

    file->st.st_size = len;

    return NULL;
}


/* fstatat() first: opening a device may already do something to it. */

static const char *
ngx_http_certctl_file_regular(ngx_http_certctl_file_t *file, int parent,
    const char *name)
{
    int          fd;
    const char  *why;

    if (fstatat(parent, name, &file->st, AT_SYMLINK_NOFOLLOW) == -1) {
        return ngx_http_certctl_unreadable;
    }

    if (S_ISDIR(file->st.st_mode)) {
        return "symbolic link to a directory";
    }

    if (!S_ISREG(file->st.st_mode)) {
        return "not a regular file";
    }

    fd = openat(parent, name,
                O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_NOCTTY|O_CLOEXEC);
    if (fd == -1) {
        return ngx_http_certctl_unreadable;
    }

    why = ngx_http_certctl_file_bytes(file, fd);

    (void) close(fd);

    return why;
}


static const char *
ngx_http_certctl_file_link(ngx_http_certctl_scan_t *scan,
    ngx_http_certctl_file_t *file)
{
    int          parent;
    char         path[PATH_MAX], real[PATH_MAX], last[NAME_MAX + 1];
    u_char      *end;
    const char  *why;

    end = ngx_snprintf((u_char *) path, sizeof(path), "%s/%s%Z", scan->path,
                       file->name);

    if (end == (u_char *) path + sizeof(path) && end[-1] != '\0') {
        return "path too long";
    }

    if (realpath(path, real) == NULL) {
        return "broken symbolic link";
    }

    if (!ngx_http_certctl_is_inside(scan->real, real)) {
        return "symbolic link to a target outside the allowed directory";
    }

    parent = ngx_http_certctl_open_parent(scan, real, last);
    if (parent == -1) {
        return ngx_http_certctl_unreadable;
    }

    why = ngx_http_certctl_file_regular(file, parent, last);

    (void) close(parent);

    return why;
}


const char *
ngx_http_certctl_file_read(ngx_http_certctl_scan_t *scan, int fd,
    ngx_http_certctl_file_t *file)
{
    struct stat  st;

    return fstatat(fd, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0
           && S_ISLNK(st.st_mode)
           ? ngx_http_certctl_file_link(scan, file)
           : ngx_http_certctl_file_regular(file, fd, file->name);
}
