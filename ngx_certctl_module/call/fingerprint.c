
/* The file that names the fingerprint of the control listener's certificate. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"


/*
 * One write into the file that the master has made for the workers: they must
 * not be able to rename in the store's own folder, where the keys lie.
 */

int
ngx_http_certctl_agent_fingerprint(const char *store_path,
    const char *fingerprint)
{
    int          fd, rc;
    char         path[NGX_MAX_PATH], line[CERTCTL_HEX256 + 1];
    ssize_t      n;
    struct stat  st;

    /* the owner of the rooms is who the workers run as */

    (void) ngx_snprintf((u_char *) path, sizeof(path), "%s/certs%Z",
                        store_path);
    if (stat(path, &st) == -1) {
        return -1;
    }

    (void) ngx_snprintf((u_char *) path, sizeof(path), "%s/%s%Z", store_path,
                        NGX_HTTP_CERTCTL_FINGERPRINT_FILE);

    fd = open(path, O_WRONLY|O_CREAT|O_NOFOLLOW|O_CLOEXEC, 0644);
    if (fd == -1) {
        return -1;
    }

    n = ngx_sprintf((u_char *) line, "%s\n", fingerprint) - (u_char *) line;
    rc = pwrite(fd, line, n, 0) == n && ftruncate(fd, n) == 0 ? 0 : -1;

    if (geteuid() == 0 && rc == 0) {
        rc = fchown(fd, st.st_uid, st.st_gid);
    }

    close(fd);

    return rc;
}
