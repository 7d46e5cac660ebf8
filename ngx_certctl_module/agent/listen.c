
/*
 * Where the control listener may listen: a command must not come in over
 * anything but mutual TLS or a unix socket that the file system guards.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <libgen.h>

#include "agent/agent.h"


#if (NGX_HAVE_UNIX_DOMAIN)

/*
 * A start that failed after bind() has left its socket, and bind() refuses a
 * path that exists.  Removes it only if no process listens: connect() says so.
 */

static void
ngx_http_certctl_listen_unlink(ngx_conf_t *cf, struct sockaddr_un *sun,
    socklen_t len)
{
    int              refused;
    struct stat      st;
    ngx_socket_t     s;

    if (ngx_test_config || ngx_process == NGX_PROCESS_SIGNALLER
        || lstat(sun->sun_path, &st) == -1
        || !S_ISSOCK(st.st_mode))
    {
        return;
    }

    s = socket(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK, 0);

    if (s == (ngx_socket_t) -1) {
        return;
    }

    refused = connect(s, (struct sockaddr *) sun, len) == -1
              && ngx_socket_errno == NGX_ECONNREFUSED;

    (void) close(s);

    if (!refused) {
        return;
    }

    if (unlink(sun->sun_path) == -1) {
        ngx_log_error(NGX_LOG_WARN, cf->log, ngx_errno,
                      "unlink() \"%s\" failed, a control socket that no "
                      "process listens on", sun->sun_path);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, cf->log, 0,
                  "certctl: removed the control socket \"%s\", which no "
                  "process listened on", sun->sun_path);
}

#endif


/* NGINX lets every user connect to its unix sockets: the folder must not. */

static ngx_int_t
ngx_http_certctl_listen_unix(ngx_conf_t *cf, ngx_http_conf_addr_t *addr,
    ngx_http_core_srv_conf_t *cscf)
{
#if (NGX_HAVE_UNIX_DOMAIN)

    char                 copy[sizeof(((struct sockaddr_un *) 0)->sun_path) + 1];
    char                *path;
    ngx_file_info_t      fi;
    struct sockaddr_un  *sun;

    sun = (struct sockaddr_un *) addr->opt.sockaddr;

    ngx_memcpy(copy, sun->sun_path, sizeof(sun->sun_path));
    copy[sizeof(copy) - 1] = '\0';

    path = dirname(copy);

    if (ngx_file_info(path, &fi) == NGX_FILE_ERROR) {

        /* bind() says it better */

        return NGX_OK;
    }

    if (fi.st_mode & S_IXOTH) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"certctl_agent\" of the server in %s:%ui: every user "
                      "can enter the directory \"%s\" of its unix socket: run "
                      "\"chmod o-x %s\", or use another directory",
                      cscf->file_name, cscf->line, path, path);
        return NGX_ERROR;
    }

    ngx_http_certctl_listen_unlink(cf, sun, addr->opt.socklen);

#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_listen_addr(ngx_conf_t *cf, ngx_http_conf_addr_t *addr,
    ngx_http_core_srv_conf_t *cscf)
{
    if (addr->opt.sockaddr->sa_family == AF_UNIX) {
        return ngx_http_certctl_listen_unix(cf, addr, cscf);
    }

    /* not over QUIC either: its buffers of a body with a key are not wiped */

    if (!addr->opt.ssl) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"certctl_agent\" of the server in %s:%ui needs TLS: "
                      "write \"listen %V ssl;\", or listen on a unix socket",
                      cscf->file_name, cscf->line, &addr->opt.addr_text);
        return NGX_ERROR;
    }

    /*
     * With a neighbour on the address the client's SNI would choose whose TLS
     * settings hold, and its Host header who answers.
     */

    if (addr->servers.nelts > 1) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"certctl_agent\" of the server in %s:%ui shares %V "
                      "with another server: give it an address or port "
                      "of its own",
                      cscf->file_name, cscf->line, &addr->opt.addr_text);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_certctl_agent_listen(ngx_conf_t *cf)
{
    ngx_uint_t                    p, a, s;
    ngx_http_conf_port_t         *port;
    ngx_http_conf_addr_t         *addr;
    ngx_http_core_srv_conf_t    **cscf;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_http_certctl_srv_conf_t  *scf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (cmcf->ports == NULL) {
        return NGX_OK;
    }

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {
        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {
            cscf = addr[a].servers.elts;

            for (s = 0; s < addr[a].servers.nelts; s++) {
                scf = cscf[s]->ctx->srv_conf[ngx_http_certctl_module.ctx_index];

                if (scf->agent
                    && ngx_http_certctl_listen_addr(cf, &addr[a], cscf[s])
                       != NGX_OK)
                {
                    return NGX_ERROR;
                }
            }
        }
    }

    return NGX_OK;
}
