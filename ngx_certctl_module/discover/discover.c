
/*
 * POST discover: the certificates in a directory that certctl_discover allows.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "discover/discover.h"


static const char  *ngx_http_certctl_limit_text[] = {
#define X(NAME, text)  text,
    NGX_HTTP_CERTCTL_DISCOVERY_LIMITS(X)
#undef X
};

/* It may be long and its answer large: one at a time in each worker. */

static ngx_atomic_t  ngx_http_certctl_discovering;


char *
ngx_http_certctl_discover(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_certctl_main_conf_t *mcf = conf;

    ngx_str_t   *value, *dir;
    ngx_uint_t   i;

    if (mcf->discover) {
        return "is duplicate";
    }

    value = cf->args->elts;

    mcf->discover = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                     sizeof(ngx_str_t));
    if (mcf->discover == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].data[0] != '/' || value[i].len < 2
            || value[i].len >= PATH_MAX)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid directory \"%V\": write the full path "
                               "of a directory below \"/\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        dir = ngx_array_push(mcf->discover);
        if (dir == NULL) {
            return NGX_CONF_ERROR;
        }

        *dir = value[i];
    }

    return NGX_CONF_OK;
}


/*
 * The allowed directory that dir is, or is below, with all links resolved.
 * Nothing is said of other paths, not even whether they exist.
 */

static const char *
ngx_http_certctl_discover_root(ngx_http_certctl_main_conf_t *mcf,
    const char *dir, char real[PATH_MAX], char root[PATH_MAX])
{
    ngx_str_t   *allowed;
    ngx_uint_t   i;

    if (mcf->discover && realpath(dir, real)) {

        allowed = mcf->discover->elts;

        for (i = 0; i < mcf->discover->nelts; i++) {

            /* "/" itself is refused, so also what leads there */

            if (realpath((char *) allowed[i].data, root) && root[1] != '\0'
                && ngx_http_certctl_is_inside(root, real))
            {
                return NULL;
            }
        }
    }

    return "dir is not inside a certctl_discover directory";
}


static void
ngx_http_certctl_discover_answer(ngx_http_certctl_scan_t *scan, int fd)
{
    ngx_uint_t                i;
    ngx_http_certctl_json_t  *json;

    json = scan->json;

    ngx_http_certctl_json_open(json, NULL, '{');
    ngx_http_certctl_json_text(json, "dir", scan->path);
    ngx_http_certctl_json_open(json, "files", '[');

    ngx_http_certctl_scan(scan, fd);

    ngx_http_certctl_json_close(json, ']');
    ngx_http_certctl_json_number(json, "files_seen", scan->files);
    ngx_http_certctl_json_number(json, "certificates_found", scan->certs);
    ngx_http_certctl_json_open(json, "limits", '[');

    for (i = 0; i < NGX_HTTP_CERTCTL_DISCOVERY_MAX; i++) {
        if (scan->limits & (1 << i)) {
            ngx_http_certctl_json_text(json, NULL,
                                       ngx_http_certctl_limit_text[i]);
        }
    }

    ngx_http_certctl_json_close(json, ']');
    ngx_http_certctl_json_number(json, "left_out_total", scan->nleft);
    ngx_http_certctl_json_open(json, "left_out", '[');
    ngx_http_certctl_json_append(json, &scan->left);
    ngx_http_certctl_json_close(json, ']');
    ngx_http_certctl_json_close(json, '}');
}


static void
ngx_http_certctl_discover_dir(ngx_http_certctl_call_t *call, const char *dir,
    const char *root)
{
    int                       fd;
    ngx_http_certctl_scan_t  *scan;

    scan = calloc(1, sizeof(ngx_http_certctl_scan_t));
    if (scan == NULL) {
        call->json.failed = 1;
        return;
    }

    scan->json = &call->json;
    scan->real = root;
    scan->deadline = ngx_http_certctl_monotonic()
                     + NGX_HTTP_CERTCTL_SCAN_TIME;
    ngx_cpystrn((u_char *) scan->path, (u_char *) dir, PATH_MAX);

    scan->root = ngx_http_certctl_open_dir(AT_FDCWD, root);
    fd = ngx_http_certctl_open_path(scan, dir);

    if (fd == -1) {
        ngx_http_certctl_request_error(call, NGX_HTTP_FORBIDDEN,
                                       "the workers' user cannot read dir");

    } else {
        ngx_http_certctl_discover_answer(scan, fd);
        call->status = NGX_HTTP_OK;
    }

    if (scan->root != -1) {
        (void) close(scan->root);
    }

    ngx_http_certctl_json_free(&scan->left);
    free(scan);
}


void
ngx_http_certctl_request_discover(ngx_http_certctl_call_t *call)
{
    char        *dir, real[PATH_MAX], root[PATH_MAX];
    const char  *rule;

    dir = call->args[NGX_HTTP_CERTCTL_ARG_DIR];

    if (dir == NULL) {
        ngx_http_certctl_request_error(call, NGX_HTTP_BAD_REQUEST,
                                 "dir is required, for example dir=/etc/ssl");
        return;
    }

    rule = ngx_http_certctl_discover_root(call->mcf, dir, real, root);

    if (rule) {
        ngx_http_certctl_request_error(call, NGX_HTTP_FORBIDDEN, rule);
        return;
    }

    if (!ngx_atomic_cmp_set(&ngx_http_certctl_discovering, 0, 1)) {
        ngx_http_certctl_request_error(call, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       "another discovery is running");
        return;
    }

    ngx_http_certctl_discover_dir(call, real, root);

    (void) ngx_atomic_cmp_set(&ngx_http_certctl_discovering, 1, 0);
}
